"""Changes what a server is asked for: path, query, method, host."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote_plus

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Expression, Pattern, Plugin, PluginContext, Request

from ._remembered import Remembered
from ._targets import PathRule, rooted

METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class PathRewrite(BaseModel):
    """Paths that become others."""

    model_config = ConfigDict(extra="forbid")

    match: str = Field(description="A pattern (RE2) for the whole path, as it was sent.")
    to: str = Field(description="The new path; `\\1` to `\\9` are what the groups matched.")

    @field_validator("match")
    @classmethod
    def _match(cls, match: str) -> str:
        Pattern(match)
        return match


class ProxyRewrite(Plugin):
    """Changes path, query, method and host of requests, after all plugins that check them.

    Of the rules for paths the first that matches counts; paths that none matches stay. The gateway has chosen the route
    already: `upstream` of a route, or `traffic-split`, says where requests go.
    """

    order = 310

    class Config(BaseModel):
        """Settings of `proxy-rewrite`."""

        model_config = ConfigDict(extra="forbid")

        path: list[PathRewrite] = Field(default=[], description="Rules for paths.")
        method: str | None = Field(default=None, description="The new method.")
        host: str | None = Field(default=None, description="The new Host.")
        query_set: dict[str, str] = Field(
            default={}, description="Parameters that are set; a value that begins with `=` is an expression."
        )
        query_remove: list[str] = Field(default=[], description="Parameters that go.")

        @model_validator(mode="after")
        def _valid(self) -> ProxyRewrite.Config:
            if self.method is not None and not METHOD.fullmatch(self.method):
                raise ConfigError(f"`{self.method}` is not a valid method", hint="write `GET`")
            if self.host is not None and re.search(r"[\s/\\@?#]", self.host):
                raise ConfigError(f"`{self.host}` is not a valid host", hint="write `app.example:8080`")
            for value in self.query_set.values():
                if value.startswith("=") and Expression(value[1:]).names_response:
                    raise ConfigError(f"`{value}` reads the response of a request", hint="name the request")
            return self

    def setup(self, context: PluginContext) -> None:
        """Compiles the rules."""
        self._paths = [PathRule(one.match, one.to) for one in self.config.path]
        self._rewritten = Remembered(self._path)
        self._gone = frozenset((*self.config.query_remove, *self.config.query_set))
        self._set: list[tuple[str, Any]] = [
            (quote(name, safe=""), Expression(value[1:]) if value.startswith("=") else value)
            for name, value in self.config.query_set.items()
        ]

    def request(self, request: Request) -> None:
        """Rewrites the request."""
        if self._paths and (made := self._rewritten[request.path]) is not None:
            request.path = made
        if self._gone:
            self._rewrite_query(request)
        if self.config.method is not None:
            request.method = self.config.method
        if self.config.host is not None:
            request.host = self.config.host

    def _path(self, path: str) -> str | None:
        made = next((new for rule in self._paths if (new := rule.made(path)) is not None), None)
        return None if made is None else rooted(made.replace("?", "%3F").replace("#", "%23"))

    def _rewrite_query(self, request: Request) -> None:
        parts = [
            part
            for part in request.query.split("&")
            if part and unquote_plus(part.partition("=")[0]) not in self._gone
        ]
        for name, value in self._set:
            text = str(value(request)) if isinstance(value, Expression) else value
            parts.append(f"{name}={quote(text.encode('utf-8', 'surrogateescape'), safe='')}")
        request.target = request.path + (f"?{'&'.join(parts)}" if parts else "")
