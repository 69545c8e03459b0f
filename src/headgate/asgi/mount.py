"""A mounted application: the request hook that runs it, and its lifespan.

How it works: each request's application runs in a task of its own; its first step is taken at once. Most responses are
complete after it, and nothing ever waits; else the hook waits until the response begins, and its body goes out as the
application makes it, no faster than the client reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from headgate._tasks import begin

from .http import HttpExchange, RawResponse
from .lifespan import Lifespan
from .scope import http_scope, websocket_scope

if TYPE_CHECKING:
    from headgate._core import Request
    from headgate.message import Response

Application = Callable[[Any, Any, Any], Awaitable[Any]]
"""An ASGI 3 application."""

logger = logging.getLogger("headgate.asgi")


class Mount:
    """An application under a path."""

    def __init__(self, root_path: str, app: Application) -> None:
        self.root_path = root_path
        self.app = app
        self.lifespan = Lifespan(app)
        self._running: set[asyncio.Future[Any]] = set()

    async def __call__(self, request: Request) -> Response | RawResponse:
        """Runs the application for one request and gives its response."""
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        exchange = HttpExchange(request)
        scope = http_scope(request, self.root_path, self.lifespan.state)
        try:
            task = begin(self.app(scope, exchange.receive, exchange.send), "headgate asgi")
        except Exception as error:
            return exchange.at_once(error)
        if task is None:
            return exchange.at_once()
        exchange.of(task)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(exchange.ended)
        return await exchange.response()

    async def _websocket(self, request: Request) -> Response | RawResponse:
        from .websocket import WebSocketExchange

        exchange = WebSocketExchange(request)
        if refusal := exchange.refusal:
            return refusal
        scope = websocket_scope(request, self.root_path, self.lifespan.state, exchange.subprotocols)
        task = asyncio.ensure_future(self.app(scope, exchange.receive, exchange.send))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(exchange.ended)
        return await exchange.response()

    async def startup(self) -> None:
        """Lets the application start up; raises what it fails with."""
        await self.lifespan.startup()

    async def shutdown(self) -> None:
        """Lets the application shut down."""
        await self.lifespan.shutdown()
