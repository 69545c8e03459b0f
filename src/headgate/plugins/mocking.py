"""Replies with the examples of an OpenAPI document, before there is a server."""

from __future__ import annotations

import asyncio
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response

from ._fields import FieldName
from ._media_types import weight
from ._mocks import Mock, Mocks

PREFERENCE = re.compile(r"\s*(code|example)\s*=\s*\"?([^\s\",;]{1,100})\"?\s*", re.IGNORECASE)


class Mocking(Plugin):
    """Replies to requests with the responses that an OpenAPI document (3.0 or 3.1) describes: by their examples, or
    what is made of their schemas; no server is asked.

    The response is the first 2xx of the operation, in the type that `Accept` prefers; `Prefer: code=404` and `Prefer:
    example=empty` choose another one (RFC 7240). Everything is made when the document is loaded. What the document
    does not have is a 404 or 405, or goes on to the route.
    """

    order = 445

    class Config(BaseModel):
        """Settings of `mocking`."""

        model_config = ConfigDict(extra="forbid")

        openapi: str = Field(description="A document of OpenAPI 3.0 or 3.1, YAML or JSON.")
        unknown: Literal["refuse", "pass"] = Field(
            default="refuse", description="What becomes of requests that the document does not have."
        )
        prefer: bool = Field(default=True, description="Whether clients choose by `Prefer`.")
        delay: float = Field(default=0, ge=0, le=60, description="How long responses take, in seconds.")
        header: FieldName | None = Field(
            default="x-mock", description="A field that marks the responses; null is none."
        )

    def setup(self, context: PluginContext) -> None:
        """Makes the responses."""
        self._mocks = Mocks(self.config.openapi)

    async def request(self, request: Request) -> Response | None:
        """Replies."""
        operations = self._mocks.find(request.path)
        method = request.method
        if operations is not None and method == "HEAD" and "HEAD" not in operations:
            method = "GET"
        if operations is None or method not in operations:
            if self.config.unknown == "pass":
                return None
            status = 404 if operations is None else 405
            reply = Response.json({"error": "the document has no such operation"}, status)
            if operations is not None:
                reply.headers["allow"] = ", ".join(operations)
            return reply
        if self.config.delay:
            await asyncio.sleep(self.config.delay)
        return self._chosen(request, operations[method])

    def _chosen(self, request: Request, mocks: list[Mock]) -> Response:
        wanted: dict[str, str] = {}
        if self.config.prefer:
            parts = ",".join(request.headers.get_all("prefer"))[:2000].replace(";", ",").split(",")
            found = (PREFERENCE.fullmatch(one) for one in parts)
            wanted = {one[1].lower(): one[2] for one in found if one}
        mock = mocks[0]
        if "code" in wanted:
            mock = next((one for one in mocks if str(one.status) == wanted["code"]), mock)
        reply = Response(mock.status, headers=mock.headers)
        if mock.bodies:
            accept = ",".join(request.headers.get_all("accept"))
            kind = (
                max(mock.bodies, key=lambda one: weight(accept, one)) if accept else next(iter(mock.bodies))
            )
            bodies = mock.bodies[kind]
            reply.body = bodies.get(wanted.get("example", ""), next(iter(bodies.values())))
            reply.headers["content-type"] = kind
            if len(mock.bodies) > 1:
                reply.headers.add("vary", "Accept")
        if self.config.header is not None:
            reply.headers[self.config.header] = "1"
        return reply
