"""Keeps a monitor running while the configuration that serves has something to watch.

How it works: workers say with `Ready` and `Applied` what is to be watched. When a generation has come into force, the
monitor gets what it says, and is started or ended as there is something or nothing to watch. States of servers are in
the zone: they stay while a monitor that has exited is replaced. If none can be kept alive, they are forgotten, so that
no server is left out for ever by what nobody looks at any more.
"""

import logging
import os
import signal
import socket
import time

from headgate.control import monitor_messages as messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.reactor import Timer
from headgate.control.records import Message, MessageError
from headgate.supervisor.backoff import exits_in_a_row, restart_delay_s
from headgate.supervisor.spawn import spawn
from headgate.supervisor.state import State
from headgate.supervisor.workers import Watched

MODULE = "headgate.monitor"
KILL_AFTER_S = 5.0
FORGOTTEN_AFTER_EXITS = 5
"""In a row, after which states are no longer believed."""

log = logging.getLogger("headgate.supervisor")


class MonitorProcess:
    """One monitor, and the means to talk to it and to end it."""

    def __init__(self, exits: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = spawn(MODULE, [], theirs, ours)
        ours.setblocking(False)
        self.channel = Channel(ours, messages.FROM_MONITOR)
        self.exits = exits
        self.started = time.monotonic()
        self.kill: Timer | None = None

    def send(self, message: Message, descriptors: list[int]) -> None:
        """Sends a message; one that has exited does not get it, which its exit will show."""
        try:
            self.channel.send(message, descriptors)
        except (ChannelClosed, BlockingIOError):
            pass


class Monitors:
    """Starts the monitor, tells it what to watch, and replaces it; a worker hears of servers' states."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._monitor: MonitorProcess | None = None
        self._all: list[MonitorProcess] = []
        self._wanted: Watched | None = None
        self._former: Watched | None = None
        """What was watched last, before nothing was."""
        self._is_stopping = False

    @property
    def are_gone(self) -> bool:
        """Whether no monitor is left."""
        return not self._all

    def settled(self) -> None:
        """A reload or a proposal is over: what is in force now is watched."""
        current = self._state.current
        if self._is_stopping or current is None:
            return
        wanted = current.watched
        if wanted is None:
            if self._wanted:
                self._former, self._wanted = self._wanted, None
                self._end()
                self._forget()
            return
        is_other = self._wanted is None or self._wanted.digest != wanted.digest
        self._wanted = wanted
        if self._monitor is None:
            if is_other:
                self._start(0)
        elif is_other:
            self._monitor.send(messages.Watch(), [wanted.descriptor])

    def stop(self) -> None:
        """Ends the monitor, and starts no other one."""
        self._is_stopping = True
        self._end()

    # ---- steps

    def _start(self, exits: int) -> None:
        state, run = self._state, self._state.settings
        monitor = self._monitor = MonitorProcess(exits)
        self._all.append(monitor)
        state.monitor = monitor.process.pid
        state.reactor.watch(monitor.channel, lambda: self._on_readable(monitor))
        state.reactor.watch(monitor.process.pidfd, lambda: self._on_exit(monitor))
        start = messages.MonitorStart(
            user=run.user, group=run.group, log_format=run.log_format, log_level=run.log_level
        )
        memory = state.metrics.memory_for()
        state.metrics.counts_in(monitor.process.pid, memory)
        monitor.send(start, [state.zone.descriptor, memory])
        os.close(memory)
        if self._wanted:
            monitor.send(messages.Watch(), [self._wanted.descriptor])

    def _end(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is None:
            return
        monitor.process.signal(signal.SIGTERM)
        monitor.kill = self._state.reactor.call_later(
            KILL_AFTER_S, lambda: monitor.process.signal(signal.SIGKILL)
        )

    def _on_readable(self, monitor: MonitorProcess) -> None:
        try:
            message, _ = monitor.channel.receive()
        except BlockingIOError:
            return
        except (ChannelClosed, MessageError) as error:
            self._state.reactor.unwatch(monitor.channel)
            if isinstance(error, MessageError):
                log.error("invalid message from the monitor: %s", error)
                monitor.process.signal(signal.SIGKILL)
            return
        if isinstance(message, messages.ServerChanged) and monitor is self._monitor:
            self._state.tell_server_state(message.upstream, message.server, message.state, message.reason)

    def _on_exit(self, monitor: MonitorProcess) -> None:
        state = self._state
        state.reactor.unwatch(monitor.process.pidfd)
        state.reactor.unwatch(monitor.channel)
        if monitor.kill:
            monitor.kill.cancel()
        monitor.channel.close()
        status = monitor.process.reap()
        state.metrics.no_longer_counts(monitor.process.pid)
        self._all.remove(monitor)
        if state.monitor == monitor.process.pid:
            state.monitor = None
        if monitor is self._monitor:
            self._monitor = None
            self._restart_later(monitor, status)
        elif self._wanted is None:
            self._forget()  # again: it may have written until now
        state.agent_left()

    def _forget(self) -> None:
        if watched := self._wanted or self._former:
            self._state.zone.forget_checks(watched.servers())

    def _restart_later(self, monitor: MonitorProcess, status: int) -> None:
        exits = exits_in_a_row(monitor.exits, time.monotonic() - monitor.started)
        delay_s = restart_delay_s(exits)
        cause = f"killed by signal {-status}" if status < 0 else f"with status {status}"
        log.error("monitor exited: %s", cause, extra={"exits": exits, "restart_in_s": round(delay_s, 2)})
        if exits == FORGOTTEN_AFTER_EXITS:
            log.error("servers are judged by their responses only until a monitor stays alive")
            self._forget()

        def restart() -> None:
            if not self._is_stopping and self._monitor is None and self._wanted:
                self._start(exits)

        self._state.reactor.call_later(delay_s, restart)
