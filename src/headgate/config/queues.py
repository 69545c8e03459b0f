"""How requests wait for a server that has room, and when an upstream is spared altogether."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from .errors import ConfigError
from .field_names import check_token
from .outliers import KINDS, FailureName, statuses
from .settings import OneOrMany, Settings
from .units import MAX_COUNT, Duration, Share, milliseconds, percent


class QueueConfig(Settings):
    """How requests wait while servers have as many as `max_connections` allows."""

    max_pending: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="The maximum number of waiting requests, over all workers; 0 means no limit.",
    )
    target: Duration | None = Field(
        default=None,
        description="How long a request may wait in an overloaded queue, the newest being served first; default: no "
        "request is shed before `timeouts.queue`.",
    )
    interval: Duration = Field(
        default=0.1,
        description="With `target`: a queue that is not empty for this time is overloaded, and a request may wait for "
        "this time in one that is not.",
    )
    fair: bool = Field(
        default=False,
        description="Clients, by their addresses, take turns; default: in order of arrival.",
    )

    priority: Annotated[str, AfterValidator(check_token)] | None = Field(
        default=None,
        description="The request field that says how urgent a request is: `0` (first) to `7`, or `u=0` to `u=7` (RFC "
        "9218); without it, 3. Each level gets twice the share of the next one; null: all are alike.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        usual = type(self).model_fields["interval"].default
        if self.target is None and self.interval != usual:
            raise ConfigError("`interval` has no effect without `target`", hint="set `target`: `5ms`")
        return self


class CircuitBreakerConfig(Settings):
    """Spares an upstream that fails: requests are refused for a while, then some try whether it is over."""

    error_rate: Share = Field(
        default=0.5, gt=0, description="The failure rate within `window` that opens the circuit."
    )
    min_requests: int = Field(
        default=20, ge=1, le=MAX_COUNT, description="The minimum number of requests within `window`."
    )
    window: Duration = Field(default=10.0, description="The time window of the rate.")
    open: Duration = Field(
        default=5.0,
        description="For how long the circuit is open at first; each time that a probe fails, twice as long.",
    )
    max_open: Duration = Field(default=60.0, description="For how long it is open at most.")
    probes: int = Field(
        default=1,
        ge=1,
        le=3,
        description="Concurrent requests that are let through after that time, and how many must succeed.",
    )
    failures: Annotated[tuple[FailureName, ...], OneOrMany()] = Field(
        default=("connect", "timeout", "reset", "502", "503", "504"),
        min_length=1,
        description="What counts as a failure: `connect`, `timeout`, `reset`, statuses such as `503`, or `5xx`.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.open > self.max_open:
            raise ConfigError(
                "`open` is longer than `max_open`, which is the maximum",
                hint="set `max_open` to that, or more",
            )
        return self


def queue_snapshot(queue: QueueConfig) -> dict[str, Any]:
    """The same for the engine."""
    return {
        "max_pending": queue.max_pending,
        "target": queue.target and milliseconds(queue.target),
        "interval": milliseconds(queue.interval),
        "is_fair": queue.fair,
        "priority": queue.priority and queue.priority.lower(),
    }


def circuit_snapshot(breaker: CircuitBreakerConfig | None) -> dict[str, Any] | None:
    """The same for the engine."""
    if breaker is None:
        return None
    return {
        "error_percent": percent(breaker.error_rate),
        "min_requests": breaker.min_requests,
        "window": milliseconds(breaker.window),
        "open": milliseconds(breaker.open),
        "max_open": milliseconds(breaker.max_open),
        "probes": breaker.probes,
        "kinds": [name for name in breaker.failures if name in KINDS],
        "statuses": statuses(breaker.failures),
    }
