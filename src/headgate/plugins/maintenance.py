"""Closes a site for maintenance, for everybody but those who maintain it."""

from __future__ import annotations

import ipaddress
import os

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._clients import client_address


class Maintenance(Plugin):
    """Replies 503 with `Retry-After` while the site is closed.

    It is closed while `enabled` is true and, if `file` is given, while that file exists: `touch` and `rm` close and
    open the site within a second, without a reload.
    """

    order = -250

    class Config(BaseModel):
        """Settings of `maintenance`."""

        model_config = ConfigDict(extra="forbid")

        enabled: bool = Field(default=True, description="Whether the site is closed.")
        file: str | None = Field(default=None, description="The site is closed only while this file exists.")
        status: int = Field(default=503, ge=200, le=599, description="The status of the reply.")
        retry_after: int = Field(default=300, ge=1, description="When clients may ask again, in seconds.")
        body: str = Field(default="back soon\n", description="The body of the reply.")
        content_type: str = Field(default="text/plain; charset=utf-8", description="Its Content-Type.")
        allow: list[str] = Field(
            default=[], description="Networks whose requests are still served: `10.0.0.0/8`."
        )

        @field_validator("allow")
        @classmethod
        def _allow(cls, networks: list[str]) -> list[str]:
            for one in networks:
                _network(one)
            return networks

    def setup(self, context: PluginContext) -> None:
        """Begins to watch the file."""
        self._allowed = [_network(one) for one in self.config.allow]
        self._headers = [
            ("content-type", self.config.content_type),
            ("retry-after", str(self.config.retry_after)),
            ("cache-control", "no-store"),
        ]
        self._body = self.config.body.encode()
        self._look()
        if self.config.file:
            context.every(1, self._look)

    def request(self, request: Request) -> Response | None:
        """Lets in, or replies."""
        if not self._is_closed or (self._allowed and self._is_allowed(request.client.address)):
            return None
        return Response(self.config.status, self._body, headers=self._headers)

    def _look(self) -> None:
        file = self.config.file
        self._is_closed = self.config.enabled and (file is None or os.path.exists(file))

    def _is_allowed(self, text: str) -> bool:
        address = client_address(text)
        return address is not None and any(address in network for network in self._allowed)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(
            f"`{text}` is not a valid network", hint="write `10.0.0.0/8` or `2001:db8::/32`"
        ) from None
