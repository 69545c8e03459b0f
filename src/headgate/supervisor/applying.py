"""A change of configuration alone: it goes into the workers that run, and no connection notices.

How it works: the coming generation's first worker has loaded and checked the file. If neither what runs nor what
comes holds user code, and the listeners are the same, no more workers are started: the first one hands
over its snapshot and leaves, and every worker that runs puts that snapshot in force. A worker that cannot is
killed; the one that replaces it loads the file itself.
"""

import os
from collections.abc import Callable, Iterable

from headgate.control.messages import Apply, Change
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState


def is_in_place(current: Generation | None, worker: WorkerProcess) -> bool:
    """Whether what `worker` has prepared can go into the workers of `current`."""
    return (
        current is not None
        and current.is_data
        and worker.is_data
        and (worker.listeners, worker.modes) == (current.listeners, current.modes)
        and all(one.state is WorkerState.READY for one in current.workers.values())
    )


def send_change(generation: Generation, change: Change, descriptor: int) -> None:
    """Sends a snapshot to every worker; the descriptor is closed."""
    for worker in generation.workers.values():
        worker.drain_s, worker.kill_s = change.drain_s, change.kill_s
        # one that does not read has ended or hangs: it never says `Applied`, and is replaced when it ends
        worker.send(Apply(change=change), [descriptor])
    os.close(descriptor)


class Awaited:
    """Something that each of some workers does in its own time; calls `done` when all have, or have ended."""

    def __init__(self, workers: Iterable[WorkerProcess], done: Callable[[], None]) -> None:
        self._missing, self._done = set(workers), done

    def heard(self, worker: WorkerProcess) -> None:
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
