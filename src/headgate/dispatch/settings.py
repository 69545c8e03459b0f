"""What the dispatcher is told of one upstream."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from headgate.pull.announcing import Shared


class Settings(NamedTuple):
    """See `headgate.config.pull`; times are seconds."""

    upstream: str
    tokens: tuple[str, ...]
    queue: int
    wait: float
    """How long a request may wait for a worker."""
    timeout: float
    """How long a worker may take until its response begins."""
    fair_by: str | None = None
    """`client`, or `header:` and the name of a header field in lower case."""
    priority: str | None = None
    """The name of a header field, in lower case; likewise `deadline`."""
    deadline: str | None = None
    at_least_once: bool = False
    attempts: int = 2
    ping: float = 10.0
    status_path: str | None = None
    queue_bytes: int = 64 << 20
    """The most that requests in the queue may hold of their bodies."""
    is_scaler: bool = False
    """Whether it is a scaler of KEDA, see `keda`."""
    shared: Shared | None = None
    """The list of idle workers that it shares with other gateways."""

    @classmethod
    def of(cls, plan: dict[str, Any]) -> Self:
        """As they stand in the plan."""
        shared = plan["shared"]
        return cls(**{**plan, "tokens": tuple(plan["tokens"]), "shared": shared and Shared(**shared)})
