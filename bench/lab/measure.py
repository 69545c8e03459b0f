"""Measuring one gateway: CPU per request within a slice, and what else the machine did meanwhile."""

import os
import re
import time
from pathlib import Path
from types import TracebackType

from . import clients, cost
from .load import USER, wrk
from .place import ORIGIN, REDIS, RUN
from .proxies import Proxy

Figures = dict[str, float]


class Meter:
    """CPU seconds of a gateway's processes within a `with` block, and what strangers used on all CPUs meanwhile."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.pids = proxy.pids(port)
        self.ours = cost.listeners(ORIGIN) + cost.listeners(REDIS)

    def now(self) -> tuple[float, float, float, float, float]:
        user, system = cost.cpu(self.pids)
        return user, system, sum(cost.cpu(self.ours)) + sum(os.times()[:4]), cost.busy(), time.monotonic()

    def __enter__(self) -> "Meter":
        self.before, self.index = self.now(), len(cost.PACE.took)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        spent = [after - before for before, after in zip(self.before, self.now(), strict=True)]
        self.user, self.system, ours, busy, self.seconds = spent
        self.busy = 100 * (self.user + self.system) / self.seconds
        self.other = max(0.0, 100 * (busy - self.user - self.system - ours) / self.seconds)
        self.pace = cost.PACE.since(self.index)

    def per(self, n: float) -> Figures:
        """The figures for each of `n` requests."""
        each = 1e6 / max(n, 1)
        us = (self.user + self.system) * each
        figures = {"us": us, "norm": us / self.pace, "user": self.user * each, "sys": self.system * each}
        return figures | {"busy": self.busy, "other": self.other, "pace": self.pace}


def load(
    proxy: Proxy,
    seconds: float = 4,
    path: str = "/5k",
    role: str = "plain",
    connections: int = 100,
    script: str | None = None,
    headers: tuple[str, ...] = USER,
    expect: bytes | None = None,
) -> Figures:
    """The common case, wrk for a while: CPU per request, rate and latency. A response must show `expect`."""
    port = proxy.ports[role]
    if expect:
        with clients.connect(port) as s:
            if not re.search(expect, clients.fetch(s, path)):
                raise RuntimeError(f"{proxy.name}:{port} does not do its {role} hook")
    scheme = "https" if role in ("tls", "ec", "sni") else "http"
    host = "localhost" if role == "sni" else "127.0.0.1"
    file: Path | None = RUN / script if script else None
    with Meter(proxy, port) as meter:
        seen = wrk(f"{scheme}://{host}:{port}{path}", connections, seconds, file, headers)
    if seen["n"] <= seen["errors"]:
        raise RuntimeError(f"{proxy.name}:{port} sent no response")
    figures = meter.per(seen["n"] - seen["errors"])
    figures |= {"rps": seen["n"] / seen["seconds"], "p50": seen["p50"], "p99": seen["p99"]}
    return figures | {"errors": seen["errors"], "mem": cost.memory(meter.pids)}
