"""The lifespan of an application: what it does before the first request and after the last (ASGI lifespan 2.0)."""

from __future__ import annotations

import asyncio
from typing import Any

from .scope import ASGI


class Lifespan:
    """Runs the application's lifespan in a task; applications without one just raise, which is no failure."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def startup(self) -> None:
        """Starts the application; raises if it says that it cannot."""
        self._task = asyncio.ensure_future(self._run())
        answer = await self._ask("lifespan.startup")
        if answer["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the application did not start: {answer.get('message', '')}")

    async def shutdown(self) -> None:
        """Stops the application, if it has a lifespan."""
        if self._task is None or self._task.done():
            return
        answer = await self._ask("lifespan.shutdown")
        if answer["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(f"the application did not stop well: {answer.get('message', '')}")

    async def _ask(self, kind: str) -> dict[str, Any]:
        await self._to_app.put({"type": kind})
        return await self._answers.get()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": ASGI, "state": self.state}
        try:
            await self._app(scope, self._to_app.get, self._answers.put)
        except Exception:
            # before an answer: the application knows no lifespan; after a failure it has said so already
            pass
        finally:
            await self._answers.put({"type": "ended"})
