"""Replaces responses, or parts of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, ResponseView
from headgate.native import Native

from ._fields import Editor, Edits

OF_THE_OLD_BODY = (
    "content-encoding",
    "content-language",
    "content-range",
    "accept-ranges",
    "last-modified",
    "etag",
)


class ResponseRewrite(Plugin):
    """Changes status, header fields and body of responses; `when` of the use says of which:
    `when: response.status >= 500`.

    What describes the old body (length, validators, digests, coding) goes with it. Of HEAD, and of statuses without a
    body, only the rest changes. Errors of the gateway itself are for `error-pages`.
    """

    order = 500

    class Config(BaseModel):
        """Settings of `response-rewrite`."""

        model_config = ConfigDict(extra="forbid")

        status: int | None = Field(default=None, ge=200, le=599, description="The new status.")
        headers: Edits | None = Field(default=None, description="Edits of header fields.")
        body: str | None = Field(default=None, description="The new body.")
        content_type: str | None = Field(default=None, description="The Content-Type of the new body.")

        @model_validator(mode="after")
        def _something(self) -> ResponseRewrite.Config:
            if self.status is None and self.headers is None and self.body is None:
                raise ConfigError("nothing is rewritten", hint="write `status`, `headers` or `body`")
            if self.content_type is not None and self.body is None:
                raise ConfigError("`content_type` is that of a new body", hint="write `body`, too")
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares the edits."""
        self._editor = Editor(self.config.headers) if self.config.headers else None
        body: str | None = self.config.body
        self._body = None if body is None else body.encode()
        self._key = f"{context.name} sent"

    def native(self) -> Native:
        """Edits of header fields alone."""
        if self.config.status is not None or self._body is not None or self._editor is None:
            return Native()
        return Native(response=self._editor.native())

    def response(self, request: Request, response: ResponseView) -> None:
        """Rewrites the head."""
        if self._editor is not None:
            self._editor.edit(response.headers, request, response)
        if self.config.status is not None:
            response.status = self.config.status
        if self._body is not None:
            for name in OF_THE_OLD_BODY:
                response.headers.pop(name, None)
            response.headers["content-type"] = self.config.content_type or "text/plain; charset=utf-8"

    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | None:
        """Puts the new body in the place of the old one."""
        if self._body is None:
            return None
        state = vars(request.state)
        if self._key in state:
            return b""
        state[self._key] = True
        return self._body
