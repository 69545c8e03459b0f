"""JSON bodies that are replaced by what a plugin makes of them: what `jq`, `jsonpath` and `json-patch` have in
common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response, ResponseView, body_mode

from ._bodies import BadBody, decoded, media_type
from ._media_types import is_changeable

OF_THE_OLD_BODY = ("etag", "last-modified", "accept-ranges", "content-encoding", "content-range")


class Held:
    """A body that is held back until it is whole."""

    def __init__(self, most: int) -> None:
        self._chunks: list[bytes] = []
        self._left = most

    def add(self, chunk: bytes) -> bool:
        """Whether there is room for the chunk."""
        self._left -= len(chunk)
        self._chunks.append(chunk)
        return self._left >= 0

    def body(self, *, keeps: bool = False) -> bytes:
        """All of it: once, unless it is kept."""
        whole = b"".join(self._chunks)
        if not keeps:
            self._chunks.clear()
        return whole


class JsonBodies(Plugin, ABC):
    """Replaces bodies of requests before they go on, and of responses before they are sent."""

    class Config(BaseModel):
        """The settings that all have."""

        model_config = ConfigDict(extra="forbid")

        max_body_bytes: int = Field(
            default=1_048_576, ge=1, description="The most bytes of a body, decoded, before and after."
        )
        max_depth: int = Field(default=64, ge=1, le=200, description="The most levels of a body.")

    def setup(self, context: PluginContext) -> None:
        """Notes which bodies are replaced."""
        self._context = context
        self._key = f"{context.name} body"
        self._failed = context.counter("failed")
        self._replaces_requests = getattr(self.config, "request", None) is not None
        self._replaces_responses = getattr(self.config, "response", None) is not None

    async def request(self, request: Request) -> Response | None:
        """Replaces the request's body, if it is JSON."""
        if self._replaces_responses:
            request.headers["accept-encoding"] = "identity"  # it would be coded for nothing
        if not self._replaces_requests:
            return None
        try:
            kind = media_type(request)
            if kind is None or not kind.is_json:
                return None
            body = await decoded(request, self.config.max_body_bytes)
            if body:
                made = await self._replaced("request", body)
                request.set_body(made, content_type=request.headers.get("content-type"))
        except BadBody as error:
            self._failed.add()
            vars(request.state)[self._key] = None  # this reply is no server's
            return Response.json({"error": str(error)}, error.status)
        return None

    def response(self, request: Request, response: ResponseView) -> None:
        """Notes what is to be replaced; what describes the old body goes."""
        headers = response.headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = kind.endswith(("/json", "+json"))
        if not self._replaces_responses or not is_json or not is_changeable(response.status, headers):
            return
        if self._key in vars(request.state):
            return
        for name in OF_THE_OLD_BODY:
            headers.pop(name, None)
        vars(request.state)[self._key] = Held(self.config.max_body_bytes)

    @body_mode("stream", decode=True)
    async def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Holds the body back until it is whole, then gives the new one."""
        held: Held | None = getattr(request.state, self._key, None)
        if held is None:
            return None
        try:
            if not held.add(chunk):
                raise BadBody("the response is too large")
            if not last:
                return b""
            body = held.body()
            try:
                return await self._replaced("response", body) if body else b""
            except BadBody:
                if response.status < 400:
                    raise
                return body  # an error says something else, and clients have to read what
        except BadBody as error:
            del vars(request.state)[self._key]
            self._failed.add()
            self._context.log.warning("a response is not transformed", extra={"reason": str(error)})
            return Response.json({"error": "the response of the server is not what was expected"}, 502)

    @abstractmethod
    async def _replaced(self, which: str, body: bytes) -> bytes:
        """The new body of a `request` or a `response`; raises `BadBody`."""
