"""The loop that is tokio and asyncio at once.

How it works: asyncio asks its selector to wait; ours lets the engine wait instead. `core.poll` runs tokio
until asyncio's epoll descriptor is readable (the engine watches it), a hook left work for asyncio, or the
timeout is over. What asyncio then has to do is collected without waiting. A request whose hooks do not wait
never gets here at all.
"""

import asyncio
import selectors
from typing import Protocol


class Poller(Protocol):
    """The engine as the selector sees it; `headgate._core.Core` is one."""

    def poll(self, timeout: float | None, /) -> bool:
        """Serves until asyncio has work or `timeout` seconds are over (None: no limit).

        Gives whether asyncio's descriptor has events.
        """

    def watch(self, fd: int) -> None:
        """Makes `poll` return when `fd` is readable."""


class CoreSelector(selectors.EpollSelector):
    """An epoll selector that leaves the waiting to the engine, once there is one."""

    core: Poller | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The descriptors that are ready; waits in the engine, up to `timeout` seconds."""
        if self.core is None:
            return super().select(timeout)
        return super().select(0) if self.core.poll(timeout) else []


class Loop(asyncio.SelectorEventLoop):
    """An asyncio loop in which every asyncio library works, driven by the engine's."""

    def __init__(self) -> None:
        self._core_selector = CoreSelector()
        super().__init__(self._core_selector)

    def attach(self, core: Poller) -> None:
        """Puts the engine in charge of waiting."""
        core.watch(self._core_selector.fileno())
        self._core_selector.core = core

    def detach(self) -> None:
        """Takes the engine out again, before it is dropped."""
        self._core_selector.core = None
