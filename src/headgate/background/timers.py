"""Timers: `gate.every` and `gate.after`. A task that raises is logged, and its timer continues."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import re
from collections.abc import Callable
from typing import Any, Literal

from headgate._tasks import is_cancelled

from .node import Node
from .tasks import Count

OncePer = Literal["worker", "node"]
logger = logging.getLogger("headgate.timers")
SHORTEST_S = 0.001
LOOK_FOR_LEAD_S = 1.0
"""How often other workers check whether there is a leader."""


class Timer:
    """A timer; `cancel` stops it, but not a run that has already started."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], name: str, seconds: float
    ) -> None:
        self.name, self.seconds = name, seconds
        self._function, self._arguments = function, arguments
        self._waiting: asyncio.Task[None] | None = None
        self._runs = False
        self.is_cancelled = False

    def cancel(self) -> None:
        """Stops it."""
        self.is_cancelled = True
        self.halt()

    def halt(self) -> None:
        """Stops waiting, until it is begun again."""
        if self._waiting and not self._runs:
            self._waiting.cancel()

    def begin(self, coroutine: Any) -> asyncio.Task[None]:
        """Lets it wait in a task of its own."""
        self._waiting = asyncio.get_running_loop().create_task(coroutine, name=f"headgate timer {self.name}")
        return self._waiting

    async def run(self, count: Count) -> None:
        """Calls the function once; what it raises is logged."""
        self._runs = True
        try:
            result = self._function(*self._arguments)
            if inspect.isawaitable(result):
                await result
        except BaseException as error:  # an exit too: the timer continues
            if is_cancelled(error):
                raise
            count("tasks_failed")
            logger.exception("timer failed", extra={"timer": self.name})
        finally:
            self._runs = False


class Timers:
    """All timers of one worker. Those made while the file is loaded begin when the worker is about to accept."""

    def __init__(self, node: Node, count: Count) -> None:
        self._node, self._count = node, count
        self._registered: list[tuple[Timer, Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: set[Timer] = set()
        self._has_begun = False
        self._names: set[str] = set()

    def every(
        self, seconds: float, function: Callable[..., Any], once_per: OncePer, name: str | None
    ) -> Timer:
        """Calls a function again and again, in each worker or in one of the node."""
        if once_per not in ("worker", "node"):
            raise ValueError(f"`once_per` must be `worker` or `node`, not `{once_per}`")
        timer = Timer(function, (), name or _shown(function), _checked(seconds))
        if once_per == "node":
            if timer.name in self._names:
                raise ValueError(f"the timer `{timer.name}` is already defined; hint: give it a `name`")
            self._names.add(timer.name)
        self._add(timer, self._again if once_per == "worker" else self._again_on_node)
        return timer

    def after(self, seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Timer:
        """Calls a function once."""
        timer = Timer(function, arguments, _shown(function), _checked(seconds))
        self._add(timer, self._once)
        return timer

    def begin(self) -> None:
        """Begins those that were made before."""
        self._has_begun = True
        for timer, way in self._registered:
            if not timer.is_cancelled:
                self._start(timer, way)

    def stop(self) -> None:
        """Starts no further runs; runs that have started continue."""
        self._has_begun = False
        for timer in self._running:
            timer.halt()

    @property
    def count(self) -> int:
        """How many runs are going on after `stop`."""
        return len(self._tasks)

    async def end(self) -> None:
        """Ends runs that are still going on."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    def _add(self, timer: Timer, way: Any) -> None:
        if self._has_begun:
            self._start(timer, way)
        else:
            self._registered.append((timer, way))

    def _start(self, timer: Timer, way: Any) -> None:
        task = timer.begin(way(timer))
        self._tasks.add(task)
        self._running.add(timer)
        task.add_done_callback(functools.partial(self._ended, timer))

    def _ended(self, timer: Timer, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running.discard(timer)

    def _goes_on(self, timer: Timer) -> bool:
        return self._has_begun and not timer.is_cancelled

    async def _once(self, timer: Timer) -> None:
        await asyncio.sleep(timer.seconds)
        await timer.run(self._count)

    async def _again(self, timer: Timer) -> None:
        now = asyncio.get_running_loop().time
        due = now() + timer.seconds
        while self._goes_on(timer):
            await asyncio.sleep(due - now())
            await timer.run(self._count)
            # What was missed while it ran is left out, so that the times stay where they were.
            due += timer.seconds * max(1, -((due - now()) // timer.seconds))

    async def _again_on_node(self, timer: Timer) -> None:
        now = asyncio.get_running_loop().time
        while self._goes_on(timer):
            if not self._node.is_leader:
                await asyncio.sleep(min(timer.seconds, LOOK_FOR_LEAD_S))
            elif (left := self._node.seconds_until_due(timer.name, timer.seconds, now())) > 0:
                await asyncio.sleep(min(left, LOOK_FOR_LEAD_S))
            else:
                self._node.ran(timer.name, now())
                await timer.run(self._count)


def _checked(seconds: float) -> float:
    if not seconds >= SHORTEST_S:
        raise ValueError(f"the interval of a timer must be at least {SHORTEST_S} s, not `{seconds}`")
    return seconds


def _shown(function: Callable[..., Any]) -> str:
    if not callable(function):
        raise TypeError(f"a timer needs a function, not `{function!r}`")
    inner = getattr(function, "func", function)
    module = re.sub(r"^headgate_file_(.*)_\d+$", r"\1", str(getattr(inner, "__module__", "")))
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
