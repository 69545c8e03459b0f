"""Checks by a function of the user's."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from headgate.monitor.probes.connecting import CheckFailed
from headgate.monitor.probes.task import TaskProbe
from headgate.monitor.target import Target


class FunctionProbe(TaskProbe):
    """Calls it for each check; one that is no coroutine runs in a thread."""

    def __init__(self, target: Target, folder: str) -> None:
        self._name: str = target.check["function"]
        self._folder = folder
        self._function: Callable[[str], Any] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[Any] | None = None
        super().__init__(target, self._call)

    async def _call(self, target: Target) -> None:
        if self._function is None:
            self._function = self._found()
        if inspect.iscoroutinefunction(self._function):
            result = await self._function(target.server)
        else:
            result = await self._in_thread(self._function, target.server)
        if result is False:
            raise CheckFailed(f"`{self._name}` says so")

    async def _in_thread(self, function: Callable[[str], Any], server: str) -> Any:
        """A thread of its own: a function that hangs holds up no other check, and is not called again meanwhile."""
        if self._running and not self._running.done():
            raise CheckFailed("its last call has not returned yet")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "headgate-check")
        self._running = self._thread.submit(function, server)
        return await asyncio.wrap_future(self._running)

    def close(self) -> None:
        """See `Probe`."""
        if self._thread:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _found(self) -> Callable[[str], Any]:
        if self._folder not in sys.path:
            sys.path.insert(0, self._folder)
        module, _, name = self._name.partition(":")
        function: Callable[[str], Any] = getattr(importlib.import_module(module), name)
        return function
