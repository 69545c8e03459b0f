"""The numbers of a gateway at two moments: what happened in between, and how long it took.

How it works: `Numbers` is one reply to `GetMetrics`. Counters only grow, so the difference of two replies is what has
been counted between them; a quantile is read from the differences of a histogram's buckets, right within one bucket.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Times(NamedTuple):
    """A histogram of durations: calls by their upper bound in seconds, and the sum of all."""

    buckets: Mapping[float, float]
    sum_s: float

    @property
    def calls(self) -> float:
        """How many there are."""
        return sum(self.buckets.values())

    def quantile_s(self, share: float) -> float | None:
        """The bound under which this share of the calls stayed; None if there was no call."""
        wanted, counted = share * self.calls, 0.0
        for bound in sorted(self.buckets):
            counted += self.buckets[bound]
            if counted >= wanted and counted:
                return bound
        return None


class Numbers:
    """All numbers at one moment."""

    def __init__(self, text: str) -> None:
        self._series: dict[str, list[dict[str, Any]]] = {
            family["name"]: family["series"] for family in json.loads(text)["families"]
        }

    def by(self, name: str, label: str, **wanted: str) -> dict[str, float]:
        """The sums of a counter or gauge by one of its labels, of the series that have these others."""
        sums: dict[str, float] = {}
        for series in self._series.get(name, ()):
            if wanted.items() <= series["labels"].items():
                key = series["labels"].get(label, "")
                sums[key] = sums.get(key, 0.0) + series["value"]
        return sums

    def by_both(self, name: str, first: str, second: str) -> dict[tuple[str, str], float]:
        """The sums of a counter or gauge by two of its labels."""
        sums: dict[tuple[str, str], float] = {}
        for series in self._series.get(name, ()):
            values = series["labels"]
            key = values.get(first, ""), values.get(second, "")
            sums[key] = sums.get(key, 0.0) + series["value"]
        return sums

    def total(self, name: str, **wanted: str) -> float:
        """The sum of a counter or gauge over the series that have these labels."""
        found = self._series.get(name, ())
        return sum(float(series["value"]) for series in found if wanted.items() <= series["labels"].items())

    def times(self, name: str, key: Callable[[dict[str, str]], Any]) -> dict[Any, Times]:
        """The histograms of that name, added up by what `key` makes of their labels."""
        found: dict[Any, Times] = {}
        for series in self._series.get(name, ()):
            buckets = {float("inf") if bound is None else bound: calls for bound, calls in series["buckets"]}
            name_of, known = key(series["labels"]), Times({}, 0.0)
            known = found.get(name_of, known)
            merged = dict(known.buckets)
            for bound, calls in buckets.items():
                merged[bound] = merged.get(bound, 0.0) + calls
            found[name_of] = Times(merged, known.sum_s + series["sum"])
        return found


def since(now: Times, before: Times | None) -> Times:
    """What came to a histogram since."""
    if before is None:
        return now
    buckets = {bound: calls - before.buckets.get(bound, 0.0) for bound, calls in now.buckets.items()}
    return Times({bound: calls for bound, calls in buckets.items() if calls > 0}, now.sum_s - before.sum_s)
