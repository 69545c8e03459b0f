"""Bounds the parts of a request more closely than the gateway's limits do."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response
from headgate.native import AskBeyond, Native

from ._bodies import told_length


class RequestSize(Plugin):
    """Refuses requests whose target, header fields or body are too large: 414, 431, 413.

    A body counts as it comes, with or without a length. What the gateway's own `limits` refuse never gets here.
    """

    order = -80

    class Config(BaseModel):
        """Settings of `request-size`."""

        model_config = ConfigDict(extra="forbid")

        body: int | None = Field(default=None, ge=0, description="The most bytes of a body.")
        target: int | None = Field(default=None, ge=1, description="The most characters of path and query.")
        query_params: int | None = Field(default=None, ge=0, description="The most parameters of a query.")
        header_bytes: int | None = Field(
            default=None, ge=1, description="The most bytes of all header fields, names included."
        )
        header_fields: int | None = Field(default=None, ge=1, description="The most header fields.")
        require_length: bool = Field(
            default=False, description="Whether a body without Content-Length is refused with 411."
        )

    def setup(self, context: PluginContext) -> None:
        """Makes the counter."""
        self._key = f"{context.name} size"
        self._denied = context.counter("denied")

    def native(self) -> Native:
        """What is well within the bounds passes."""
        config = self.config
        bounds = AskBeyond(
            target=config.target,
            query_params=config.query_params,
            header_bytes=config.header_bytes,
            header_fields=config.header_fields,
            body=config.body,
            require_length=config.require_length,
        )
        return Native(request=[bounds])

    def request(self, request: Request) -> Response | None:
        """Measures what is known from the head."""
        config = self.config
        if config.target is not None and len(request.target) > config.target:
            return self._refusal(414, "the target is too long")
        if config.query_params is not None and request.query.count("&") >= config.query_params > 0:
            return self._refusal(414, "the query has too many parameters")
        if config.query_params == 0 and request.query:
            return self._refusal(414, "the query has too many parameters")
        if config.header_fields is not None and len(request.headers.keys()) > config.header_fields:
            return self._refusal(431, "too many header fields")
        if config.header_bytes is not None:
            size = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
            if size > config.header_bytes:
                return self._refusal(431, "the header fields are too large")
        length = told_length(request.headers)
        if length is not None and config.body is not None and length > config.body:
            return self._refusal(413, "the body is too large")
        if length is None and config.require_length and request.method in ("POST", "PUT", "PATCH"):
            return self._refusal(411, "a length is required")
        return None

    def request_body(self, request: Request, chunk: bytes, last: bool) -> Response | None:
        """Counts what comes."""
        if self.config.body is None:
            return None
        state = vars(request.state)
        size = state[self._key] = state.get(self._key, 0) + len(chunk)
        return self._refusal(413, "the body is too large") if size > self.config.body else None

    def _refusal(self, status: int, text: str) -> Response:
        self._denied.add()
        return Response(status, f"{text}\n")
