"""Keeps brokers running while the configuration that serves has something for them: tunnels, or idle workers that pull.

How it works: workers say with `Ready` and `Applied` what is to be served. A broker is ended when the last worker has:
what is under way goes through it. Connections of those who dial in come through workers: when a generation of these is
replaced, they are asked to dial anew, before their connections are cut.
"""

import os
import signal
from typing import NamedTuple

from headgate.control import broker_messages as messages
from headgate.supervisor.side_process import SideProcess
from headgate.supervisor.state import State
from headgate.supervisor.workers import Plan


class Kind(NamedTuple):
    """A kind of broker."""

    module: str
    plan: str
    """The name of its plan, and of its process in the state."""


TUNNEL = Kind("headgate.tunnel", "tunnel")
DISPATCHER = Kind("headgate.dispatch", "dispatcher")


class Brokers:
    """Starts the broker of one kind, tells it what to serve, and replaces it."""

    def __init__(self, state: State, kind: Kind) -> None:
        self._state, self._kind = state, kind
        self._broker: SideProcess | None = None
        self._all: list[SideProcess] = []
        self._wanted: Plan | None = None
        self._generation = 0
        self._is_stopping = self._is_told = False

    @property
    def are_gone(self) -> bool:
        """Whether no broker is left."""
        return not self._all

    def settled(self) -> None:
        """A reload or a proposal is over: what is in force now is served."""
        current = self._state.current
        if self._is_stopping or current is None:
            return
        wanted, before = current.plans.get(self._kind.plan), self._wanted
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

    def leaving(self) -> None:
        """The gateway is stopping: those who have dialled in would keep its workers from ending."""
        if self._broker and not self._is_told:
            self._is_told = True
            self._broker.send(messages.Renew(is_last=True))

    def stop(self) -> None:
        """No worker is left: ends the broker, and starts no other one."""
        if not self._is_stopping:
            self._is_stopping = True
            self._end()

    # ---- steps

    def _start(self, exits: int) -> None:
        state, run = self._state, self._state.settings
        broker = self._broker = SideProcess(
            state.reactor, self._kind.module, messages.FROM_BROKER, exits, blocked=(signal.SIGTERM,)
        )
        self._all.append(broker)
        state.brokers[self._kind.plan] = broker.pid
        broker.watch(lambda: _ignore(broker), lambda: self._on_exit(broker))
        start = messages.BrokerStart(
            user=run.user,
            group=run.group,
            log_format=run.log_format,
            log_level=run.log_level,
            file=run.source.file or "",
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
        if state.brokers.get(self._kind.plan) == broker.pid:
            del state.brokers[self._kind.plan]
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
