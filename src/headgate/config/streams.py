"""Settings of upstreams that mean nothing for TCP connections and datagrams.

How it works: an upstream that only `tcp`, `tls_routes` and `udp` send to is refused with settings that are about
requests: what it says would not happen. One that routes send to as well may have them, for its requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import GatewayConfig
    from .settings import Settings
    from .upstreams import UpstreamConfig

KINDS = ("tls_routes", "tcp", "udp")
"""What sends connections or datagrams."""

_OF_REQUESTS = (
    *("protocol", "grpc_web", "keepalive", "host", "lenient"),
    *("hedge", "adaptive_limit", "queue", "fallback", "deadline", "sticky", "subset_fallback"),
)
_RETRIES = ("on", "methods", "budget", "attempt_timeout", "backoff")
_TIMEOUTS = ("queue", "upstream_head", "upstream_idle")


def senders(config: GatewayConfig) -> dict[str, str]:
    """The upstreams that only connections or datagrams go to, each with the first key that sends them."""
    requests = {one.to for one in config.routes}
    requests |= {one.fallback.upstream for one in config.upstreams.values() if one.fallback}
    found: dict[str, str] = {}
    for key in KINDS:
        for one in getattr(config, key):
            if one.to in config.upstreams and one.to not in requests:
                found.setdefault(one.to, key)
    return found


def without_effect(upstream: UpstreamConfig, key: str) -> Iterator[tuple[str, ...]]:
    """The paths of settings that say nothing where `key` sends to it."""
    for name in _OF_REQUESTS:
        if _is_said(upstream, name):
            yield (name,)
    if upstream.balance == "sticky":
        yield ("balance",)
    if upstream.hash_on != "source" and upstream.balance == "hash":
        yield ("hash_on",)
    for name in _TIMEOUTS:
        if getattr(upstream.timeouts, name) is not None:
            yield ("timeouts", name)
    for name in _RETRIES:
        if _is_said(upstream.retries, name):
            yield ("retries", name)
    if key == "udp":
        yield from ((name,) for name in ("retries", "proxy_protocol", "source") if _is_said(upstream, name))


def _is_said(settings: Settings, name: str) -> bool:
    usual: Any = type(settings).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(settings, name) != usual)
