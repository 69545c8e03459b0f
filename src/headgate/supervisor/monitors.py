"""Keeps a monitor running while the configuration that serves has something to watch.

How it works: workers say with `Ready` and `Applied` what is to be watched. When a generation has come into force, the
monitor gets what it says, and is started or ended as there is something or nothing to watch. States of servers are in
the zone: they stay while a monitor that has exited is replaced. If none can be kept alive, they are forgotten, so that
no server is left out for ever by what nobody looks at any more.
"""

import logging
import os

from headgate.control import monitor_messages as messages
from headgate.supervisor.side_process import SideProcess
from headgate.supervisor.state import State
from headgate.supervisor.workers import Plan

MODULE = "headgate.monitor"
FORGOTTEN_AFTER_EXITS = 5
"""In a row, after which states are no longer believed."""

log = logging.getLogger("headgate.supervisor")


class Monitors:
    """Starts the monitor, tells it what to watch, and replaces it; a worker hears of servers' states."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._monitor: SideProcess | None = None
        self._all: list[SideProcess] = []
        self._wanted: Plan | None = None
        self._former: Plan | None = None
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
        wanted = current.plans.get("monitor")
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
        monitor = self._monitor = SideProcess(state.reactor, MODULE, messages.FROM_MONITOR, exits)
        self._all.append(monitor)
        state.monitor = monitor.pid
        monitor.watch(lambda: self._on_readable(monitor), lambda: self._on_exit(monitor))
        start = messages.MonitorStart(
            user=run.user, group=run.group, log_format=run.log_format, log_level=run.log_level
        )
        memory = state.metrics.memory_for()
        state.metrics.counts_in(monitor.pid, memory)
        monitor.send(start, [state.zone.descriptor, memory])
        os.close(memory)
        if self._wanted:
            monitor.send(messages.Watch(), [self._wanted.descriptor])

    def _end(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.terminate()

    def _on_readable(self, monitor: SideProcess) -> None:
        received = monitor.receive()
        if received is None:
            return
        message, _ = received
        if isinstance(message, messages.ServerChanged) and monitor is self._monitor:
            self._state.tell_server_state(message.upstream, message.server, message.state, message.reason)

    def _on_exit(self, monitor: SideProcess) -> None:
        state = self._state
        status = monitor.reap()
        state.metrics.no_longer_counts(monitor.pid)
        self._all.remove(monitor)
        if state.monitor == monitor.pid:
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

    def _restart_later(self, monitor: SideProcess, status: int) -> None:
        def restart(exits: int) -> None:
            if not self._is_stopping and self._monitor is None and self._wanted:
                self._start(exits)

        if monitor.replace_later(status, restart) == FORGOTTEN_AFTER_EXITS:
            log.error("servers are judged by their responses only until a monitor stays alive")
            self._forget()
