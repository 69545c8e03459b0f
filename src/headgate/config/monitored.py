"""What the monitor of a node is to watch: the servers of upstreams with health checks, as plain data."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .consistency import Inconsistency
from .discovered import Sets, serving
from .health import HealthConfig, health_plan
from .model import GatewayConfig
from .snapshot_tls import upstream_tls
from .upstreams import UpstreamConfig


def monitor_plan(config: GatewayConfig, folder: Path, found: Sets) -> dict[str, Any] | None:
    """What is to be watched; None if nothing is. Files are relative to `folder`; servers with a name are `found`."""
    checked = [
        _checked(name, upstream, folder, found)
        for name, upstream in config.every_upstream().items()
        if upstream.health is not None
    ]
    return {"folder": str(folder), "checks": checked} if checked else None


def _checked(name: str, upstream: UpstreamConfig, folder: Path, found: Sets) -> dict[str, Any]:
    assert upstream.health is not None, "which was looked at"
    _needs(name, upstream, upstream.health)
    health = health_plan(upstream.health)
    if health["host"] is None and upstream.host not in ("preserve", "server"):
        health["host"] = upstream.host  # virtual hosts know no other one
    servers = serving(upstream, found)
    return {
        "upstream": name,
        "servers": [one.config.address for one in servers],
        "hosts": {one.config.address: one.host for one in servers if one.host},
        "protocol": upstream.protocol,
        "proxy_protocol": upstream.proxy_protocol,
        "tls": upstream_tls(name, upstream, folder),
        **health,
    }


def _needs(name: str, upstream: UpstreamConfig, health: HealthConfig) -> None:
    """Refuses checks whose protocol the monitor cannot speak here."""
    kind, protocol = health.type, upstream.protocol
    if kind not in ("http", "grpc") or (kind == "http" and protocol == "http1"):
        return
    if protocol == "h3" and upstream.tls and upstream.tls.pins:
        raise Inconsistency(
            ("upstreams", name, "health"),
            "health checks over HTTP/3 do not look at `tls.pins`",
            "check with `type: tls`, which does, over TCP; or remove the pins",
        )
    version, package, extra = ("3", "aioquic", "health-http3") if protocol == "h3" else ("2", "h2", "health")
    if find_spec(package) is None:
        raise Inconsistency(
            ("upstreams", name, "health"),
            f"health checks over HTTP/{version} need the package `{package}`",
            f"pip install 'headgate[{extra}]'",
        )
