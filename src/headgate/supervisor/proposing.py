"""What the agent proposes, in the workers that run: ready in all of them, then applied, or forgotten.

How it works: `proposals` says what is proposed and when it is accepted; this has the workers make it ready. It shares
`applying` with reloads, so that one change is on its way at a time, and it forgets no change but its own.
"""

import os
from collections.abc import Callable

from headgate.control.agent_messages import Propose
from headgate.supervisor.applying import Changing, replace_if_outdated
from headgate.supervisor.generations import Generations
from headgate.supervisor.listeners import BindError
from headgate.supervisor.state import State
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState


class Proposing:
    """Has the workers of the current generation take a proposal; `settled` is called when they have, or will not."""

    def __init__(self, state: State, generations: Generations, settled: Callable[[], None]) -> None:
        self._state, self._generations, self._settled = state, generations, settled
        self._applying = generations.applying
        self._change: Changing | None = None
        """The proposal's, while it is under way."""

    def begin(
        self,
        message: Propose,
        descriptor: int,
        *,
        prepared: Callable[[bool], None],
        refused: Callable[[str], None],
        applied: Callable[[int], None],
    ) -> None:
        """Has the workers make it ready; `prepared(True)`: only new workers can serve it. Closes the descriptor.

        `commit` applies it, `discard` forgets it.
        """
        state, current = self._state, self._state.current
        assert current is not None, "nothing is proposed before a generation serves"
        try:
            state.listeners.open(message.listeners, message.modes, message.places)
        except BindError as error:
            os.close(descriptor)
            state.listeners.keep_only(current.addresses)
            return refused(str(error))
        serving = [one for one in current.workers.values() if one.state is WorkerState.READY]
        if not serving or any(one.is_blocked for one in serving):
            os.close(descriptor)
            return prepared(True)

        def ready() -> None:
            prepared(False)

        def needs_workers() -> None:
            self._over()
            prepared(True)

        def failed(error: str) -> None:
            self._over()
            state.listeners.keep_only(current.addresses)
            refused(error)
            self._settled()

        def finished() -> None:
            self._over()
            state.listeners.keep_only(current.addresses)
            current.number, current.modes = self._generations.next_number(), message.modes
            applied(current.number)
            self._have(current, change.workers)
            self._settled()

        self._change = self._applying.change = change = Changing(
            state,
            current,
            message.listeners,
            applied=finished,
            needs_workers=needs_workers,
            refused=failed,
            prepared=ready,
        )
        change.begin(message.change, descriptor, label=message.label, base=message.base)
        return None

    def commit(self) -> None:
        """Applies it."""
        if self._change:
            self._change.commit()

    def discard(self) -> None:
        """Forgets it; a reload that is under way goes on."""
        state, is_under_way = self._state, self._change is not None
        if is_under_way:
            self._applying.end()
            self._over()
        if state.current and state.pending is None:  # else the reload says which addresses stay open
            state.listeners.keep_only(state.current.addresses)
        if is_under_way:
            self._settled()

    def _have(self, current: Generation, workers: list[WorkerProcess]) -> None:
        """These have applied what is in force now; one of the others may have loaded what was before."""
        resources = self._state.resources
        for worker in list(current.workers.values()):
            if worker in workers:
                worker.generation, worker.resources = current.number, resources.number if resources else None
            else:
                replace_if_outdated(self._state, worker, current)

    def _over(self) -> None:
        self._change = self._applying.change = None
