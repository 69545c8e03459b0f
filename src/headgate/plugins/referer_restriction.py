"""Lets requests in by the site they come from."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._remembered import Remembered

HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")


class RefererRestriction(Plugin):
    """Refuses requests by the host of their `Referer`, so that other sites do not embed what is served here.

    Hosts are compared label by label: `*.example.com` is any name below it, and not `evil-example.com`.
    """

    order = -370

    class Config(BaseModel):
        """Settings of `referer-restriction`."""

        model_config = ConfigDict(extra="forbid")

        allow: list[str] = Field(
            default=[], description="Hosts that are let in: `example.com`, `*.example.com`."
        )
        deny: list[str] = Field(default=[], description="Hosts that are refused, allowed or not.")
        missing: bool = Field(
            default=True,
            description="Whether requests without the field, or with one that is no URL, are let in.",
        )
        status: int = Field(default=403, ge=400, le=599, description="The status of a refusal.")

        @field_validator("allow", "deny")
        @classmethod
        def _hosts(cls, hosts: list[str]) -> list[str]:
            for host in hosts:
                if not HOST.fullmatch(host.lower()):
                    raise ConfigError(
                        f"`{host}` is not a valid host", hint="write `example.com` or `*.example.com`"
                    )
            return [host.lower() for host in hosts]

    def setup(self, context: PluginContext) -> None:
        """Makes the counter."""
        self._denied = context.counter("denied")
        self._verdicts = Remembered(self._is_allowed)

    def request(self, request: Request) -> Response | None:
        """Looks at the field."""
        if self._verdicts[request.headers.get("referer", "")]:
            return None
        self._denied.add()
        return Response(self.config.status, "not from there\n")

    def _is_allowed(self, referer: str) -> bool:
        host = _host(referer)
        if not host:
            return bool(self.config.missing)
        if any(_fits(host, pattern) for pattern in self.config.deny):
            return False
        return not self.config.allow or any(_fits(host, pattern) for pattern in self.config.allow)


def _host(referer: str) -> str:
    try:
        parsed = urlsplit(referer)
        return (parsed.hostname or "").rstrip(".") if parsed.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _fits(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
