"""The snapshot: the whole configuration as the JSON text the engine builds its tables from. Times are milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from headgate.phases import PHASES

from .discovered import Sets
from .http3 import Http3Config
from .listeners import AnyListener, ListenerConfig, TcpListenerConfig, UdpListenerConfig
from .logs import MASKED_QUERY, AccessLogConfig
from .model import GatewayConfig
from .snapshot_routes import HookLists, RouteCalls, bound, routes_snapshot, waits_snapshot, written
from .snapshot_tls import acme_folder, listener_tls
from .snapshot_upstreams import servers_snapshot, upstream_snapshot
from .tracing import TracingConfig
from .units import milliseconds
from .websocket import WebSocketConfig


def snapshot(
    config: GatewayConfig,
    routes: Sequence[RouteCalls],
    hooks: HookLists,
    folder: Path,
    listeners: Sequence[HookLists] = (),
    first_resource_route: int | None = None,
    secrets: tuple[Sequence[str], Sequence[str]] = ((), ()),
    found: Sets = MappingProxyType({}),
    file: Path | None = None,
) -> str:
    """The engine's view of `config`; `routes` and `listeners` are in step with those of `config`, files are relative to
    `folder`. Routes from `first_resource_route` on may be changed by differences, and are in the order of their names.
    The `secrets` that are masked in targets are names of parameters, and paths. Servers that are known by a name are
    `found`. Of several gateways in a folder this is that of `file`.
    """
    upstreams = config.every_upstream()
    positions = {name: position for position, name in enumerate(upstreams)}
    limits = config.limits.model_dump(exclude={"max_draining_generations"})  # which the supervisor keeps
    for name in ("max_body_bytes", "max_fetch_body_bytes"):
        limits[name] = bound(limits[name])
    whole = written(
        {
            "limits": limits,
            "timeouts": waits_snapshot(config.timeouts),
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
            "masked_query": secrets[0],
            "masked_paths": secrets[1],
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
                {
                    **upstream_snapshot(name, upstream, config, folder),
                    "servers": servers_snapshot(name, upstream, file or folder, found),
                }
                for name, upstream in upstreams.items()
            ],
            "hooks": {phase: list(hooks.get(phase, ())) for phase in _GATEWAY_LISTS},
        }
    )
    if first_resource_route is not None:
        whole = f'{whole[:-1]},"first_resource_route":{first_resource_route}}}'
    return f'{whole[:-1]},"routes":[{routes_snapshot(config, routes, positions, folder)}]}}'


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


def masked(config: GatewayConfig, names: Iterable[str], paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """What nothing that is written may show of a target: parameters and paths, of `config` and those of plugins."""
    log = config.access_log
    query, segments = (log.mask_query, log.mask_paths) if log else (MASKED_QUERY, ())
    return sorted({*query, *names}), sorted({*segments, *paths})


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
