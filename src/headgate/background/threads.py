"""Blocking calls in threads: `await gate.run_in_thread(f, ...)`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import Overloaded
from .tasks import Count

T = TypeVar("T")


class Threads:
    """A few threads of one worker, started when they are first needed."""

    def __init__(self, count: Count) -> None:
        self.threads, self.max_waiting = 16, 256
        self._count = count
        self._pool: ThreadPoolExecutor | None = None
        self._calls = 0

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls the function in a thread, in a copy of the caller's context.

        A caller that gives up leaves a call that has begun to its thread. `Overloaded` if too many wait already.
        """
        if self._calls >= self.threads + self.max_waiting:
            self._count("tasks_refused")
            raise Overloaded(
                f"{self.threads} calls run in threads and {self.max_waiting} wait (background.threads, "
                "background.max_waiting_threads)"
            )
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="headgate")
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        future = self._pool.submit(call)
        self._calls += 1
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _tell(loop, self._ended))
        return await asyncio.wrap_future(future)

    def _ended(self) -> None:
        self._calls -= 1

    def close(self) -> None:
        """Drops what waits; what runs is not waited for."""
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)
