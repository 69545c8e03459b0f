"""When a canary goes on and when it goes back: pure decisions from numbers of requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FIRST_BOUND_S, FACTOR, BUCKETS = 0.001, 1.3, 44
"""Of times: the bounds of buckets grow by 30 %, from 1 ms to 80 s, and an estimate is at most so much too high."""


def bucket_of(seconds: float) -> int:
    """The bucket of a time."""
    if seconds <= FIRST_BOUND_S:
        return 0
    return min(BUCKETS - 1, math.ceil(math.log(seconds / FIRST_BOUND_S) / math.log(FACTOR) - 1e-9))


@dataclass(frozen=True)
class Numbers:
    """What came of one side's requests in a window."""

    requests: int = 0
    failures: int = 0
    times: Mapping[int, int] = field(default_factory=dict)
    """Requests by bucket."""

    @property
    def failure_percent(self) -> float:
        """The part of failures."""
        return 100 * self.failures / self.requests if self.requests else 0.0

    def time_s(self, percentile: float) -> float | None:
        """The upper bound of the bucket in which the percentile lies; None without any."""
        wanted, seen = math.ceil(sum(self.times.values()) * percentile / 100), 0
        for bucket in sorted(self.times):
            seen += self.times[bucket]
            if seen >= max(wanted, 1):
                return FIRST_BOUND_S * FACTOR**bucket
        return None

    def shown(self, percentile: float) -> dict[str, float]:
        """For the log."""
        time_s = self.time_s(percentile)
        facts = {"requests": float(self.requests), "failure_percent": round(self.failure_percent, 2)}
        return facts | ({} if time_s is None else {"time_s": round(time_s, 4)})


@dataclass(frozen=True)
class Limits:
    """What a canary may be like."""

    requests: int
    failure_percent: float
    """Points above those of the baseline."""
    percentile: float
    time_s: float | None
    time_ratio: float | None
    """Over the baseline's."""


Verdict = Literal["unknown", "good"]


def judged(canary: Numbers, baseline: Numbers, limits: Limits) -> tuple[Verdict | None, str]:
    """What the numbers come to: `unknown` with too few requests, `good`, or None and why the canary is bad."""
    if canary.requests < limits.requests:
        return "unknown", ""
    is_compared = baseline.requests >= limits.requests
    allowed = limits.failure_percent + (baseline.failure_percent if is_compared else 0.0)
    if canary.failure_percent > allowed:
        return None, f"{canary.failure_percent:.4g} % of its requests failed, and {allowed:.4g} % may"
    time_s, usual_s = canary.time_s(limits.percentile), baseline.time_s(limits.percentile)
    if time_s is not None and limits.time_s is not None and time_s > limits.time_s:
        return None, f"its percentile {limits.percentile:g} is {time_s:.4g} s, and {limits.time_s:g} s may be"
    if not is_compared or time_s is None or usual_s is None or limits.time_ratio is None:
        return "good", ""
    if time_s > usual_s * limits.time_ratio:
        return (
            None,
            f"its percentile {limits.percentile:g} is {time_s:.4g} s, the baseline's {usual_s:.4g} s",
        )
    return "good", ""
