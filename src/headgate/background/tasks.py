"""Tasks beside requests, or tied to one: bounded, logged when they raise, cancelled at the end."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import Overloaded

if TYPE_CHECKING:
    from headgate._core import Request

T = TypeVar("T")
Count = Callable[[str], None]
"""Counts something under the name of a counter."""

logger = logging.getLogger("headgate.tasks")
CLEAN_UP_S = 1.0


class Tasks:
    """The tasks of one worker that `gate.spawn` began."""

    def __init__(self, count: Count) -> None:
        self.limit = 1024
        self._count = count
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], *, request: Request | None = None, name: str | None = None
    ) -> asyncio.Task[T]:
        """Begins a task; with a request it is cancelled when that ends. `Overloaded` past `background.max_tasks`."""
        if not asyncio.iscoroutine(coroutine):
            raise TypeError(f"`spawn` takes a coroutine, not `{coroutine!r}`; hint: write `spawn(f(...))`")
        if len(self._running) >= self.limit:
            coroutine.close()
            self._count("tasks_refused")
            raise Overloaded(f"{self.limit} tasks are already running (background.max_tasks)")
        name = name or getattr(coroutine, "__qualname__", "task")
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._running.add(task)
        facts: dict[str, str | None] = {"task": name}
        if request is not None:
            facts["request"] = request.id
            _tie_of(request).add(task)
        task.add_done_callback(functools.partial(self._ended, facts))
        return task

    def _ended(self, facts: dict[str, str | None], task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._count("tasks_failed")
            logger.error("task failed", exc_info=error, extra=facts)

    @property
    def count(self) -> int:
        """How many run."""
        return len(self._running)

    async def end(self) -> None:
        """Cancels what still runs and lets it clean up, for a second."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CLEAN_UP_S)


class _Tie:
    """Cancels its tasks when it is dropped: it hangs in the `state` of a request, which ends with that."""

    def __init__(self) -> None:
        self._tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    def add(self, task: asyncio.Task[Any]) -> None:
        """Ties one more task."""
        self._tasks = [one for one in self._tasks if not one[1].done()]
        self._tasks.append((asyncio.get_running_loop(), task))

    def __del__(self) -> None:
        for loop, task in self._tasks:
            if not task.done() and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)  # which also wakes the loop: the engine drops us


def _tie_of(request: Request) -> _Tie:
    state = vars(request.state)
    tie = state.get("_headgate_tasks")
    if not isinstance(tie, _Tie):
        state["_headgate_tasks"] = tie = _Tie()
    return tie
