"""POST `/v1/routes/-/test`: which route would take a request, and why not the others."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headgate.compile.order import compile_gateway
from headgate.compile.route_tests import route_test

from .access import Caller
from .bodies import object_body, query
from .node import Built, Node
from .problems import Refusal

MOST_HEADERS = 100


class RouteTester:
    """Asks about the configuration in force, whose snapshot is made once."""

    def __init__(self) -> None:
        self._made: tuple[Built, str] | None = None
        self._lock = asyncio.Lock()

    async def respond(self, request: Request, node: Node, _: Caller) -> Response:
        """The verdict on each route."""
        query(request)
        body = await object_body(request, {"method": str, "url": str, "headers": dict})
        headers = body.get("headers", {})
        if not all(isinstance(value, str) for value in headers.values()) or len(headers) > MOST_HEADERS:
            raise Refusal(400, "`headers` is not a table of texts", 'write `{"x-version": "2"}`')
        if "url" not in body:
            raise Refusal(400, "`url` is missing", "write `https://example.com/path`")
        found = route_test(
            await self._snapshot(node), body.get("method", "GET"), body["url"], headers.items()
        )
        return JSONResponse(found.plain())

    async def _snapshot(self, node: Node) -> str:
        async with self._lock:
            built = node.in_force
            if self._made is None or self._made[0] is not built:
                # beside the loop: with many routes it takes a while
                made = await asyncio.to_thread(lambda: compile_gateway(built.merged.gateway).snapshot)
                self._made = built, made
            return self._made[1]
