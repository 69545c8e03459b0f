"""Checks by a function of the user's."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
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
        super().__init__(target, self._call)

    async def _call(self, target: Target) -> None:
        if self._function is None:
            self._function = self._found()
        if inspect.iscoroutinefunction(self._function):
            result = await self._function(target.server)
        else:
            result = await asyncio.to_thread(self._function, target.server)
        if result is False:
            raise CheckFailed(f"`{self._name}` says so")

    def _found(self) -> Callable[[str], Any]:
        if self._folder not in sys.path:
            sys.path.insert(0, self._folder)
        module, _, name = self._name.partition(":")
        function: Callable[[str], Any] = getattr(importlib.import_module(module), name)
        return function
