"""The whole configuration of a gateway as one typed tree: the truth behind Python, YAML, TOML and JSON."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from .acme import AcmeConfig
from .admin import AdminConfig
from .background import BackgroundConfig
from .consistency import check
from .consumers import ConsumerConfig, ConsumerGroupConfig
from .field_names import TOKEN, IdentityField, OwnField
from .hooks import HooksConfig, OnError, PluginConfig, Reference
from .http2 import Http2Config
from .http3 import Http3Config
from .limits import LimitsConfig, TimeoutsConfig
from .listeners import ListenerConfig, Networks, TcpListenerConfig, TlsRouteConfig, UdpListenerConfig
from .log_targets import LogTargetConfig
from .logs import AccessLogConfig, ErrorLogConfig
from .metrics import MetricsConfig
from .path import PathConfig
from .placement import Zone
from .plugin_sets import Naming, PluginSetConfig, SetName
from .resolver import ResolverConfig
from .routes import RouteConfig
from .secrets import Secret
from .settings import IN_FILE, OneOrMany, Settings
from .tls import CryptographyConfig
from .tracing import TracingConfig
from .tunnels import TunnelsConfig
from .units import Duration
from .upstreams import UpstreamConfig
from .watchdog import WatchdogConfig
from .websocket import WebSocketConfig

CertificateFact = Literal["verdict", "subject", "issuer", "serial", "fingerprint", "names", "pem"]
"""What a header field may tell of a client's certificate."""

_ORDERABLE = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.[a-z][a-z0-9-]{0,62}")

Sending = RouteConfig | TlsRouteConfig | TcpListenerConfig | UdpListenerConfig
"""What names an upstream as `to`."""


class ForwardingConfig(Settings):
    """Header fields about the client for servers, and about the gateway for clients."""

    x_forwarded: bool = Field(default=True, description="Sends X-Forwarded-For, -Proto and -Host to servers.")
    forwarded: bool = Field(default=False, description="Sends Forwarded to servers (RFC 7239).")
    via: bool = Field(default=False, description="Sends Via to servers and clients (RFC 9110 section 7.6.3).")
    name: str = Field(
        default="headgate",
        pattern=f"^{TOKEN.pattern}$",
        description="The gateway's name in Via and Server.",
    )
    identity_fields: Annotated[tuple[IdentityField, ...], OneOrMany()] = Field(
        default=(),
        description=(
            "Header fields that only hooks may set, such as `x-user`; they are removed from clients' "
            "requests, in every spelling."
        ),
    )
    client_certificate: dict[OwnField, CertificateFact] = Field(
        default_factory=dict,
        description=(
            "Header fields that describe the client certificate to servers, and their contents; they are "
            "removed from clients' requests."
        ),
    )


class GatewayConfig(Settings):
    """The configuration of a gateway."""

    listeners: Annotated[tuple[ListenerConfig, ...], OneOrMany()] = Field(
        default=(), description="Addresses that clients connect to (HTTP)."
    )
    tcp: Annotated[tuple[TcpListenerConfig, ...], OneOrMany()] = Field(
        default=(), description="Addresses for TCP proxying."
    )
    udp: Annotated[tuple[UdpListenerConfig, ...], OneOrMany()] = Field(
        default=(), description="Addresses for UDP proxying."
    )
    tls_routes: tuple[TlsRouteConfig, ...] = Field(
        default=(), description="TLS passthrough: upstreams by server name."
    )
    upstreams: dict[str, UpstreamConfig] = Field(
        default_factory=dict, description="Groups of servers, by name."
    )
    zone: Zone | None = Field(
        default=None,
        description="Where the gateway is, for upstreams with `locality`. `HEADGATE_CONFIG_ZONE` says it for one node.",
    )
    resolver: ResolverConfig = Field(
        default_factory=ResolverConfig, description="The lookup of servers' names in DNS."
    )
    routes: tuple[RouteConfig, ...] = Field(
        default=(), description="Conditions on requests, and what is done with those that match."
    )
    hooks: HooksConfig = Field(default_factory=HooksConfig, description="Hooks for all routes, by phase.")
    plugins: tuple[PluginConfig, ...] = Field(default=(), description="Plugins in use, in order.")
    plugin_sets: dict[SetName, PluginSetConfig] = Field(
        default_factory=dict, description="Plugins that are used together, by the name of their set."
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig, description="Limits on what clients may send and hold."
    )
    path: PathConfig = Field(default_factory=PathConfig, description="Normalization of request paths.")
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig, description="Time limits.")
    tls: CryptographyConfig = Field(
        default_factory=CryptographyConfig, description="Requirements on the cryptographic module."
    )
    acme: AcmeConfig | None = Field(
        default=None,
        description="ACME settings for listeners with `tls: {acme: true}`; null: Let's Encrypt.",
    )
    http2: Http2Config = Field(default_factory=Http2Config, description="HTTP/2 with clients.")
    http3: Http3Config = Field(
        default_factory=Http3Config, description="HTTP/3 with clients, on listeners with `http3`."
    )
    websocket: WebSocketConfig = Field(
        default_factory=WebSocketConfig, description="Limits of WebSockets with message hooks."
    )
    background: BackgroundConfig = Field(
        default_factory=BackgroundConfig, description="Limits of tasks, threads and job processes."
    )
    forwarding: ForwardingConfig = Field(default_factory=ForwardingConfig, description="Forwarding headers.")
    trusted_proxies: Networks | None = Field(
        default=None,
        description=(
            "Networks whose X-Forwarded-For, Forwarded and PROXY headers are trusted; those of other "
            "peers are removed. Null: they are forwarded, but no peer is trusted."
        ),
    )
    request_id_header: OwnField | None = Field(
        default="x-request-id",
        description="The header field with the request's id; null: none is sent.",
    )
    access_log: AccessLogConfig | None = Field(
        default=None, description="One line per request; null: no access log."
    )
    tunnels: TunnelsConfig | None = Field(
        default=None,
        description="Tunnels that servers behind NAT dial in, at a route to `tunnel:endpoint`; null: none.",
    )
    log_targets: Annotated[tuple[LogTargetConfig, ...], OneOrMany()] = Field(
        default=(),
        description="Where each line of the access log is sent over the network, in batches, as JSON.",
    )
    metrics: MetricsConfig | None = Field(
        default=None,
        description="Counts by route, upstream and server, and where they are read; null is none.",
    )
    tracing: TracingConfig | None = Field(
        default=None, description="Traces of requests, and their collector; null: none."
    )
    server_timing: bool = Field(
        default=False, description="Sends the times of hooks and of the server to clients in Server-Timing."
    )
    watchdog: WatchdogConfig = Field(
        default_factory=WatchdogConfig, description="Detection of code that blocks the event loop."
    )
    error_log: ErrorLogConfig = Field(default_factory=ErrorLogConfig, description="The log of problems.")
    consumers: dict[str, ConsumerConfig] = Field(
        default_factory=dict,
        description="Who uses the gateway, by name, and the credentials that plugins know them by.",
    )
    consumer_groups: dict[str, ConsumerGroupConfig] = Field(
        default_factory=dict,
        description="What consumers of a group have in common, by the name of the group.",
    )
    store: Secret | None = Field(
        default=None,
        description=(
            "A configuration store that is followed at run time: `sqlite:///path`, `postgresql://...`, "
            "`etcd://host:2379/prefix`, `redis://...` or `files:/folder`. Null, with `admin`: SQLite in "
            "the state folder."
        ),
    )
    admin: AdminConfig | None = Field(default=None, description="The Admin API; null: disabled.")
    secret_resolvers: dict[str, Reference] = Field(
        default_factory=dict,
        description=(
            "Functions that fetch secrets, as `module:name`, by the scheme of references: with `vault: "
            'my_vault:read`, the secret `vault:a/b` is what `read("a/b")` returns, or awaits.'
        ),
    )
    state_folder: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "The directory for persistent state of this node, such as the last good configuration; null: "
            "a directory for this file below `/var/lib/headgate` (root) or `~/.local/state/headgate`."
        ),
    )
    workers: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="The number of worker processes; null: one per core."
    )
    hook_deadline: Duration = Field(default=30.0, description="The default deadline of hooks.")
    hook_on_error: OnError = Field(
        default="closed",
        description="The default for hooks that fail: `closed` gives 500, `open` continues without the hook.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads `access_log: false` as none, and `metrics: false` likewise."""
        if isinstance(value, dict):
            off = {key: None for key in ("access_log", "metrics") if value.get(key) is False}
            return {**value, **off}
        return value

    @property
    def uses_acme(self) -> bool:
        """Whether certificates are to be ordered."""
        return any(one.uses_acme for one in self.listeners)

    def acme_names(self) -> list[str]:
        """The names that certificates are ordered for: those that `acme` lists, and the hosts of routes which are names
        or, where `dns-01` can prove them, wildcards.
        """
        acme = self.acme or AcmeConfig()
        names = dict.fromkeys(acme.names)
        for host in (host for route in self.routes for host in route.host):
            if is_orderable(host, wildcards="dns-01" in acme.challenges):
                names[host] = None
        return list(names)

    def every_upstream(self) -> dict[str, UpstreamConfig]:
        """The upstreams by name, with one more for each address a route names by itself."""
        upstreams = dict(self.upstreams)
        every: list[Sending] = [*self.routes, *self.tls_routes, *self.tcp, *self.udp]
        for target in (one.to for one in every):
            if target is not None and target not in upstreams:
                upstreams[target] = UpstreamConfig.model_validate(target)
        return upstreams

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        # a file alone may name what its store holds
        check(self, may_come=info.context == IN_FILE and bool(self.store or self.admin))
        return self

    def naming_sets(self) -> Iterator[Naming]:
        """All that names sets of plugins."""
        yield from (
            Naming(("routes", n), one.plugin_sets) for n, one in enumerate(self.routes) if one.plugin_sets
        )
        yield from (Naming(("listeners", n), one.plugin_sets) for n, one in enumerate(self.listeners))
        yield from (Naming(("consumers", name), one.plugin_sets) for name, one in self.consumers.items())
        yield from (
            Naming(("consumer_groups", name), one.plugin_sets) for name, one in self.consumer_groups.items()
        )


def is_orderable(host: str, *, wildcards: bool) -> bool:
    """Whether an authority of the public could give a certificate for a route's host."""
    name = host.removeprefix("*.") if wildcards else host
    return bool(_ORDERABLE.fullmatch(name)) and not name.endswith((".localhost", ".internal", ".local"))
