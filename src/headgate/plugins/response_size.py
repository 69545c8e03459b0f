"""Bounds the bodies of responses."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response, ResponseView

from ._bodies import is_told_larger


class ResponseSize(Plugin):
    """Replaces a response whose body is too large by a 502; one that tells no length is cut off where it is too large.

    A client can tell: a response that is cut off never looks complete.
    """

    order = 600

    class Config(BaseModel):
        """Settings of `response-size`."""

        model_config = ConfigDict(extra="forbid")

        body: int = Field(ge=0, description="The most bytes of a body, as the server sends it.")

    def setup(self, context: PluginContext) -> None:
        """Makes the counter."""
        self._key = f"{context.name} size"
        self._denied = context.counter("denied")
        self._log = context.log

    def response(self, request: Request, response: ResponseView) -> Response | None:
        """Looks at the length."""
        if request.method != "HEAD" and is_told_larger(response.headers, self.config.body):
            self._denied.add()
            return Response(502, "the response is too large\n")
        return None

    def response_body(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> None:
        """Counts what comes."""
        state = vars(request.state)
        size = state[self._key] = state.get(self._key, 0) + len(chunk)
        if size > self.config.body:
            self._denied.add()
            raise ValueError(f"the response has more than {self.config.body} bytes")
