"""A target as the shipper is told of it: see `headgate.config.log_targets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """Where lines go, and how; times in seconds."""

    to: str
    kind: str
    transport: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    ca: str | None
    user: str | None
    password: str | None
    sasl: str
    batch: int
    batch_bytes: int
    flush: float
    queue: int
    queue_bytes: int
    timeout: float

    @classmethod
    def of(cls, plan: dict[str, Any]) -> Target:
        """From plain data."""
        pairs = {name: tuple(sorted(plan[name].items())) for name in ("headers", "labels")}
        return cls(**{**plan, **pairs})

    @property
    def name(self) -> str:
        """What it is called in logs and metrics: without the query, which may hold a secret."""
        return self.to.partition("?")[0]
