"""Changes header fields of requests and responses."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, Expression, Plugin, PluginContext, Request, ResponseView
from headgate.native import Native

from ._fields import Editor, Edits


class Headers(Plugin):
    """Removes, renames, maps, sets and adds header fields, of requests before they go on and of responses.

    A value such as `=request.client.address` is an expression. Of the gateway's own errors no field is changed.
    """

    order = 300

    class Config(BaseModel):
        """Settings of `headers`."""

        model_config = ConfigDict(extra="forbid")

        request: Edits | None = Field(default=None, description="Edits of requests.")
        response: Edits | None = Field(default=None, description="Edits of responses.")

        @model_validator(mode="after")
        def _something(self) -> Headers.Config:
            if self.request is None and self.response is None:
                raise ConfigError("no edit is asked for", hint="write `request` or `response`")
            edits = self.request or Edits()
            for value in (*edits.set.values(), *edits.add.values(), *edits.default.values()):
                if value.startswith("=") and Expression(value[1:]).names_response:
                    raise ConfigError(f"`{value}` reads the response of a request", hint="edit the response")
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares the edits."""
        self._request = Editor(self.config.request) if self.config.request else None
        self._response = Editor(self.config.response) if self.config.response else None

    def native(self) -> Native:
        """What is plain text, or a part of the request."""
        return Native(
            request=self._request.native() if self._request else [],
            response=self._response.native() if self._response else [],
        )

    def request(self, request: Request) -> None:
        """Edits the request."""
        if self._request is not None:
            self._request.edit(request.headers, request)

    def response(self, request: Request, response: ResponseView) -> None:
        """Edits the response."""
        if self._response is not None:
            self._response.edit(response.headers, request, response)
