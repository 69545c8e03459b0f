"""The whole configuration of a gateway as one typed tree: the truth behind Python, YAML, TOML and JSON."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from .acme import AcmeConfig
from .addresses import Address, UnixAddress, parse_listen_address, parse_server_address
from .admin import AdminConfig, leads_to
from .background import BackgroundConfig
from .consumers import CONSUMER_NAME, ConsumerConfig, ConsumerGroupConfig, credentials
from .errors import ConfigError, suggestion
from .field_names import IdentityField, OwnField
from .hooks import HooksConfig, OnError, PluginConfig, Reference
from .http2 import Http2Config
from .http3 import Http3Config
from .limits import LimitsConfig, TimeoutsConfig
from .listeners import ListenerConfig, Networks, TcpListenerConfig, TlsRouteConfig, UdpListenerConfig
from .logs import AccessLogConfig, ErrorLogConfig
from .metrics import MetricsConfig
from .overlaps import overlap
from .path import PathConfig
from .plugin_sets import Naming, PluginSetConfig, SetName
from .routes import RouteConfig
from .secrets import Secret
from .settings import IN_FILE, OneOrMany, Settings
from .tls import CryptographyConfig
from .tracing import TracingConfig
from .units import Duration
from .upstreams import UpstreamConfig
from .watchdog import WatchdogConfig
from .websocket import WebSocketConfig

CertificateFact = Literal["verdict", "subject", "issuer", "serial", "fingerprint", "names", "pem"]
"""What a header field may tell of a client's certificate."""

_ORDERABLE = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.[a-z][a-z0-9-]{0,62}")
_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


Sending = RouteConfig | TlsRouteConfig | TcpListenerConfig | UdpListenerConfig
"""What names an upstream as `to`."""


class ForwardingConfig(Settings):
    """Header fields about the client for servers, and about the gateway for clients."""

    x_forwarded: bool = Field(default=True, description="Sends X-Forwarded-For, -Proto and -Host to servers.")
    forwarded: bool = Field(default=False, description="Sends Forwarded to servers (RFC 7239).")
    via: bool = Field(default=False, description="Sends Via to servers and clients (RFC 9110 section 7.6.3).")
    name: str = Field(
        default="headgate",
        pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
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
        # The path of the offender leads each message, since pydantic gives no path for a whole model.
        for name in self.upstreams:
            if not _UPSTREAM_NAME.fullmatch(name):
                raise Inconsistency(
                    ("upstreams", name),
                    f"`{name}` is not a valid upstream name",
                    "use letters, digits, `_`, `-`, `.`",
                )
        _check_consumers(self.consumers)
        for key, position, listener in self._proxied():
            if listener.proxy_protocol and not (listener.trusted_proxies or self.trusted_proxies):
                raise Inconsistency(
                    (key, position, "proxy_protocol"),
                    f"listener `{listener.name}` takes PROXY headers from no network",
                    'say from whom: `trusted_proxies="10.0.0.0/8"`',
                )
        # a file alone may name what its store holds
        may_come = info.context == IN_FILE and bool(self.store or self.admin)
        asks = any(one.tls and one.tls.client_certificates.mode != "none" for one in self.listeners)
        for position, route in enumerate(self.routes):
            if route.to not in self.upstreams:
                self._check_target(route, ("routes", position, "to"), may_come=may_come)
            if route.client_certificate == "required" and not asks:
                raise Inconsistency(
                    ("routes", position, "client_certificate"),
                    f"route `{route.shown_name}` wants a client certificate, but no listener asks for one",
                    "set `tls.client_certificates` of a listener",
                )
        for name, upstream in self.upstreams.items():
            if upstream.tls is not None and not upstream.is_secure:
                raise Inconsistency(
                    ("upstreams", name, "tls"),
                    f"the upstream `{name}` has `tls`, but no server that speaks it",
                    "write its servers as `https://name`",
                )
        for key in ("tls_routes", "tcp", "udp"):
            for position, one in enumerate(getattr(self, key)):
                self._check_target(one, (key, position, "to"), may_come=may_come)
        for key, position, listener in self._proxied():
            if listener.mode is not None and not listener.address.startswith("unix:"):
                raise Inconsistency(
                    (key, position, "mode"), f"`{listener.address}` is not a Unix socket, so it has no mode"
                )
        addresses: list[tuple[tuple[str | int, ...], str]] = [
            ((key, n, "address"), one.address) for key, n, one in self._proxied()
        ]
        if self.metrics and self.metrics.listen:
            addresses.append((("metrics", "listen"), self.metrics.listen))
        _refuse_overlaps(addresses)
        _refuse_twins(
            [
                (("listeners", n, "name"), one.name)
                for n, one in enumerate(self.listeners)
                if one.name != one.address
            ],
            "listener name",
        )
        datagrams: list[tuple[tuple[str | int, ...], str]] = [
            (("listeners", n, "http3"), one.address) for n, one in enumerate(self.listeners) if one.http3
        ]
        datagrams += [(("udp", n, "address"), one.address) for n, one in enumerate(self.udp)]
        _refuse_overlaps(datagrams)
        _refuse_twins(
            [(("routes", n, "name"), one.name) for n, one in enumerate(self.routes) if one.name], "route name"
        )
        self._check_admin()
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

    def _check_admin(self) -> None:
        """Refuses servers that are the Admin API of this gateway."""
        if self.admin is None:
            return
        named: list[tuple[tuple[str | int, ...], str]] = [
            (("upstreams", name), server.address)
            for name, one in self.upstreams.items()
            for server in one.servers
        ]
        for key in ("routes", "tls_routes", "tcp", "udp"):
            named += [
                ((key, position, "to"), one.to)
                for position, one in enumerate(getattr(self, key))
                if one.to and ":" in one.to and one.to not in self.upstreams
            ]
        for path, address in named:
            if leads_to(self.admin, address):
                raise Inconsistency(
                    path,
                    f"`{address}` is the Admin API of this gateway",
                    "clients must not reach it through here",
                )

    def _proxied(self) -> Iterator[tuple[str, int, ListenerConfig | TcpListenerConfig]]:
        yield from (("listeners", position, one) for position, one in enumerate(self.listeners))
        yield from (("tcp", position, one) for position, one in enumerate(self.tcp))

    def _check_target(
        self,
        route: Sending,
        path: tuple[str | int, ...],
        *,
        may_come: bool,
    ) -> None:
        if route.to is None or route.to in self.upstreams:
            return
        if ":" not in route.to:
            if may_come:
                return
            hint = suggestion(route.to, self.upstreams) or "write an address such as `10.0.0.1:9000`"
            raise Inconsistency(path, f"there is no upstream `{route.to}`", hint)
        try:
            parse_server_address(route.to)
        except ConfigError as error:
            raise Inconsistency(path, error.message, error.hint) from None


def is_orderable(host: str, *, wildcards: bool) -> bool:
    """Whether an authority of the public could give a certificate for a route's host."""
    name = host.removeprefix("*.") if wildcards else host
    return bool(_ORDERABLE.fullmatch(name)) and not name.endswith((".localhost", ".internal", ".local"))


class Inconsistency(ConfigError):
    """Two parts of a configuration do not fit together; `path` says which one to look at."""

    def __init__(self, path: tuple[str | int, ...], message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


def _check_consumers(consumers: dict[str, ConsumerConfig]) -> None:
    """Refuses names that are none, and two consumers with one credential, which is not shown."""
    owners: dict[tuple[str, str], str] = {}
    for name, consumer in consumers.items():
        if not CONSUMER_NAME.fullmatch(name):
            raise Inconsistency(
                ("consumers", name),
                f"`{name}` is not a valid consumer name",
                "letters, digits, `_`, `-`, `.`, `@`",
            )
        for credential in credentials(consumer):
            if (owner := owners.setdefault(credential, name)) != name:
                raise Inconsistency(
                    ("consumers", name), f"consumers `{owner}` and `{name}` have the same {credential[0]}"
                )


def _refuse_overlaps(values: list[tuple[tuple[str | int, ...], str]]) -> None:
    """Refuses addresses that cannot be listened on beside an earlier one."""
    by_port: dict[int | str, list[tuple[str, Address]]] = {}
    for path, text in values:
        address = parse_listen_address(text)
        earlier = by_port.setdefault(address.path if isinstance(address, UnixAddress) else address.port, [])
        for other, known in earlier:
            if other == text and overlap(known, address):
                raise Inconsistency(
                    path, f"duplicate address `{text}`", "give each its own, or leave one out"
                )
            if overlap(known, address):
                raise Inconsistency(
                    path,
                    f"`{text}` is part of `{other}`, where this gateway listens already",
                    "keep one of them, or use another port",
                )
        earlier.append((text, address))


def _refuse_twins(values: list[tuple[tuple[str | int, ...], str]], what: str) -> None:
    seen: set[str] = set()
    for path, value in values:
        if value in seen:
            raise Inconsistency(path, f"duplicate {what} `{value}`", "give each its own, or leave one out")
        seen.add(value)
