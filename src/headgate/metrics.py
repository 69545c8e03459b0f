"""Metrics of the user's code: `gate.metrics` and a plugin's `context.metrics`.

How it works: each worker counts in memory of its own, which the supervisor reads and sums up. A counter's sum never
falls when workers end or are replaced; a gauge's part goes with its worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ._caller import caller
from .config.errors import ConfigError

if TYPE_CHECKING:
    from headgate import _core

OF_PROCESS: ContextVar[_core.Metrics | None] = ContextVar("headgate_metrics", default=None)
"""Where this process counts; none: each gateway for itself."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of a histogram that says none, in seconds."""

MOST_LABEL_SETS = 1000
"""Sets of label values that a metric may have; those past it are counted as `other`."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED_LABELS = frozenset({"le", "quantile", "plugin"})

Memory = Callable[[], "_core.Metrics"]
Merge = Literal["sum", "max", "min"]
"""How the gauges of several workers come to one."""


def memory_of_process() -> Memory:
    """Gives where this process counts; where that is not known, as in a test, memory of its own when it is needed."""
    known: list[_core.Metrics] = []
    if (given := OF_PROCESS.get()) is not None:
        known.append(given)

    def memory() -> _core.Metrics:
        if not known:
            from headgate import _core

            known.append(_core.Metrics())
        return known[0]

    return memory


class _Kind:
    """A metric of one name, with its series by the values of their labels."""

    _kind: str

    def __init__(
        self,
        memory: Memory,
        name: str,
        help: str,
        labels: tuple[str, ...],
        fixed: tuple[tuple[str, str], ...],
        **more: Any,
    ) -> None:
        self.name = name
        """As it is exposed."""
        self._memory, self._help, self._labels, self._fixed, self._more = memory, help, labels, fixed, more
        self._series: dict[tuple[str, ...], _core.Metric] = {}
        if not labels:
            self._of(())

    def _of(self, values: tuple[str, ...]) -> _core.Metric:
        known = self._series.get(values)
        if known is not None:
            return known
        if len(values) != len(self._labels):
            raise ValueError(f"`{self.name}` has the labels {list(self._labels)}, not {len(values)} values")
        names = [name for name, _ in self._fixed] + list(self._labels)
        made = self._memory().series(
            self._kind,
            self.name,
            self._help,
            names,
            [value for _, value in self._fixed] + list(values),
            most=MOST_LABEL_SETS,
            **self._more,
        )
        if len(self._series) < MOST_LABEL_SETS:
            self._series[values] = made
        return made


class Counter(_Kind):
    """A number that only grows. With labels, their values are given in order: `hits.inc("gold")`."""

    _kind = "counter"

    def inc(self, *labels: str, by: float = 1) -> None:
        """Counts; `by` is not negative."""
        if not by >= 0:
            raise ValueError(f"`{by}` is not a valid step; hint: a counter can only increase")
        self._of(labels).add(by)

    def value(self, *labels: str) -> float:
        """The sum of this worker."""
        return self._of(labels).value


class Gauge(_Kind):
    """A number that rises and falls."""

    _kind = "gauge"

    def set(self, to: float, *labels: str) -> None:
        """Sets it."""
        self._of(labels).set(to)

    def inc(self, *labels: str, by: float = 1) -> None:
        """Adds to it."""
        self._of(labels).add(by)

    def dec(self, *labels: str, by: float = 1) -> None:
        """Takes from it."""
        self._of(labels).add(-by)

    def value(self, *labels: str) -> float:
        """The number of this worker."""
        return self._of(labels).value


class Histogram(_Kind):
    """Counts values by their size."""

    _kind = "histogram"

    def observe(self, value: float, *labels: str) -> None:
        """Counts a value."""
        self._of(labels).observe(value)

    def sum(self, *labels: str) -> float:
        """The sum of the values of this worker."""
        return self._of(labels).value


K = TypeVar("K", bound=_Kind)


class Metrics:
    """Makes metrics; the same name gives the same metric. Names and labels are those of Prometheus.

    Each takes the names of its labels, of whose values it keeps 1,000 sets; those past it are counted as `other`.
    Raises `ConfigError` for a name that is not valid, or that means something else already.
    """

    def __init__(self, memory: Memory, prefix: str = "", fixed: tuple[tuple[str, str], ...] = ()) -> None:
        self._memory, self._prefix, self._fixed = memory, prefix, fixed
        self._known: dict[tuple[str, str], _Kind] = {}

    def counter(self, name: str, help: str = "", *, labels: Sequence[str] = ()) -> Counter:
        """A number that only grows, such as `logins_total`; `_total` is added to a name that lacks it."""
        name = name if name.endswith("_total") else f"{name}_total"
        return self._made(Counter, name, help, labels)

    def gauge(self, name: str, help: str = "", *, labels: Sequence[str] = (), merge: Merge = "sum") -> Gauge:
        """A number that rises and falls. Those of several workers come to one as `merge` says."""
        return self._made(Gauge, name, help, labels, merge=merge)

    def histogram(
        self,
        name: str,
        help: str = "",
        *,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = BUCKETS,
    ) -> Histogram:
        """Counts values by their size, such as `lookup_seconds`; `buckets` are the upper bounds, in order."""
        bounds = [float(bound) for bound in buckets]
        if not bounds or bounds != sorted(set(bounds)) or bounds[-1] == float("inf"):
            raise ConfigError(
                f"the buckets of `{name}` are not in order",
                hint="give finite upper bounds, the smallest first",
            ).at(caller())
        return self._made(Histogram, name, help, labels, bounds=bounds)

    def _made(self, kind: type[K], name: str, help: str, labels: Sequence[str], **more: Any) -> K:
        known = self._known.get((kind.__name__, name))
        if isinstance(known, kind):
            return known
        given = (labels,) if isinstance(labels, str) else tuple(labels)
        try:
            self._check(name, given)
            made = kind(self._memory, self._prefix + name, help or name, given, self._fixed, **more)
        except ConfigError as error:
            raise error.at(caller()) from None
        except ValueError as error:
            text, _, hint = str(error).partition("\nhint: ")
            raise ConfigError(text, hint=hint or None, where=caller()) from None
        self._known[kind.__name__, name] = made
        return made

    def _check(self, name: str, labels: tuple[str, ...]) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"`{name}` is not a valid metric name", hint="use letters, digits and `_`")
        if not self._prefix and name.startswith("headgate_"):
            raise ConfigError(
                f"the metric name `{name}` is reserved", hint="leave `headgate_` to the gateway"
            )
        for label in labels:
            if not _NAME.fullmatch(label) or label.startswith("__"):
                raise ConfigError(f"`{label}` is not a valid label name", hint="use letters, digits and `_`")
            if label in _RESERVED_LABELS:
                raise ConfigError(f"the label name `{label}` is reserved", hint="choose another one")


def plugin_metrics(memory: Memory, kind: str, name: str) -> Metrics:
    """Those of a plugin: named after its class, with its own name as the label `plugin`."""
    return Metrics(
        memory, f"headgate_plugin_{re.sub(r'[^a-z0-9]+', '_', kind.lower())}_", (("plugin", name),)
    )
