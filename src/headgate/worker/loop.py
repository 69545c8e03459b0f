"""The loop that is tokio and asyncio at once.

How it works: asyncio asks its selector to wait; ours lets the engine wait instead. `core.poll` runs tokio
until asyncio's epoll descriptor is readable (the engine watches it), a hook left work for asyncio, or the
timeout is over. What asyncio then has to do is collected without waiting. A request whose hooks do not wait
never gets here at all.
"""

import asyncio
import logging

from headgate.worker.core_selector import CoreSelector, Poller

logger = logging.getLogger("headgate.hooks")


class Loop(asyncio.SelectorEventLoop):
    """An asyncio loop in which every asyncio library works, driven by the engine's."""

    def __init__(self) -> None:
        self._core_selector = CoreSelector()
        super().__init__(self._core_selector)

    def attach(self, core: Poller) -> None:
        """Puts the engine in charge of waiting."""
        self._core_selector.attach(core)

    def _run_once(self) -> None:
        # A task or callback that raises one of these would end the loop, and with it every client's connection.
        try:
            super()._run_once()  # type: ignore[misc]
        except SystemExit:
            logger.exception("sys.exit() called in a hook, a task or a callback: only that ends")
        except KeyboardInterrupt:
            logger.exception("KeyboardInterrupt raised in a hook, a task or a callback: only that ends")

    def detach(self) -> None:
        """Takes the engine out again, before it is dropped."""
        self._core_selector.detach()
