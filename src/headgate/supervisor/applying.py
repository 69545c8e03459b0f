"""A change that needs no new workers: it goes into those that run, and no connection notices.

How it works: the pending generation's first worker has loaded and checked the file. It hands over what it has loaded,
and every worker that runs says whether it could apply that. If all could, all do, in one swap each; new
listeners are lent to them, those that are no more are closed. If one could not because code differs, the pending
generation goes on with workers of its own; if the configuration is refused, all of them keep the old one.
"""

import logging
import os
from collections.abc import Callable, Iterable

from headgate.control.messages import (
    Change,
    ChangePrepared,
    Commit,
    Discard,
    Prepare,
    PrepareDifference,
)
from headgate.supervisor.state import State
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState

PREPARE_LIMIT_S = 20.0
"""Of workers that have not said by then whether they could: one whose loop a hook blocks is replaced by a new one."""

_COMMIT = Commit()

log = logging.getLogger("headgate.supervisor")


def may_change(current: Generation | None, count: int | None) -> bool:
    """Whether the workers of `current` are asked to take a change: all serve, and none is blocked."""
    return (
        current is not None
        and current.all_at_least(WorkerState.READY, count)
        and not any(worker.is_blocked for worker in current.workers.values())
    )


def replace_if_outdated(state: State, worker: WorkerProcess, generation: Generation) -> None:
    """Drains a worker that serves with other resources than those in force: it had loaded them before."""
    held = state.resources
    if (
        generation is state.current
        and worker.state is WorkerState.READY
        and held
        and worker.resources not in (None, held.number)
    ):
        log.info("worker has loaded an older configuration; replacing it")
        worker.drain(state.reactor)


class Awaited:
    """Something that each of some workers does in its own time; calls `done` when all have, or have ended."""

    def __init__(self, workers: Iterable[WorkerProcess], done: Callable[[], None]) -> None:
        self._missing, self._done = set(workers), done

    def done_by(self, worker: WorkerProcess) -> None:
        """This one has done it, or never will."""
        if worker in self._missing:
            self._missing.discard(worker)
            if not self._missing:
                self._done()

    def end(self) -> None:
        """Waits no longer."""
        if self._missing:
            self._missing.clear()
            self._done()


class Changing:
    """One change on its way into the workers of `current`.

    Calls one of: `applied` when it is in force, `needs_workers` when only workers of its own can serve it, `refused`
    with the reason if none could. With `prepared`, that is called when all could, and `commit` or `end` decides.
    """

    def __init__(
        self,
        state: State,
        current: Generation,
        listeners: list[str],
        *,
        applied: Callable[[], None],
        needs_workers: Callable[[], None],
        refused: Callable[[str], None],
        prepared: Callable[[], None] | None = None,
    ) -> None:
        self._state, self._current, self._listeners = state, current, listeners
        self._applied, self._needs_workers, self._refused = applied, needs_workers, refused
        self._all_prepared = prepared or self.commit
        self._workers = [one for one in current.workers.values() if one.state is WorkerState.READY]
        self._error: str | None = None
        self._is_code = False
        self._change: Change | None = None
        """None where only routes differ."""
        self._prepares: Awaited | None = Awaited(self._workers, self._decide)
        self._applies: Awaited | None = None
        self._timer = state.reactor.call_later(PREPARE_LIMIT_S, self._too_late)

    def begin(self, change: Change, descriptor: int, *, label: str | None = None) -> None:
        """Asks every worker; the descriptor is closed."""
        self._change = change
        message = Prepare(change=change, label=label)
        for worker in self._workers:
            worker.send(message, [descriptor])
        os.close(descriptor)

    def begin_difference(self, message: PrepareDifference) -> None:
        """Asks every worker for other routes; listeners and all else stay."""
        for worker in self._workers:
            worker.send(message)

    def prepared(self, worker: WorkerProcess, message: ChangePrepared) -> None:
        """A worker could apply it, or could not."""
        if message.error is not None:
            self._is_code = self._is_code or message.needs_workers
            if not message.needs_workers:
                self._error = self._error or message.error
        if self._prepares:
            self._prepares.done_by(worker)

    def applied(self, worker: WorkerProcess) -> None:
        """A worker has applied it."""
        if self._applies:
            self._applies.done_by(worker)

    def left(self, worker: WorkerProcess) -> None:
        """A worker has ended; another one will load the file itself."""
        if worker in self._workers:
            self._workers.remove(worker)
        for awaited in (self._prepares, self._applies):
            if awaited:
                awaited.done_by(worker)

    def end(self) -> None:
        """Forgets it, unless it is being applied: the pending generation is given up."""
        self._timer.cancel()
        if self._applies is None:
            self._prepares = None
            self._discard()

    def _too_late(self) -> None:
        if self._prepares:
            self._is_code = True  # somebody hangs: new workers serve on
            self._prepares.end()

    def _decide(self) -> None:
        self._prepares = None
        self._timer.cancel()
        if self._error is not None:
            self._discard()
            self._refused(self._error)
        elif self._is_code:
            self._discard()
            self._needs_workers()
        else:
            self._all_prepared()

    @property
    def workers(self) -> list[WorkerProcess]:
        """Those that have it ready, or have applied it."""
        return self._workers

    def _discard(self) -> None:
        for worker in self._workers:
            worker.send(Discard())

    def commit(self) -> None:
        """Has all apply it."""
        self._applies = Awaited(self._workers, self._finish)
        if self._change is None:
            for worker in self._workers:
                worker.send(_COMMIT)
        else:
            self._commit_whole(self._change)
        if not self._workers:
            self._finish()  # all have ended; those that come load it

    def _commit_whole(self, change: Change) -> None:
        state, current = self._state, self._current
        removed = [address for address in current.listeners if address not in self._listeners]
        added = [address for address in self._listeners if address not in current.listeners]
        for worker in self._workers:
            worker.drain_s, worker.kill_s = change.drain_s, change.kill_s
            worker.max_draining = change.max_draining
            listeners, descriptors = state.listeners.lend(added, worker.slot, state.count or 1)
            if change.ships_logs:
                state.log_pipe.lend(worker)  # before its first request with the new configuration
            worker.send(Commit(added=listeners, removed=removed), descriptors)
        current.listeners = self._listeners

    def _finish(self) -> None:
        self._applied()


class Applying:
    """The one change that is on its way into the workers that run, if any: a reload's, or the agent's."""

    def __init__(self) -> None:
        self.change: Changing | None = None

    def prepared(self, worker: WorkerProcess, message: ChangePrepared) -> None:
        """A worker could apply it, or could not."""
        if self.change:
            self.change.prepared(worker, message)

    def applied(self, worker: WorkerProcess) -> None:
        """A worker has applied it."""
        if self.change:
            self.change.applied(worker)

    def left(self, worker: WorkerProcess) -> None:
        """A worker has ended: nothing is to be expected of it."""
        if self.change:
            self.change.left(worker)

    def end(self) -> None:
        """Forgets it."""
        change, self.change = self.change, None
        if change:
            change.end()
