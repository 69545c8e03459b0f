"""Collects what the workers report for one `status`."""

from collections.abc import Callable, Iterable

from headgate.control.messages import Query
from headgate.control.reactor import Reactor
from headgate.supervisor.workers import WorkerProcess, WorkerState

PATIENCE_S = 0.5


class StatusRound:
    """Asks the workers once, if wanted also for the times of their hooks.

    Calls `done` when all have reported, ended, or 0.5 s are over.
    """

    def __init__(
        self,
        reactor: Reactor,
        workers: Iterable[WorkerProcess],
        done: Callable[[], None],
        hooks: bool = False,
    ) -> None:
        self._done: Callable[[], None] | None = done
        self._missing = {
            worker.pid
            for worker in workers
            if worker.state in (WorkerState.READY, WorkerState.DRAINING) and worker.send(Query(hooks=hooks))
        }
        self._timer = reactor.call_later(PATIENCE_S, self._finish)
        if not self._missing:
            self._finish()

    @property
    def is_over(self) -> bool:
        """Whether `done` was called."""
        return self._done is None

    def reported(self, worker: WorkerProcess) -> None:
        """The worker has reported, or has exited."""
        self._missing.discard(worker.pid)
        if not self._missing:
            self._finish()

    def _finish(self) -> None:
        self._timer.cancel()
        done, self._done = self._done, None
        if done:
            done()
