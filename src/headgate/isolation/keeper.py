"""Keeps one process of an isolated plugin: one call at a time, a new process for one that ended, late ones killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from .link import Ended, Link, Setting

CHECKED_EVERY = 1.0
"""How often a process is looked at that nobody asks anything, in seconds."""


class Keeper:
    """The process of one plugin in one worker."""

    def __init__(
        self, setting: Setting, *, timeout: float, max_bytes: int, on_restart: Callable[[], None]
    ) -> None:
        self._setting, self._timeout, self._max_bytes = setting, timeout, max_bytes
        self._on_restart = on_restart
        self._turn = asyncio.Lock()
        self._calls: set[asyncio.Task[dict[str, Any]]] = set()
        self._link: Link | None = None
        self._busy_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> dict[str, Any]:
        """Starts the process, and gives what it says of the plugin; raises `Ended`."""
        self._link = Link(self._setting, self._max_bytes)
        said = self._link.hello()
        # a process that is started later runs the same source, even if the file has changed
        self._setting = self._setting._replace(digest=str(said.get("digest", "")))
        return said

    async def ask(self, message: bytes) -> dict[str, Any]:
        """Runs one hook; raises `Ended`, or `TimeoutError` where it takes too long.

        A call that has begun goes on where nobody waits for it any more: clients that leave must not cost a process.
        """
        await self._turn.acquire()  # nobody waits here for a client that has left
        call = asyncio.get_running_loop().create_task(self._called(message))
        self._calls.add(call)
        call.add_done_callback(self._over)
        return await asyncio.shield(call)

    def close(self) -> None:
        """Ends the process."""
        if self._timer:
            self._timer.cancel()
        if self._link:
            self._link.kill()

    def _over(self, call: asyncio.Task[dict[str, Any]]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # where nobody waits any more, nobody is told

    async def _called(self, message: bytes) -> dict[str, Any]:
        try:
            return await self._tried(message)
        except Ended:
            return await self._tried(message)  # what has ended it may have been another call, or the system
        finally:
            self._turn.release()

    async def _tried(self, message: bytes) -> dict[str, Any]:
        link = self._link
        if link is None or not link.is_alive:
            link = self._link = await self._restarted()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                return await link.call(message)
        except BaseException:
            link.kill()  # what it sends next would be the result of this call
            raise
        finally:
            self._busy_seconds += time.monotonic() - began
            if self._timer is None:
                self._look_later()

    async def _restarted(self) -> Link:
        self._on_restart()
        link = Link(self._setting, self._max_bytes)
        said = await link.begun()
        if "phases" not in said:
            link.kill()
            raise Ended(str(said.get("refused") or said.get("failed"))[:300])
        return link

    def _look_later(self) -> None:
        link = self._link
        if link is None or not link.is_alive:
            self._timer = None
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(CHECKED_EVERY, self._look, link, link.cpu(), self._busy_seconds)

    def _look(self, link: Link, cpu: float, busy_seconds: float) -> None:
        """Kills a process that computes while nobody asks it to."""
        if not self._turn.locked() and link.is_spinning(cpu, self._busy_seconds - busy_seconds):
            link.kill()
        self._look_later()
