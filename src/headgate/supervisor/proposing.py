"""What the agent proposes, in the workers that run: ready in all of them, then applied, or forgotten.

How it works: `proposals` says what is proposed and when it is accepted; this has the workers make it ready. It shares
`applying` with reloads, so that one change is on its way at a time, and it forgets no change but its own.
"""

import os
from collections.abc import Callable

from headgate.control.agent_messages import Propose, ProposeDifference
from headgate.control.messages import PrepareDifference
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
        state, current = self._state, self._serving()
        try:
            state.listeners.open(message.listeners, message.modes, message.places)
        except BindError as error:
            os.close(descriptor)
            state.listeners.keep_only(current.addresses)
            return refused(str(error))
        if not self._may_be_asked(current):
            os.close(descriptor)
            return prepared(True)

        def keep_listeners() -> None:
            state.listeners.keep_only(current.addresses)

        def finished(number: int) -> None:
            keep_listeners()
            current.modes = message.modes
            applied(number)

        def failed(error: str) -> None:
            keep_listeners()
            refused(error)

        change = self._changing(
            current, message.listeners, prepared=prepared, refused=failed, applied=finished
        )
        change.begin(message.change, descriptor, label=message.label)
        return None

    def begin_difference(
        self,
        message: ProposeDifference,
        *,
        prepared: Callable[[bool], None],
        refused: Callable[[str], None],
        applied: Callable[[int], None],
    ) -> None:
        """As `begin`, for other routes; `prepared(True)`: not all workers can take a difference to these."""
        current = self._serving()
        if not self._may_be_asked(current):
            return prepared(True)
        change = self._changing(
            current, current.listeners, prepared=prepared, refused=refused, applied=applied
        )
        asked = PrepareDifference(label=message.label, base=message.base, told=message.told)
        change.begin_difference(asked)
        return None

    def _serving(self) -> Generation:
        current = self._state.current
        assert current is not None, "nothing is proposed before a generation serves"
        return current

    def _may_be_asked(self, current: Generation) -> bool:
        """Whether some workers serve, and none of these is blocked."""
        serving = [one for one in current.workers.values() if one.state is WorkerState.READY]
        return bool(serving) and not any(one.is_blocked for one in serving)

    def _changing(
        self,
        current: Generation,
        listeners: list[str],
        *,
        prepared: Callable[[bool], None],
        refused: Callable[[str], None],
        applied: Callable[[int], None],
    ) -> Changing:
        def ready() -> None:
            prepared(False)

        def needs_workers() -> None:
            self._over()
            prepared(True)

        def failed(error: str) -> None:
            self._over()
            refused(error)
            self._settled()

        def finished() -> None:
            self._over()
            current.number = self._generations.next_number()
            applied(current.number)
            self._have(current, change.workers)
            self._settled()

        self._change = self._applying.change = change = Changing(
            self._state,
            current,
            listeners,
            applied=finished,
            needs_workers=needs_workers,
            refused=failed,
            prepared=ready,
        )
        return change

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
