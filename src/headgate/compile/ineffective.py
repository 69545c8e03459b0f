"""Settings that have no effect as the rest of the configuration is: told by `headgate check`."""

from __future__ import annotations

from collections.abc import Iterator

from headgate.config.errors import Path, Problem
from headgate.config.http3 import Http3Config
from headgate.config.model import GatewayConfig
from headgate.gateway import Gateway


def ineffective(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """Buckets of routes where nothing is counted, and settings of HTTP/3 that no listener speaks."""
    for path, problem in (*_metrics(config), *_http3(config)):
        yield problem._replace(where=gateway._parts.locate(path), path=path)


def _metrics(config: GatewayConfig) -> Iterator[tuple[Path, Problem]]:
    if config.metrics is None:
        for number, route in enumerate(config.routes):
            if route.metrics.buckets:
                problem = Problem(
                    "`metrics.buckets` of a route has no effect without `metrics`", "set `metrics: true`"
                )
                yield ("routes", number), problem


def _http3(config: GatewayConfig) -> Iterator[tuple[Path, Problem]]:
    if config.http3 != Http3Config() and not any(one.http3 for one in config.listeners):
        problem = Problem(
            "`http3` has no effect: no listener speaks HTTP/3", "set `http3: true` on a listener with `tls`"
        )
        yield ("http3",), problem
