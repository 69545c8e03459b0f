"""Keeps a tunnel broker running while the configuration that serves has tunnels.

How it works: workers say with `Ready` and `Applied` who may dial in. The broker is ended when the last worker has:
what is under way goes through it. Connections of clients come through workers: when a generation of these is
replaced, clients are asked to dial anew, before their connections are cut.
"""

import os
import signal

from headgate.control import tunnel_messages as messages
from headgate.supervisor.side_process import SideProcess
from headgate.supervisor.state import State
from headgate.supervisor.workers import Plan

MODULE = "headgate.tunnel"


class Tunnels:
    """Starts the broker, tells it who may dial in, and replaces it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._broker: SideProcess | None = None
        self._all: list[SideProcess] = []
        self._wanted: Plan | None = None
        self._generation = 0
        self._is_stopping = False

    @property
    def are_gone(self) -> bool:
        """Whether no broker is left."""
        return not self._all

    def settled(self) -> None:
        """A reload or a proposal is over: what is in force now is served."""
        current = self._state.current
        if self._is_stopping or current is None:
            return
        wanted, before = current.plans.get("tunnel"), self._wanted
        is_renewed, self._generation = self._generation != current.number, current.number
        self._wanted = wanted
        if wanted is None:
            self._end()
        elif self._broker is None:
            if before is None:
                self._start(0)
        else:
            if before is None or before.digest != wanted.digest:
                self._broker.send(messages.Serve(), [wanted.descriptor])
            if is_renewed:
                self._broker.send(messages.Renew())

    def stop(self) -> None:
        """No worker is left: ends the broker, and starts no other one."""
        if not self._is_stopping:
            self._is_stopping = True
            self._end()

    # ---- steps

    def _start(self, exits: int) -> None:
        state, run = self._state, self._state.settings
        broker = self._broker = SideProcess(
            state.reactor, MODULE, messages.FROM_TUNNEL, exits, blocked=(signal.SIGTERM,)
        )
        self._all.append(broker)
        state.tunnel = broker.pid
        broker.watch(lambda: _ignore(broker), lambda: self._on_exit(broker))
        start = messages.TunnelStart(
            user=run.user, group=run.group, log_format=run.log_format, log_level=run.log_level
        )
        memory = state.metrics.memory_for()
        state.metrics.counts_in(broker.pid, memory)
        broker.send(start, [memory])
        os.close(memory)
        if self._wanted:
            broker.send(messages.Serve(), [self._wanted.descriptor])

    def _end(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.terminate()

    def _on_exit(self, broker: SideProcess) -> None:
        state = self._state
        status = broker.reap()
        state.metrics.no_longer_counts(broker.pid)
        self._all.remove(broker)
        if state.tunnel == broker.pid:
            state.tunnel = None
        if broker is self._broker:
            self._broker = None
            broker.replace_later(status, self._restart)
        state.agent_left()

    def _restart(self, exits: int) -> None:
        if not self._is_stopping and self._broker is None and self._wanted:
            self._start(exits)


def _ignore(broker: SideProcess) -> None:
    """It says nothing; the end of its line is noticed."""
    broker.receive()
