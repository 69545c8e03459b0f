"""What the monitor of a node is to watch: the servers of upstreams with health checks, as plain data."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .consistency import Inconsistency
from .discovered import Sets, serving
from .health import health_plan
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
    speaks_http2 = upstream.health.type == "http" and upstream.protocol == "h2"
    if (speaks_http2 or upstream.health.type == "grpc") and find_spec("h2") is None:
        raise Inconsistency(
            ("upstreams", name, "health"),
            "health checks over HTTP/2 need the package `h2`",
            "pip install 'headgate[health]'",
        )
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
