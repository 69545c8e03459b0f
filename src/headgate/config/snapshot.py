"""The snapshot: the whole configuration as the JSON text the engine builds its tables from. Times are milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from headgate.phases import PHASES

from .adaptive import adaptive_snapshot
from .balancing import balancing_snapshot
from .bandwidth import bandwidth_snapshot
from .consistency import Inconsistency
from .deadlines import deadline_snapshot
from .discovered import Serving, Sets, serving
from .errors import Path as ConfigPath
from .fallbacks import fallback_snapshot
from .hedging import hedge_snapshot
from .http3 import Http3Config
from .listeners import AnyListener, ListenerConfig, TcpListenerConfig, UdpListenerConfig
from .logs import MASKED_QUERY, AccessLogConfig
from .model import GatewayConfig
from .outliers import outlier_snapshot
from .pull import pull_limits, pull_socket
from .queues import circuit_snapshot, queue_snapshot
from .retries import retry_snapshot
from .routes import ACTIONS, RouteConfig
from .settings import Settings
from .snapshot_tls import acme_folder, listener_tls, upstream_tls
from .tracing import TracingConfig
from .units import milliseconds, percent
from .upstreams import UpstreamConfig
from .websocket import WebSocketConfig

NO_BOUND = (1 << 63) - 1
"""What the engine is told in place of the 0 that users write for no bound."""

HookLists = Mapping[str, Sequence[int | Mapping[str, Any]]]
"""For each phase, positions in the list of hooks, in running order; for body phases tables with `hook` and how it
takes the body."""


@dataclass(frozen=True)
class RouteCalls:
    """What one route calls in Python: positions in the list of hooks."""

    function: int | None
    hooks: HookLists


def snapshot(
    config: GatewayConfig,
    routes: Sequence[RouteCalls],
    hooks: HookLists,
    folder: Path,
    listeners: Sequence[HookLists] = (),
    first_resource_route: int | None = None,
    secret_query: Iterable[str] = (),
    found: Sets = MappingProxyType({}),
) -> str:
    """The engine's view of `config`; `routes` and `listeners` are in step with those of `config`, files are relative to
    `folder`. Routes from `first_resource_route` on may be changed by differences, and are in the order of their names.
    Plugins take secrets from the query parameters `secret_query`. Servers that are known by a name are `found`.
    """
    log = config.access_log
    upstreams = config.every_upstream()
    positions = {name: position for position, name in enumerate(upstreams)}
    limits = config.limits.model_dump(exclude={"max_draining_generations"})  # which the supervisor keeps
    for name in ("max_body_bytes", "max_fetch_body_bytes"):
        limits[name] = _bound(limits[name])
    whole = _written(
        {
            "limits": limits,
            "timeouts": _milliseconds(config.timeouts),
            "forwarding": {
                **config.forwarding.model_dump(),
                "client_certificate": [list(pair) for pair in config.forwarding.client_certificate.items()],
            },
            "require_fips": config.tls.require_fips,
            "path": config.path.model_dump(),
            "http2": {**config.http2.model_dump(), "max_age": milliseconds(config.http2.max_age)},
            "http3": _http3(config.http3, folder),
            "websocket": _websocket(config.websocket),
            "request_id_header": config.request_id_header and config.request_id_header.lower(),
            "access_log": _access_log(config.access_log, folder),
            "masked_query": sorted({*(log.mask_query if log else MASKED_QUERY), *secret_query}),
            "metrics": config.metrics is not None,
            "acme_challenges": str(acme_folder(config, folder) / "challenges") if config.uses_acme else None,
            "tracing": _tracing(config.tracing),
            "server_timing": config.server_timing,
            "trusted_proxies": config.trusted_proxies,
            "listeners": _listeners(config, listeners, positions, folder),
            "tls_routes": [
                {"hosts": [] if "*" in one.host else list(one.host), "upstream": positions[one.to]}
                for one in config.tls_routes
            ],
            "upstreams": [
                _upstream(name, upstream, config, folder, found) for name, upstream in upstreams.items()
            ],
            "hooks": {phase: list(hooks.get(phase, ())) for phase in _GATEWAY_LISTS},
        }
    )
    if first_resource_route is not None:
        whole = f'{whole[:-1]},"first_resource_route":{first_resource_route}}}'
    return f'{whole[:-1]},"routes":[{_routes(config, routes, positions, folder)}]}}'


_written = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_ROUTES_AT_ONCE = 1000
"""Routes that are tables at a time, which take ten times as much memory as their text."""


def _routes(
    config: GatewayConfig, calls: Sequence[RouteCalls], upstreams: Mapping[str, int], folder: Path
) -> str:
    """The routes, without the brackets around them."""
    proxies = {name: {"proxy": {"upstream": position}} for name, position in upstreams.items()}
    made = (
        _route(
            name,
            route,
            own,
            proxies[route.to] if route.to is not None else _local_action(route, folder, ("routes", position)),
        )
        for position, (name, route, own) in enumerate(
            zip(route_names(config), config.routes, calls, strict=True)
        )
    )
    return ",".join(_written(batch)[1:-1] for batch in _batches(made))


def route_snapshot(
    name: str, route: RouteConfig, calls: RouteCalls, upstreams: Mapping[str, int], folder: Path
) -> Mapping[str, Any]:
    """The engine's view of one route; raises `ConfigError` where something of it is not known."""
    if route.to is None:
        return _route(name, route, calls, _local_action(route, folder, ("routes", name)))
    if route.to not in upstreams:
        raise Inconsistency(("routes", name, "to"), f"there is no upstream `{route.to}`")
    return _route(name, route, calls, {"proxy": {"upstream": upstreams[route.to]}})


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(items, _ROUTES_AT_ONCE)):
        yield batch


_GATEWAY_LISTS = tuple(name for name, phase in PHASES.items() if phase.without_route)
_LISTENER_LISTS = tuple(name for name, phase in PHASES.items() if phase.on_listeners)


def _listeners(
    config: GatewayConfig, hooks: Sequence[HookLists], upstreams: Mapping[str, int], folder: Path
) -> list[dict[str, Any]]:
    """Those that the engine must know more of than their sockets; `hooks` goes through all kinds in this order."""
    known = []
    every: list[AnyListener] = [*config.listeners, *config.tcp, *config.udp]
    pairs = zip_longest(every, hooks, fillvalue=cast(Any, {}))
    for position, (listener, lists) in enumerate(pairs):
        calls = {phase: list(lists.get(phase, ())) for phase in _LISTENER_LISTS}
        if isinstance(listener, ListenerConfig) and listener.is_plain and not any(calls.values()):
            continue
        said = {"name": listener.name, "hooks": calls, **_listener(listener, upstreams)}
        if isinstance(listener, ListenerConfig) and listener.http3 and calls["client_hello"]:
            raise Inconsistency(
                ("listeners", position, "http3"),
                "`http3` with `client_hello` hooks",
                "the ClientHello of QUIC is not shown to hooks yet: use a listener of its own for HTTP/3",
            )
        if isinstance(listener, ListenerConfig) and listener.tls:
            said["tls"] = listener_tls(
                listener.tls,
                folder,
                ("listeners", position, "tls"),
                http2=config.http2.enabled,
                has_hook=bool(calls["client_hello"]),
                acme=acme_folder(config, folder),
            )
        known.append(said)
    return known


def _listener(listener: AnyListener, upstreams: Mapping[str, int]) -> dict[str, Any]:
    if isinstance(listener, ListenerConfig):
        # of what is carried on undecrypted
        idle = milliseconds(TcpListenerConfig.model_fields["idle"].default)
        http3 = {
            "http3": listener.http3,
            "http3_port": listener.http3_port,
            "http3_early_data": listener.http3_early_data,
        }
        return {
            "address": listener.address,
            "protocol": "http",
            **_said_first(listener),
            **http3,
            "idle": idle,
        }
    bounds = {
        "upstream": None if listener.to is None else upstreams[listener.to],
        "max_connections": listener.max_connections,
        "max_connections_per_client": listener.max_connections_per_client,
        "idle": milliseconds(listener.idle),
    }
    if isinstance(listener, UdpListenerConfig):
        return {"address": f"udp:{listener.address}", "protocol": "udp", **bounds}
    lifetime = milliseconds(listener.lifetime or 0)
    return {
        "address": listener.address,
        "protocol": "tcp",
        **_said_first(listener),
        **bounds,
        "lifetime": lifetime,
    }


def _said_first(listener: ListenerConfig | TcpListenerConfig) -> dict[str, Any]:
    return {
        "proxy_protocol": listener.proxy_protocol,
        "trusted_proxies": listener.trusted_proxies,
        "tls_passthrough": listener.tls_passthrough,
    }


def _route(name: str, route: RouteConfig, calls: RouteCalls, action: dict[str, Any]) -> dict[str, Any]:
    """What the route says; there may be many, so what it leaves out is left to the engine's defaults."""
    made: dict[str, Any] = {"name": name, "path": route.path, "action": action}
    if route.host and "*" not in route.host:
        made["hosts"] = route.host
    if unusual := route.model_fields_set - _USUAL:
        for key, (name, read) in _UNUSUAL.items():
            if key in unusual and (value := read(route)) not in (None, (), [], {}):
                made[name] = value
    if calls.function is not None:
        made["function"] = calls.function
    if calls.hooks and (hooks := {phase: places for phase, places in calls.hooks.items() if places}):
        made["hooks"] = hooks
    return made


_USUAL = frozenset(("name", "path", "host", *ACTIONS, "hooks", "when", "deadline", "on_error", "plugin_sets"))
"""Keys of a route that `_route` reads by themselves, or that are no part of what the engine is told."""

_UNUSUAL: dict[str, tuple[str, Callable[[RouteConfig], Any]]] = {
    "methods": ("methods", lambda route: route.methods),
    "headers": ("headers", lambda route: [*route.headers.items()]),
    "query": ("queries", lambda route: [*route.query.items()]),
    "priority": ("priority", lambda route: route.priority or None),
    "strip_prefix": ("strip_prefix", lambda route: route.strip_prefix),
    "replace_prefix": ("replace_prefix", lambda route: route.replace_prefix),
    "max_body_bytes": (
        "max_body_bytes",
        lambda route: None if route.max_body_bytes is None else _bound(route.max_body_bytes),
    ),
    "bandwidth": ("bandwidth", lambda route: bandwidth_snapshot(route.bandwidth)),
    "client_certificate": (
        "needs_client_certificate",
        lambda route: None if route.client_certificate is None else route.client_certificate == "required",
    ),
    "timeouts": ("timeouts", lambda route: _milliseconds(route.timeouts)),
    "metrics": ("buckets", lambda route: route.metrics.bounds_us),
}
"""The other keys: what the engine calls each, and what it is told."""


def _local_action(route: RouteConfig, folder: Path, path: ConfigPath) -> dict[str, Any]:
    if route.redirect is not None:
        return {"redirect": {"status": route.redirect.status, "location": route.redirect.location}}
    if route.respond is not None:
        fixed = route.respond
        return {
            "respond": {
                "status": fixed.status,
                "headers": [[name.lower(), value] for name, value in fixed.headers.items()],
                "body": fixed.body,
            }
        }
    if route.files is not None:
        root = (folder / route.files.root).resolve()
        if not root.is_dir():
            raise Inconsistency((*path, "files"), f"`{route.files.root}` is not a folder", f"make `{root}`")
        return {"files": {"root": str(root), "index": list(route.files.index)}}
    return {"hooks": {}}


def _upstream(
    name: str, upstream: UpstreamConfig, config: GatewayConfig, folder: Path, found: Sets
) -> dict[str, Any]:
    waits = {
        key: getattr(config.timeouts, key) for key in ("queue", "connect", "upstream_head", "upstream_idle")
    }
    own = {key: value for key, value in upstream.timeouts.model_dump().items() if value is not None}
    if upstream.pull is not None:
        own["upstream_head"] = pull_limits(upstream, config.timeouts)[1]
    return {
        "name": name,
        **balancing_snapshot(upstream),
        "outlier": outlier_snapshot(upstream.outlier),
        "slow_start": milliseconds(upstream.slow_start or 0),
        "panic_percent": percent(upstream.panic_threshold),
        "protocol": upstream.protocol,
        "grpc_web": upstream.grpc_web,
        "servers": _servers(name, upstream, folder, found),
        "keepalive": {
            **upstream.keepalive.model_dump(),
            "idle_timeout": milliseconds(upstream.keepalive.idle_timeout),
            "ping": milliseconds(upstream.keepalive.ping),
        },
        "retries": upstream.retries.attempts,
        "retry": retry_snapshot(upstream.retries),
        "max_connections": upstream.max_connections,
        "adaptive_limit": adaptive_snapshot(upstream.adaptive_limit),
        "queue": queue_snapshot(upstream.queue),
        "hedge": hedge_snapshot(upstream.hedge, upstream.retries),
        "circuit_breaker": circuit_snapshot(upstream.circuit_breaker),
        "fallback": fallback_snapshot(upstream.fallback),
        "deadline": deadline_snapshot(upstream.deadline),
        **({} if upstream.pull is None else {"pull": True}),
        "timeouts": {key: milliseconds(value) for key, value in {**waits, **own}.items()},
        "lenient": list(upstream.lenient),
        "host": upstream.host,
        "proxy_protocol": upstream.proxy_protocol,
        "source": upstream.source,
        "tls": upstream_tls(name, upstream, folder),
    }


def _servers(name: str, upstream: UpstreamConfig, folder: Path, found: Sets) -> list[dict[str, Any]]:
    servers = [_server(one) for one in serving(upstream, found)]
    if upstream.pull is None:
        return servers
    return [{**one, "address": f"unix:{pull_socket(name, folder)}", "max_fails": 0} for one in servers]


def _server(serving: Serving) -> dict[str, Any]:
    server = serving.config
    return {
        **server.model_dump(exclude={"resolve"}),
        **({} if serving.host is None else {"host": serving.host}),
        "address": server.address.removeprefix("https://"),
        "tls": server.address.startswith("https://"),
        "fail_timeout": milliseconds(server.fail_timeout),
    }


def _http3(http3: Http3Config, folder: Path) -> dict[str, Any]:
    waits = {name: milliseconds(getattr(http3, name)) for name in ("max_age", "idle")}
    return {
        **http3.model_dump(exclude={"qlog_share"}),
        **waits,
        "alt_svc_max_age": round(http3.alt_svc_max_age or 0),
        "qlog": http3.qlog and str((folder / http3.qlog).absolute()),
        "qlog_per_million": round(http3.qlog_share * 1_000_000),
    }


def _websocket(websocket: WebSocketConfig) -> dict[str, Any]:
    names = ("ping_interval", "idle", "close_timeout")
    waits = {name: milliseconds(getattr(websocket, name) or 0) for name in names}
    return {**websocket.model_dump(), **waits}


def _access_log(log: AccessLogConfig | None, folder: Path) -> dict[str, Any] | None:
    if log is None:
        return None
    to = f"file:{folder / log.to.removeprefix('file:')}" if log.to.startswith("file:") else log.to
    return {
        "format": log.format,
        "to": to,
        "flush": milliseconds(log.flush),
        "buffer_bytes": log.buffer_bytes,
    }


def _tracing(tracing: TracingConfig | None) -> dict[str, Any] | None:
    if tracing is None:
        return None
    return {**tracing.model_dump(), "slow": milliseconds(tracing.slow or 0)}


def _milliseconds(waits: Settings) -> dict[str, int]:
    return {name: milliseconds(value) for name, value in waits.model_dump().items() if value is not None}


def _bound(size: int) -> int:
    return size or NO_BOUND


def route_names(config: GatewayConfig) -> list[str]:
    """The names of the routes as the engine knows them, each once."""
    return _unique(route.shown_name for route in config.routes)


def _unique(names: Iterable[str]) -> list[str]:
    """The names, with ` #2` and so on behind those that came before: logs and figures tell routes apart by them."""
    given: set[str] = set()
    latest: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        candidate, number = name, latest.get(name, 1)
        while candidate in given:
            number += 1
            candidate = f"{name} #{number}"
        latest[name] = number
        given.add(candidate)
        unique.append(candidate)
    return unique
