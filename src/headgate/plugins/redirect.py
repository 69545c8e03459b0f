"""Sends clients elsewhere: to TLS, to the right host, to new paths."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Pattern, Plugin, PluginContext, Request, Response

from ._remembered import Remembered
from ._targets import PathRule, rooted

Status = Literal[301, 302, 303, 307, 308]


class Rule(BaseModel):
    """Paths that have moved."""

    model_config = ConfigDict(extra="forbid")

    match: str = Field(description="A pattern (RE2) for the whole path, as it was sent.")
    to: str = Field(description="A path, or a URL; `\\1` to `\\9` are what the groups matched.")
    status: Status | None = Field(default=None, description="The status; null is that of the plugin.")

    @field_validator("match")
    @classmethod
    def _match(cls, match: str) -> str:
        Pattern(match)
        return match

    @field_validator("to")
    @classmethod
    def _to(cls, to: str) -> str:
        if "://" in to and not re.match(r"https?://[A-Za-z0-9.:\[\]-]+(/|$)", to):
            raise ConfigError(
                f"`{to}` lets a client choose the host", hint="write the whole host, and `/` after it"
            )
        if "://" not in to and not to.startswith("/"):
            raise ConfigError(f"`{to}` is not a path", hint=f"write `/{to}`, or `https://...`")
        return to


class Redirect(Plugin):
    """Redirects to TLS, to one host, to paths with or without a slash at their end, and by rules; in one step.

    The query goes along. Nothing of a request chooses another host: `//evil.example` stays a path.
    """

    order = -500

    class Config(BaseModel):
        """Settings of `redirect`."""

        model_config = ConfigDict(extra="forbid")

        https: bool = Field(default=False, description="Whether plain requests go to TLS.")
        https_port: int = Field(default=443, ge=1, le=65535, description="The port of TLS that clients see.")
        host: str | None = Field(default=None, description="The one host: others are sent to it.")
        trailing_slash: Literal["add", "remove"] | None = Field(
            default=None,
            description="What becomes of the slash at the end of a path; `add` leaves `file.txt`.",
        )
        rules: list[Rule] = Field(default=[], description="Rules for paths; the first that matches counts.")
        status: Status = Field(default=308, description="The status; 308 keeps the method and may be cached.")

        @model_validator(mode="after")
        def _valid(self) -> Redirect.Config:
            if self.host is not None and re.search(r"[\s/\\@?#]", self.host):
                raise ConfigError(f"`{self.host}` is not a valid host", hint="write `www.example`")
            if not (self.https or self.host or self.trailing_slash or self.rules):
                raise ConfigError("nobody is redirected", hint="write `https`, `host` or `rules`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Compiles the rules."""
        self._rules = [
            (PathRule(one.match, one.to), one.status or self.config.status) for one in self.config.rules
        ]
        self._moved = Remembered(self._target)

    def request(self, request: Request) -> Response | None:
        """Redirects where that is asked for."""
        path = request.path
        made, status = self._moved[path]
        scheme, host = self._place(request)
        is_moved = (scheme, host) != (request.scheme, request.host)
        if made == path and not is_moved:
            return None
        query = f"?{request.query}" if request.query and "?" not in made else ""
        if "://" not in made:
            made = rooted(made)
            made = f"{scheme}://{host}{made}" if is_moved else made
        return Response.redirect(made + query, status)

    def _target(self, path: str) -> tuple[str, int]:
        """Where a path leads, and with which status."""
        for rule, its_status in self._rules:
            found = rule.made(path)
            if found is not None and found != path:
                return found, its_status
        return self._with_slash(path), self.config.status

    def _place(self, request: Request) -> tuple[str, str]:
        scheme, host = request.scheme, self.config.host or request.host
        if not (self.config.https and scheme == "http"):
            return scheme, host
        if self.config.host is None:
            name = re.sub(r":[0-9]+$", "", host)
            host = name if self.config.https_port == 443 else f"{name}:{self.config.https_port}"
        return "https", host

    def _with_slash(self, path: str) -> str:
        if self.config.trailing_slash == "remove":
            return path.rstrip("/") or "/"
        if self.config.trailing_slash == "add" and not path.endswith("/"):
            return path if "." in path.rpartition("/")[2] else f"{path}/"
        return path
