"""Which servers of an upstream are ejected, and how they come back."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from .errors import ConfigError, suggestion
from .settings import OneOrMany, Settings
from .units import MAX_COUNT, Duration, Share, milliseconds, percent

KINDS = ("connect", "timeout", "reset")
"""The kinds of failures of servers that are no responses."""

_STATUS = re.compile(r"[1-5][0-9][0-9]|[1-5]xx")


def _failure(value: str) -> str:
    if value not in KINDS and _STATUS.fullmatch(value) is None:
        raise ConfigError(
            f"`{value}` is not a kind of failure",
            hint=suggestion(value, KINDS) if value.isalpha() else "write a status such as `503`, or `5xx`",
        )
    return value


FailureName = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    AfterValidator(_failure),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["connect", "timeout", "reset", 503, "5xx"]}),
]
"""`connect`, `timeout`, `reset`, a status, or `5xx`."""


class OutlierConfig(Settings):
    """Servers that fail, or are much slower than the others, are ejected for a while."""

    consecutive: int = Field(
        default=5, ge=0, le=MAX_COUNT, description="Consecutive failures, as seen by one worker; 0: never."
    )
    error_rate: Share | None = Field(
        default=None, description="The failure rate of a server within `interval`."
    )
    latency: float | None = Field(
        default=None,
        ge=1.1,
        le=1000,
        description="The mean response time of a server within `interval`, relative to the median of all servers.",
    )
    interval: Duration = Field(default=10.0, description="The time window of rates and means.")
    min_requests: int = Field(
        default=20,
        ge=1,
        le=MAX_COUNT,
        description="The minimum number of requests to a server within `interval` for rates and means.",
    )
    ejection: Duration = Field(
        default=30.0,
        description="The duration of the first ejection; each further one is longer by this time.",
    )
    max_ejection: Duration = Field(default=300.0, description="The maximum duration of an ejection.")
    max_ejected: Share = Field(
        default=0.5,
        description="The maximum share of servers that are ejected at a time, rounded down: half of three is one.",
    )
    failures: Annotated[tuple[FailureName, ...], OneOrMany()] = Field(
        default=("connect", "timeout", "reset", "502", "503", "504"),
        description="What counts as a failure: `connect`, `timeout`, `reset`, statuses such as `503`, or `5xx`.",
    )


def outlier_snapshot(outlier: OutlierConfig | None) -> dict[str, Any] | None:
    """The same for the engine."""
    if outlier is None:
        return None
    return {
        "consecutive": outlier.consecutive,
        "error_percent": percent(outlier.error_rate or 0),
        "latency_percent": round((outlier.latency or 0) * 100),
        "interval": milliseconds(outlier.interval),
        "min_requests": outlier.min_requests,
        "ejection": milliseconds(outlier.ejection),
        "max_ejection": milliseconds(outlier.max_ejection),
        "max_ejected_percent": int(outlier.max_ejected * 100 + 1e-9),
        "kinds": [name for name in outlier.failures if name in KINDS],
        "statuses": statuses(outlier.failures),
    }


def statuses(failures: Sequence[str]) -> list[tuple[int, int]]:
    """The first and last status of each entry that names some."""
    ranges = []
    for name in failures:
        if name.endswith("xx"):
            ranges.append((int(name[0]) * 100, int(name[0]) * 100 + 99))
        elif name not in KINDS:
            ranges.append((int(name), int(name)))
    return ranges
