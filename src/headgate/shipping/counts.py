"""What the shipper counts of one target."""

from __future__ import annotations

from headgate import _core

LABEL = "target"


class Counts:
    """The series of one target; `metrics` is the memory of this process."""

    def __init__(self, metrics: _core.Metrics, target: str) -> None:
        self._metrics, self._target = metrics, target
        self._dropped: dict[str, _core.Metric] = {}
        self._sent = self._one("counter", "headgate_log_shipped_total", "Lines that a log target has taken.")
        self._lines = self._one("gauge", "headgate_log_queue_lines", "Lines that wait for a log target.")
        self._bytes = self._one(
            "gauge", "headgate_log_queue_bytes", "Bytes of lines that wait for a log target."
        )
        self._up = self._one(
            "gauge", "headgate_log_target_up", "1 where a log target took the last batch, else 0."
        )
        self.drop("queue_full", 0)

    def sent(self, lines: int) -> None:
        """The target has taken so many."""
        self._sent.add(float(lines))

    def drop(self, reason: str, lines: int) -> None:
        """So many will never reach it."""
        if reason not in self._dropped:
            self._dropped[reason] = self._metrics.series(
                "counter",
                "headgate_log_dropped_total",
                "Lines that a log target did not get, and why.",
                [LABEL, "reason"],
                [self._target, reason],
            )
        self._dropped[reason].add(float(lines))

    def waiting(self, lines: int, size: int) -> None:
        """So many lines and bytes wait."""
        self._lines.set(float(lines))
        self._bytes.set(float(size))

    def is_up(self, *, is_up: bool) -> None:
        """Whether it took the last batch."""
        self._up.set(float(is_up))

    def _one(self, kind: str, name: str, help: str) -> _core.Metric:
        return self._metrics.series(kind, name, help, [LABEL], [self._target])
