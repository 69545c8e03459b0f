"""Tunnels: who may dial in and expose servers, which upstreams have as `tunnel:NAME`."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self, TypedDict

from pydantic import AfterValidator, Field, model_validator

from .addresses import TUNNEL_ENDPOINT, TUNNEL_NAME, tunnels_folder
from .errors import ConfigError, suggestion
from .secrets import Secret
from .settings import OneOrMany, Settings
from .units import MAX_COUNT, Duration

if TYPE_CHECKING:
    from .model import GatewayConfig

_SHA256 = re.compile(r"sha256:[0-9a-fA-F]{64}")
SHORTEST_TOKEN = 16


def _name(text: str) -> str:
    if not TUNNEL_NAME.fullmatch(text) or text == TUNNEL_ENDPOINT:
        raise ConfigError(
            f"`{text}` cannot be exposed by a tunnel",
            hint=f"use up to 32 letters, digits, `_` and `-`, and another name than `{TUNNEL_ENDPOINT}`",
        )
    return text


class TunnelTokenConfig(Settings):
    """A token of clients that dial in."""

    token: Secret = Field(
        description="The secret, as `env:NAME` or `file:/path`, or `sha256:` and its digest in hex."
    )
    expose: Annotated[tuple[Annotated[str, AfterValidator(_name)], ...], OneOrMany()] = Field(
        min_length=1, description="The names that its holder may expose."
    )
    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.@-]{0,64}$",
        description="The holder's name, for the log; default: the first exposed name.",
    )
    max_tunnels: int = Field(
        default=100,
        ge=1,
        le=MAX_COUNT,
        description="The maximum number of open tunnels with this token; further ones get 503.",
    )

    @model_validator(mode="after")
    def _is_long(self) -> Self:
        text = self.token.get_secret_value()
        if not _SHA256.fullmatch(text) and len(text) < SHORTEST_TOKEN:
            raise ConfigError(
                f"a token must have at least {SHORTEST_TOKEN} characters",
                hint="create one with `openssl rand -hex 32`",
            )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the token, in hex."""
        text = self.token.get_secret_value()
        if _SHA256.fullmatch(text):
            return text.removeprefix("sha256:").lower()
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def holder(self) -> str:
        """What logs call who has it."""
        return self.name or self.expose[0]


class TunnelsConfig(Settings):
    """Tunnels that servers behind NAT dial in, at a route to `tunnel:endpoint`."""

    tokens: Annotated[tuple[TunnelTokenConfig, ...], OneOrMany()] = Field(
        min_length=1, description="Who may dial in, and expose what."
    )
    wait: Duration = Field(
        default=5.0, description="How long a request waits for a tunnel that has just been lost."
    )
    max_tunnels: int = Field(
        default=1000,
        ge=1,
        le=MAX_COUNT,
        description="The maximum number of open tunnels; further ones get 503.",
    )

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        for what, values in (
            ("token", [one.digest for one in self.tokens]),
            ("name", [one.holder for one in self.tokens]),
        ):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                raise ConfigError(
                    f"two tokens have the same {what}" + (f" `{twice[0]}`" if what == "name" else ""),
                    hint="give each a `name` and a token of its own",
                )
        return self


class TunnelsOptions(TypedDict, total=False):
    """The keywords of `Gateway.tunnels`; see `TunnelsConfig`."""

    tokens: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    wait: float | str
    max_tunnels: int


def tunnel_plan(config: GatewayConfig) -> dict[str, Any] | None:
    """Who may expose what, for the tunnel broker; None where there are no tunnels."""
    tunnels = config.tunnels
    if tunnels is None:
        return None
    tokens = [
        {
            "digest": one.digest,
            "name": one.holder,
            "expose": sorted(one.expose),
            "most": one.max_tunnels,
        }
        for one in tunnels.tokens
    ]
    return {
        "folder": str(tunnels_folder()),
        "tokens": tokens,
        "wait": tunnels.wait,
        "max_tunnels": tunnels.max_tunnels,
        "frames_only": sorted(_streams(config)),
    }


def _streams(config: GatewayConfig) -> set[str]:
    """The names whose connections are never of a pool of HTTP/1: servers of TCP or HTTP/2 only, and those whose
    connections are not used for a second request.
    """
    streams, pooled = set[str](), set[str]()
    for key, names in (("tcp", streams), ("udp", streams), ("tls_routes", streams), ("routes", pooled)):
        targets = [str(one.to) for one in getattr(config, key)]
        names.update(one.removeprefix("tunnel:") for one in targets if one.startswith("tunnel:"))
    prefix = f"unix:{tunnels_folder()}/"
    for upstream in config.upstreams.values():
        known = {one.address.removeprefix(prefix).removesuffix(".sock") for one in upstream.servers}
        is_pooled = upstream.keepalive.max_idle and not (upstream.proxy_protocol or upstream.source)
        (pooled if is_pooled and upstream.protocol == "http1" else streams).update(known)
    return streams - pooled


def wrong_tunnel(config: GatewayConfig, address: str) -> tuple[str, str] | None:
    """Why a server's address leads to no tunnel, and a hint; None for other addresses."""
    prefix, ending = f"unix:{tunnels_folder()}/", ".sock"
    if not (address.startswith(prefix) and address.endswith(ending)):
        return None
    name = address.removeprefix(prefix).removesuffix(ending)
    if config.tunnels is None:
        return f"`tunnel:{name}` needs `tunnels`", "say with `tunnels` who may dial in"
    known = {TUNNEL_ENDPOINT, *(one for token in config.tunnels.tokens for one in token.expose)}
    if name in known:
        return None
    return f"no token may expose `{name}`", suggestion(name, known) or "add it to `expose` of a token"
