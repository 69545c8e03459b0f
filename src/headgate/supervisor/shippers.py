"""Keeps a shipper running while the configuration that serves has log targets.

How it works: workers say with `Ready` and `Applied` what is to be sent where. The shipper reads a socket that every
worker writes its requests into (`log_pipe`). It is ended when the last worker has: what is in flight is sent as well.
"""

import os
import signal

from headgate.control import shipper_messages as messages
from headgate.supervisor.side_process import SideProcess
from headgate.supervisor.state import State
from headgate.supervisor.workers import Plan, WorkerState

MODULE = "headgate.shipping"


class Shippers:
    """Starts the shipper, tells it what to send where, and replaces it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._shipper: SideProcess | None = None
        self._all: list[SideProcess] = []
        self._wanted: Plan | None = None
        self._is_stopping = False

    @property
    def are_gone(self) -> bool:
        """Whether no shipper is left."""
        return not self._all

    def settled(self) -> None:
        """A reload or a proposal is over: the targets of what is in force now get the log."""
        state, current = self._state, self._state.current
        if self._is_stopping or current is None:
            return
        wanted, before = current.plans.get("shipper"), self._wanted
        self._wanted = wanted
        if wanted is None:
            self._end()
            return state.log_pipe.close()
        for worker in state.workers.values():
            if worker.state in (WorkerState.READY, WorkerState.DRAINING):
                state.log_pipe.lend(worker)
        if before is None:
            self._start(0)
        elif before.digest != wanted.digest and self._shipper:
            self._shipper.send(messages.Ship(), [wanted.descriptor])
        return None

    def stop(self) -> None:
        """No worker is left: has it send what there is, and starts no other one."""
        if not self._is_stopping:
            self._is_stopping = True
            self._state.log_pipe.close()
            self._end()

    # ---- steps

    def _start(self, exits: int) -> None:
        state, run = self._state, self._state.settings
        shipper = self._shipper = SideProcess(
            state.reactor, MODULE, messages.FROM_SHIPPER, exits, blocked=(signal.SIGTERM,)
        )
        self._all.append(shipper)
        state.shipper = shipper.pid
        shipper.watch(lambda: _ignore(shipper), lambda: self._on_exit(shipper))
        start = messages.ShipperStart(
            user=run.user, group=run.group, log_format=run.log_format, log_level=run.log_level
        )
        memory = state.metrics.memory_for()
        state.metrics.counts_in(shipper.pid, memory)
        shipper.send(start, [state.log_pipe.reader(), memory])
        os.close(memory)
        if self._wanted:
            shipper.send(messages.Ship(), [self._wanted.descriptor])

    def _end(self) -> None:
        shipper, self._shipper = self._shipper, None
        if shipper is not None:
            shipper.terminate()

    def _on_exit(self, shipper: SideProcess) -> None:
        state = self._state
        status = shipper.reap()
        state.metrics.no_longer_counts(shipper.pid)
        self._all.remove(shipper)
        if state.shipper == shipper.pid:
            state.shipper = None
        if shipper is self._shipper:
            self._shipper = None
            shipper.replace_later(status, self._restart)
        state.agent_left()

    def _restart(self, exits: int) -> None:
        if not self._is_stopping and self._shipper is None and self._wanted:
            self._start(exits)


def _ignore(shipper: SideProcess) -> None:
    """It says nothing; the end of its line is noticed."""
    shipper.receive()
