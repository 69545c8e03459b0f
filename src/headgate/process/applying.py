"""A change of configuration alone: it goes into the workers that run, and no connection notices.

How it works: the coming generation's first worker has loaded and checked the file. If neither what runs nor what
comes holds code of the user's, and the listeners are the same, no more workers are started: the first one hands
over its snapshot and leaves, and every worker that runs puts that snapshot in force. A worker that cannot is
killed; the one that replaces it loads the file itself.
"""

import os
import signal
from collections.abc import Callable

from headgate.process.channel import Message
from headgate.process.workers import Generation, Phase, Worker


def is_in_place(current: Generation | None, worker: Worker) -> bool:
    """Whether what `worker` has prepared can go into the workers of `current`."""
    return (
        current is not None
        and current.is_data
        and worker.is_data
        and worker.listeners == current.listeners
        and all(one.phase is Phase.READY for one in current.workers.values())
    )


class Change:
    """One snapshot on its way into the workers of a generation; calls `done` when all have it or are gone."""

    def __init__(
        self, generation: Generation, change: Message, descriptor: int, done: Callable[[], None]
    ) -> None:
        self._missing = set(generation.workers.values())
        self._done = done
        for worker in list(self._missing):
            worker.drain_s = change["drain_s"]
            # one that does not read is dead or hangs: it never says `applied`, and is replaced when it ends
            worker.send({"type": "apply", "change": change}, [descriptor])
        os.close(descriptor)

    def heard(self, worker: Worker, error: str | None) -> None:
        """A worker has it in force, or could not."""
        if error:
            worker.error = error
            worker.process.signal(signal.SIGKILL)
        self.is_over_for(worker)

    def is_over_for(self, worker: Worker) -> None:
        """Nothing more is awaited from this worker."""
        if worker in self._missing:
            self._missing.discard(worker)
            if not self._missing:
                self._done()
