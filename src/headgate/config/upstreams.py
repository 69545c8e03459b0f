"""Upstreams: named groups of servers, and how requests are shared out among them."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypedDict

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .adaptive import AdaptiveLimitConfig
from .addresses import LISTED, is_one_server, parse_server, parse_server_address
from .balancing import Balance, BalancingConfig, HashAlgorithm
from .deadlines import DeadlineConfig
from .errors import ConfigError
from .fallbacks import FallbackConfig
from .health import HealthConfig
from .hedging import HedgeConfig
from .limits import ServerLeniency, UpstreamTimeoutsConfig
from .outliers import OutlierConfig
from .placement import Metadata, PlacementConfig, Zone
from .pull import PULLED, PullConfig, PullOptions, check_pull
from .queues import CircuitBreakerConfig, QueueConfig
from .retries import RetriesConfig
from .settings import OneOrMany, Settings
from .tls import UpstreamTlsConfig
from .units import MAX_COUNT, Duration, Share

UpstreamProtocol = Literal["http1", "h2", "h3"]
"""What servers speak."""

ServerAddress = Annotated[
    str, BeforeValidator(lambda value: str(parse_server_address(value))), WithJsonSchema({"type": "string"})
]
"""`host:port`, `https://host:port`, `unix:/path`, `srv:_service._tcp.name`, `file:/path` or `discover:function`."""


def _source(value: str) -> str:
    if value != "client":
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ConfigError(
                f"`{value}` is not a valid source", hint="write `client`, or an address"
            ) from None
    return value


MAYBE_SECURE = ("https://", "srv:_https.", *LISTED)
"""How addresses of servers begin that speak TLS, or of lists in which such servers may be."""


class ServerConfig(Settings):
    """A server of an upstream. Short form: `"10.0.0.2:9000 weight=2 backup"`."""

    short_forms: ClassVar = ({"type": "string", "examples": ["10.0.0.2:9000 weight=2 backup"]},)

    address: ServerAddress = Field(
        description="`10.0.0.1:9000`, `[::1]:9000`, `app.internal:9000`, `https://name`, `unix:/run/app.sock`, or the "
        "service of SRV records: `srv:_http._tcp.app.internal`. Lists of servers: `file:/etc/headgate/servers.txt`, "
        "`discover:my_module:function`, `consul:web?tag=primary`, `kubernetes:shop/web:http`, `docker:web`, "
        "`dns-sd:_http._tcp.example.com`. What tunnels expose: `tunnel:name`."
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=65535,
        description="The server's share of requests, relative to the other weights.",
    )
    max_fails: int = Field(
        default=1,
        ge=0,
        le=MAX_COUNT,
        description="Failures within `fail_timeout` after which the server is skipped; 0: never.",
    )
    fail_timeout: Duration = Field(
        default=10.0,
        description="The time in which failures are counted, and for which the server is then skipped.",
    )
    backup: bool = Field(default=False, description="Used only while no other server is available.")
    priority: int = Field(
        default=0,
        ge=0,
        le=127,
        description="Servers with the lowest priority take all requests while enough of them are in rotation; see "
        "`overprovisioning`.",
    )
    zone: Zone | None = Field(default=None, description="Where the server is; see `locality`.")
    metadata: Metadata = Field(
        default_factory=dict,
        description="What the server is marked with, for the `subset` of routes and hooks.",
    )
    max_connections: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="Concurrent requests to the server, over all workers; 0 means no limit.",
    )
    resolve: bool = Field(
        default=True,
        description="A name stands for one server per address, as `resolver` finds them. With false it is one server, "
        "whose addresses workers look up and use in turn.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return parse_server(value) if isinstance(value, str) else value


class KeepaliveConfig(Settings):
    """Reuse of connections to servers, in each worker."""

    max_idle: int = Field(
        default=1024,
        ge=0,
        le=MAX_COUNT,
        description="The maximum number of idle connections; 0: each is closed after its request.",
    )
    min_idle: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Idle connections to each server that are opened before requests need them; with `protocol: h2`, "
        "one connection, if this is not 0.",
    )
    idle_timeout: Duration = Field(default=60.0, description="How long an idle connection is kept.")
    max_age: Duration = Field(
        default=3600.0,
        description="How old a connection may become, so that changes behind an address take effect: it takes no more "
        "requests after 80 to 100 % of this, by chance, so that connections do not end together; 0 means no limit.",
    )
    max_requests: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="Requests on one connection before it is closed; 0 means no limit.",
    )
    ping: Duration = Field(
        default=20.0,
        description=(
            "HTTP/2: how often a connection with active requests is pinged, and how long the reply may take."
        ),
    )


class UpstreamConfig(PlacementConfig, BalancingConfig):
    """A group of servers. Short form: one server, or a list."""

    short_forms: ClassVar = ({"like": "servers"},)

    servers: Annotated[tuple[ServerConfig, ...], OneOrMany()] = Field(
        min_length=1, max_length=4096, description="The servers; none with `balance: pull`."
    )
    pull: PullConfig | None = Field(
        default=None, description="The queue and the workers of `balance: pull`; null: none."
    )
    protocol: UpstreamProtocol = Field(
        default="http1",
        description="The protocol of the servers: `http1`; `h2`, with prior knowledge or, over TLS, by ALPN; or `h3`, "
        "which is HTTP/3 over UDP, for `https://` servers.",
    )
    grpc_web: bool = Field(
        default=False,
        description="Translates gRPC-Web calls of browsers (binary or base64) to gRPC; requires `protocol: h2`.",
    )
    keepalive: KeepaliveConfig = Field(default_factory=KeepaliveConfig, description="Reuse of connections.")
    health: HealthConfig | None = Field(
        default=None,
        description="Active health checks; default: servers are judged by their responses to requests only.",
    )
    outlier: OutlierConfig | None = Field(
        default=None,
        description="Outlier ejection, in place of `max_fails`; default: servers are skipped by `max_fails` only.",
    )
    slow_start: Duration | None = Field(
        default=None,
        description="The time until a new or recovered server gets its full share.",
    )
    panic_threshold: Share = Field(
        default=0.0,
        description="The share of a priority's servers in rotation below which all of them are asked, but those taken "
        "out by command, while other priorities cannot take the rest. With `0%`, only when none is left.",
    )
    retries: RetriesConfig = Field(
        default_factory=RetriesConfig, description="Additional attempts on other servers, if a retry is safe."
    )
    hedge: HedgeConfig | None = Field(
        default=None,
        description="When an idempotent request without a response goes to another server as well; default: never.",
    )
    max_connections: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="Concurrent requests to all servers together, over all workers; 0 means no limit.",
    )
    adaptive_limit: AdaptiveLimitConfig | None = Field(
        default=None,
        description="A limit of concurrent requests to all servers together that adapts to how long they take; "
        "default: none.",
    )
    queue: QueueConfig = Field(
        default_factory=QueueConfig, description="How requests wait while servers are at `max_connections`."
    )
    circuit_breaker: CircuitBreakerConfig | None = Field(
        default=None, description="Refuses requests for a while after too many failed; default: never."
    )
    fallback: FallbackConfig | None = Field(
        default=None, description="What clients get when no server has served them; default: an error."
    )
    deadline: DeadlineConfig | None = Field(
        default=None,
        description="The time limit of a whole request, as its client says it; default: `grpc-timeout` only.",
    )
    timeouts: UpstreamTimeoutsConfig = Field(
        default_factory=UpstreamTimeoutsConfig, description="Time limits for the servers."
    )
    drain_timeout: Duration = Field(
        default=300.0,
        description="How long what is under way at a server that was removed from `servers` may go on: requests, "
        "WebSockets, upgraded and TCP connections, UDP sessions; 0 means no limit.",
    )
    proxy_protocol: Literal["v1", "v2"] | None = Field(
        default=None,
        description="The version of the PROXY header that is sent to servers; such connections are not reused.",
    )
    source: Annotated[str, AfterValidator(_source)] | None = Field(
        default=None,
        description=(
            "The source address of connections: `client` for the client's address (needs CAP_NET_ADMIN), "
            "or a local address. Connections with `client` are not reused."
        ),
    )
    lenient: Annotated[tuple[ServerLeniency, ...], OneOrMany()] = Field(
        default=(),
        description=(
            "Rules of the grammar (RFC 9112) that responses may violate, for legacy devices; other "
            "violations give 502."
        ),
    )
    host: str = Field(
        default="preserve",
        min_length=1,
        pattern=r"^[\x21-\x7e]+$",
        description=(
            "The Host field that is sent: `preserve` (the client's), `server` (the server's address), or "
            "any other text."
        ),
    )

    tls: UpstreamTlsConfig | None = Field(
        default=None,
        description="TLS settings for `https://` servers; default: verified as by a browser.",
    )

    @model_validator(mode="after")
    def _is_kept_warm(self) -> Self:
        if self.keepalive.min_idle > self.keepalive.max_idle:
            raise ConfigError(
                "`keepalive.min_idle` is more than `max_idle`, which is the maximum",
                hint="set `max_idle` to that, or more",
            )
        if self.keepalive.min_idle and (self.proxy_protocol or self.source):
            raise ConfigError(
                "`keepalive.min_idle` has no effect with `proxy_protocol` or `source`",
                hint="remove one of them",
            )
        return self

    @model_validator(mode="after")
    def _waits(self) -> Self:
        of_servers = any(server.max_connections for server in self.servers)
        is_bounded = self.max_connections or self.adaptive_limit or of_servers
        if self.queue != QueueConfig() and not is_bounded:
            raise ConfigError(
                "`queue` has no effect without `max_connections` or `adaptive_limit`",
                hint="set `max_connections` on the servers or the upstream, or `adaptive_limit`",
            )
        return self

    @model_validator(mode="after")
    def _hedges(self) -> Self:
        if self.hedge is None:
            return self
        if self.balance == "sticky":
            raise ConfigError(
                "`hedge` would move clients to other servers with `balance: sticky`",
                hint="remove one of them",
            )
        if len(self.servers) == 1 and is_one_server(self.servers[0].address):
            raise ConfigError("`hedge` has no effect with one server", hint="add servers, or remove it")
        limit = self.retries.attempt_timeout
        if limit and not isinstance(self.hedge.after, str) and self.hedge.after >= limit:
            raise ConfigError(
                "`hedge` has no effect: `retries.attempt_timeout` ends each attempt before `after`",
                hint="set `after` to less",
            )
        return self

    @model_validator(mode="after")
    def _adapts(self) -> Self:
        if self.adaptive_limit and 0 < self.max_connections <= self.adaptive_limit.min:
            raise ConfigError(
                f"`adaptive_limit` has no effect: its `min` is {self.adaptive_limit.min}, and `max_connections` "
                f"is {self.max_connections}",
                hint="set `max_connections` to more, or remove one of them",
            )
        return self

    @model_validator(mode="after")
    def _fits_its_protocol(self) -> Self:
        if self.grpc_web and self.protocol != "h2":
            raise ConfigError(
                "`grpc_web` without `protocol: h2`", hint="servers of gRPC speak HTTP/2: write `protocol: h2`"
            )
        if self.protocol != "h3":
            return self
        for server in self.servers:
            if not server.address.startswith(MAYBE_SECURE):
                raise ConfigError(
                    f"`protocol: h3` with `{server.address}`, which has no TLS",
                    hint=f"HTTP/3 is always encrypted: write `https://{server.address}`",
                )
        for name in ("proxy_protocol", "source"):
            if getattr(self, name):
                raise ConfigError(
                    f"`protocol: h3` with `{name}`", hint=f"`{name}` is for TCP: remove one of them"
                )
        return self

    @property
    def is_secure(self) -> bool:
        """Whether any of its servers speaks TLS, or may."""
        return any(server.address.startswith(MAYBE_SECURE) for server in self.servers)

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        if isinstance(value, dict) and value.get("balance") == "pull" and not value.get("servers"):
            return {**value, "servers": PULLED}
        return {"servers": value} if isinstance(value, str | list | tuple) else value

    @model_validator(mode="after")
    def _pulls(self) -> Self:
        check_pull(self)
        return self


class UpstreamOptions(TypedDict, total=False):
    """The keywords of `Gateway.upstream`; see `UpstreamConfig`."""

    balance: Balance
    hash_on: str
    hash_algorithm: HashAlgorithm
    hash_bound: float
    pull: PullOptions | Mapping[str, Any]
    sticky: Mapping[str, Any]
    health: str | Mapping[str, Any]
    outlier: Mapping[str, Any]
    slow_start: float | str
    panic_threshold: float | str
    overprovisioning: float
    locality: str | Mapping[str, Any]
    subset_fallback: str | Mapping[str, str]
    protocol: UpstreamProtocol
    grpc_web: bool
    keepalive: Mapping[str, Any]
    retries: int | Mapping[str, Any]
    hedge: float | str | Mapping[str, Any]
    max_connections: int
    adaptive_limit: Mapping[str, Any]
    queue: Mapping[str, Any]
    circuit_breaker: Mapping[str, Any]
    fallback: Mapping[str, Any]
    deadline: Mapping[str, Any]
    timeouts: Mapping[str, Any] | UpstreamTimeoutsConfig
    drain_timeout: float | str
    host: str
    lenient: ServerLeniency | Sequence[ServerLeniency]
    proxy_protocol: Literal["v1", "v2"]
    source: str
    tls: Mapping[str, Any]
