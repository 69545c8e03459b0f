"""The lifespan of an application: what it does before the first request and after the last (ASGI lifespan 2.0)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from headgate._tasks import is_cancelled

from .scope import ASGI

logger = logging.getLogger("headgate.asgi")


class Lifespan:
    """Runs the application's lifespan in a task; applications without one just raise, which is not a failure."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.state: dict[str, Any] = {}
        self._asked = ""
        self._has_started = False
        self._task: asyncio.Task[None] | None = None
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def startup(self) -> None:
        """Starts the application; raises if it says that it cannot."""
        self._task = asyncio.ensure_future(self._run())
        event = await self._ask("lifespan.startup")
        self._has_started = event["type"] == "lifespan.startup.complete"
        if event["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the application did not start: {event.get('message', '')}")

    async def shutdown(self) -> None:
        """Stops the application, if it has a lifespan."""
        if self._task is None or self._task.done():
            return
        event = await self._ask("lifespan.shutdown")
        if event["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(f"the application failed to stop: {event.get('message', '')}")

    async def _ask(self, kind: str) -> dict[str, Any]:
        self._asked = kind
        await self._to_app.put({"type": kind})
        return await self._events.get()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": ASGI, "state": self.state}
        try:
            await self._app(scope, self._to_app.get, self._events.put)
        except BaseException as error:
            if is_cancelled(error):
                raise
            if isinstance(error, Exception) and self._asked == "lifespan.startup":
                # before it has started: the application knows no lifespan; later it has said so, or it is logged
                if self._has_started:
                    logger.exception("the lifespan of an application ended prematurely")
            else:
                text = f"it raised {type(error).__name__}: {error}"
                await self._events.put({"type": f"{self._asked}.failed", "message": text})
        finally:
            await self._events.put({"type": "ended"})
