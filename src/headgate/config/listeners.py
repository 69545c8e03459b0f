"""Listeners: where clients connect, and what is said there before HTTP."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .addresses import parse_listen_address
from .errors import ConfigError
from .hooks import ListenerHooksConfig
from .settings import OneOrMany, Settings

ProxyProtocol = Literal["v1", "v2", "any"]
"""Which versions of the PROXY protocol are accepted."""


def check_network(value: str) -> str:
    """`10.0.0.0/8`, `2001:db8::/32`, one address, or `unix:` for every Unix socket."""
    if value == "unix:":
        return value
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ConfigError(
            f"`{value}` is no network", hint="write `10.0.0.0/8`, `2001:db8::1` or `unix:`"
        ) from None


Networks = Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], OneOrMany()]
"""Networks in CIDR notation."""

ListenAddress = Annotated[
    str,
    BeforeValidator(lambda value: str(parse_listen_address(value))),
    WithJsonSchema({"type": ["string", "integer"]}),
]
"""`:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gate.sock`."""


class ListenerConfig(Settings):
    """An address clients connect to; the address alone is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": [":8080"]}, {"type": "integer"})

    address: ListenAddress = Field(
        description="`:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gate.sock`."
    )
    name: str = Field(default="", description="Its name in logs; none given: its address.")
    proxy_protocol: ProxyProtocol | None = Field(
        default=None,
        description="Every connection begins with a PROXY header of this version (`v1`, `v2`, `any`); null is none.",
    )
    trusted_proxies: Networks | None = Field(
        default=None,
        description="Who may send PROXY headers here; others are cut off. Null: the gateway's `trusted_proxies`.",
    )
    hooks: ListenerHooksConfig = Field(
        default_factory=ListenerHooksConfig, description="Its own hooks, by phase."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"address": value} if isinstance(value, str | int) else value

    @property
    def is_plain(self) -> bool:
        """Whether the engine need not know of it: HTTP from the first byte on."""
        return self.proxy_protocol is None and self.name == self.address

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self.address)
        return self
