"""The part of the snapshot that upstreams are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .adaptive import adaptive_snapshot
from .balancing import balancing_snapshot
from .deadlines import deadline_snapshot
from .discovered import Serving, Sets, serving
from .fallbacks import fallback_snapshot
from .hedging import hedge_snapshot
from .model import GatewayConfig
from .outliers import outlier_snapshot
from .placement import placement_snapshot
from .pull import pull_limits, pull_socket
from .queues import circuit_snapshot, queue_snapshot
from .retries import retry_snapshot
from .snapshot_tls import upstream_tls
from .units import milliseconds, percent
from .upstreams import UpstreamConfig


def upstream_snapshot(
    name: str, upstream: UpstreamConfig, config: GatewayConfig, folder: Path
) -> dict[str, Any]:
    """All but the servers."""
    waits = {
        key: getattr(config.timeouts, key) for key in ("queue", "connect", "upstream_head", "upstream_idle")
    }
    own = {key: value for key, value in upstream.timeouts.model_dump().items() if value is not None}
    if upstream.pull is not None:
        own["upstream_head"] = pull_limits(upstream, config.timeouts)[1]
    return {
        "name": name,
        **balancing_snapshot(upstream),
        **placement_snapshot(upstream, config.zone),
        "outlier": outlier_snapshot(upstream.outlier),
        "slow_start": milliseconds(upstream.slow_start or 0),
        "panic_percent": percent(upstream.panic_threshold),
        "protocol": upstream.protocol,
        "grpc_web": upstream.grpc_web,
        "keepalive": {
            **upstream.keepalive.model_dump(),
            "idle_timeout": milliseconds(upstream.keepalive.idle_timeout),
            "max_age": milliseconds(upstream.keepalive.max_age),
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
        "drain_timeout": milliseconds(upstream.drain_timeout),
        "lenient": list(upstream.lenient),
        "host": upstream.host,
        "proxy_protocol": upstream.proxy_protocol,
        "source": upstream.source,
        "tls": upstream_tls(name, upstream, folder),
    }


def servers_snapshot(name: str, upstream: UpstreamConfig, place: Path, found: Sets) -> list[dict[str, Any]]:
    """The servers, as far as they are `found`; `place` is as of `pull_socket`."""
    servers = [_server(one) for one in serving(upstream, found)]
    if upstream.pull is None:
        return servers
    return [{**one, "address": f"unix:{pull_socket(name, place)}", "max_fails": 0} for one in servers]


def _server(serving: Serving) -> dict[str, Any]:
    server = serving.config
    return {
        **server.model_dump(exclude={"resolve"}),
        **({} if serving.host is None else {"host": serving.host}),
        "address": server.address.removeprefix("https://"),
        "tls": server.address.startswith("https://"),
        "fail_timeout": milliseconds(server.fail_timeout),
    }
