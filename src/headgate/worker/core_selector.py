"""A selector that lets the engine wait in its place, for asyncio's loop and for the reactor alike."""

import selectors
from typing import Protocol


class Poller(Protocol):
    """The engine as the selector sees it; `headgate._core.Core` is one."""

    def poll(self, timeout: float | None, /) -> bool:
        """Serves until the watched descriptor has events or `timeout` seconds are over (None: no limit).

        Gives whether the descriptor has events.
        """

    def watch(self, fd: int) -> None:
        """Makes `poll` return when `fd` is readable."""


class CoreSelector(selectors.EpollSelector):
    """An epoll selector that leaves the waiting to the engine, while there is one."""

    _core: Poller | None = None

    def attach(self, core: Poller) -> None:
        """Puts the engine in charge of waiting."""
        core.watch(self.fileno())
        self._core = core

    def detach(self) -> None:
        """Takes the engine out again, before it is dropped."""
        self._core = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The descriptors that are ready; waits in the engine, up to `timeout` seconds."""
        if self._core is None:
            return super().select(timeout)
        return super().select(0) if self._core.poll(timeout) else []
