"""What the dispatcher is told of one upstream."""

from __future__ import annotations

from typing import Any, NamedTuple, Self


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

    @classmethod
    def of(cls, plan: dict[str, Any]) -> Self:
        """As they stand in the plan."""
        return cls(**{**plan, "tokens": tuple(plan["tokens"])})
