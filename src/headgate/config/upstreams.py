"""Upstreams: named groups of servers, and how requests are shared out among them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from .addresses import parse_server, parse_server_address
from .balancing import Balance, BalancingConfig, HashAlgorithm
from .errors import ConfigError
from .limits import ServerLeniency, UpstreamTimeoutsConfig
from .settings import OneOrMany, Settings
from .tls import UpstreamTlsConfig
from .units import Duration

UpstreamProtocol = Literal["http1", "h2"]
"""What servers speak."""

ServerAddress = Annotated[
    str, BeforeValidator(lambda value: str(parse_server_address(value))), WithJsonSchema({"type": "string"})
]
"""`host:port`, `https://host:port` or `unix:/path`."""


def _source(value: str) -> str:
    if value != "client":
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ConfigError(
                f"`{value}` is not a valid source", hint="write `client`, or an address"
            ) from None
    return value


class ServerConfig(Settings):
    """One server of an upstream; `"10.0.0.2:9000 weight=2 backup"` is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": ["10.0.0.2:9000 weight=2 backup"]},)

    address: ServerAddress = Field(
        description="`10.0.0.1:9000`, `[::1]:9000`, `https://name` or `unix:/run/app.sock`."
    )
    weight: int = Field(
        default=1, ge=1, le=65535, description="Its share of the requests, beside the other servers' weights."
    )
    max_fails: int = Field(
        default=1,
        ge=0,
        description="Failures within `fail_timeout` that take it out of rotation; 0 is never.",
    )
    fail_timeout: Duration = Field(
        default=10.0, description="The time failures are counted in, and how long it then stays out."
    )
    backup: bool = Field(
        default=False, description="Asked only while no server that is not a backup is available."
    )
    max_connections: int = Field(
        default=0, ge=0, description="Connections to it at one time; 0 means no limit."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return parse_server(value) if isinstance(value, str) else value


class KeepaliveConfig(Settings):
    """Idle connections to servers that are kept for the next request, in each worker."""

    max_idle: int = Field(
        default=1024, ge=0, description="Idle connections kept; 0 closes each after its request."
    )
    idle_timeout: Duration = Field(default=60.0, description="How long an idle connection is kept.")
    max_requests: int = Field(
        default=0, ge=0, description="Requests on one connection before it is closed; 0 means no limit."
    )
    ping: Duration = Field(
        default=20.0,
        description="HTTP/2: how often a server with requests is pinged, and how long its response may take.",
    )


class UpstreamConfig(BalancingConfig):
    """A group of servers; one server, or a list of them, is the short form."""

    short_forms: ClassVar = ({"like": "servers"},)

    servers: Annotated[tuple[ServerConfig, ...], OneOrMany()] = Field(
        min_length=1, max_length=4096, description="Its servers."
    )
    protocol: UpstreamProtocol = Field(
        default="http1",
        description="What its servers speak: `http1`, or `h2`, by prior knowledge or, where there is TLS, by ALPN.",
    )
    grpc_web: bool = Field(
        default=False,
        description="`h2` only: browsers' calls (gRPC-Web, binary or text) reach servers as gRPC.",
    )
    keepalive: KeepaliveConfig = Field(default_factory=KeepaliveConfig, description="Idle connections.")
    retries: int = Field(
        default=1, ge=0, le=16, description="Further attempts, on other servers, where a retry is safe."
    )
    timeouts: UpstreamTimeoutsConfig = Field(
        default_factory=UpstreamTimeoutsConfig, description="Waits for its servers."
    )
    proxy_protocol: Literal["v1", "v2"] | None = Field(
        default=None,
        description="The PROXY header that its connections begin with; such connections are not reused.",
    )
    source: Annotated[str, AfterValidator(_source)] | None = Field(
        default=None,
        description="Where connections come from: `client` for the client's address (needs CAP_NET_ADMIN), "
        "or one of this machine's. Such connections are not reused.",
    )
    lenient: Annotated[tuple[ServerLeniency, ...], OneOrMany()] = Field(
        default=(),
        description="Rules of the grammar (RFC 9112) that its servers' responses may break, for old devices; "
        "all others are 502.",
    )
    host: str = Field(
        default="preserve",
        min_length=1,
        pattern=r"^[\x21-\x7e]+$",
        description="The Host field it is sent: `preserve` the client's, the `server`'s address, or this text.",
    )

    tls: UpstreamTlsConfig | None = Field(
        default=None,
        description="How its `https://` servers are spoken to; none given: verified as a browser does.",
    )

    @property
    def is_secure(self) -> bool:
        """Whether any of its servers speaks TLS."""
        return any(server.address.startswith("https://") for server in self.servers)

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        return {"servers": value} if isinstance(value, str | list | tuple) else value


class UpstreamOptions(TypedDict, total=False):
    """The keywords of `Gateway.upstream`; see `UpstreamConfig`."""

    balance: Balance
    hash_on: str
    hash_algorithm: HashAlgorithm
    hash_bound: float
    protocol: UpstreamProtocol
    grpc_web: bool
    keepalive: Mapping[str, Any]
    retries: int
    timeouts: Mapping[str, Any] | UpstreamTimeoutsConfig
    host: str
    lenient: ServerLeniency | Sequence[ServerLeniency]
    proxy_protocol: Literal["v1", "v2"]
    source: str
    tls: Mapping[str, Any]
