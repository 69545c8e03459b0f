"""Workers that hang: found because they do not respond, and replaced.

How it works: every second each worker that serves is sent a `Ping`, to which its event loop replies. Silence is counted
in turns of this reactor rather than in time, so that a supervisor that was held up itself does not blame the workers.

| silent turns | what happens                                                                                   |
|--------------|------------------------------------------------------------------------------------------------|
| 1            | a signal has the worker write its Python stacks into memory that both hold; this takes no lock |
| 2            | it is `blocked`: logged with those stacks, and a sibling accepts from its sockets as well      |
| `kill`       | it is killed; the next worker of its slot takes over the same sockets                          |
"""

import logging
import os
import signal

from headgate.control.messages import DUMP_SIGNAL, Adopt, Ping
from headgate.supervisor.state import State
from headgate.supervisor.workers import WorkerProcess, WorkerState

INTERVAL_S = 1.0
DUMPED_AFTER, BLOCKED_AFTER = 1, 2
LONGEST_STACK_BYTES = 16 * 1024

log = logging.getLogger("headgate.supervisor")


class Heartbeats:
    """Looks after the workers of one supervisor."""

    def __init__(self, state: State) -> None:
        self._state = state

    def begin(self) -> None:
        """Asks all now, and again every second."""
        self._state.reactor.call_later(INTERVAL_S, self.begin)
        for worker in list(self._state.workers.values()):
            if worker.state in (WorkerState.READY, WorkerState.DRAINING):
                self._ask(worker)

    def responded(self, worker: WorkerProcess) -> None:
        """The worker has responded."""
        if worker.is_blocked:
            log.warning("worker responds again", extra={"worker": worker.pid})
        worker.awaits_pong, worker.silent_turns = False, 0

    def _ask(self, worker: WorkerProcess) -> None:
        if not worker.awaits_pong:
            worker.send(Ping())  # one that does not read is silent, too
            worker.awaits_pong = True
            return
        worker.silent_turns += 1
        silent_s = worker.silent_turns * INTERVAL_S
        if worker.silent_turns == DUMPED_AFTER and worker.stacks is not None:
            os.ftruncate(worker.stacks, 0)
            os.lseek(worker.stacks, 0, os.SEEK_SET)  # the position is shared with the worker
            worker.process.signal(DUMP_SIGNAL)
        if worker.silent_turns == BLOCKED_AFTER:
            self._log_blocked(worker)
        if not worker.is_blocked:
            return
        self._lend_to_sibling(worker)
        if worker.kill_s is not None and silent_s >= worker.kill_s:
            worker.error = f"blocked for {silent_s:.0f} s, so it was killed (`watchdog.kill`)"
            worker.process.signal(signal.SIGKILL)

    def _log_blocked(self, worker: WorkerProcess) -> None:
        facts: dict[str, object] = {"worker": worker.pid}
        if worker.kill_s is not None:
            facts["kill_after_s"] = round(worker.kill_s, 1)
        record = log.makeRecord(
            log.name,
            logging.ERROR,
            __file__,
            0,
            "worker is blocked: it has not responded for %d s",
            (BLOCKED_AFTER * INTERVAL_S,),
            None,
            extra=facts,
            sinfo=worker.dumped_stacks(LONGEST_STACK_BYTES),
        )
        log.handle(record)

    def _lend_to_sibling(self, worker: WorkerProcess) -> None:
        """Has another worker accept from the sockets that are this one's alone: no connection waits in their queues."""
        state = self._state
        if state.current is None or state.count is None or state.stopping:
            return
        if state.current.workers.get(worker.slot) is not worker or worker.sibling in state.workers:
            return
        for sibling in state.current.workers.values():
            if sibling.state is not WorkerState.READY or sibling.silent_turns:
                continue
            listeners, descriptors = state.listeners.lend(
                state.current.listeners, worker.slot, state.count, is_own=True
            )
            if descriptors and sibling.send(Adopt(listeners=listeners), descriptors):
                worker.sibling = sibling.pid
            return
