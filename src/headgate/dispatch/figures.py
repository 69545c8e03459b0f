"""What is counted of one upstream, as metrics."""

from __future__ import annotations

from headgate import _core

WAIT_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Figures:
    """The series of one upstream; `metrics` is the memory of this process."""

    def __init__(self, metrics: _core.Metrics, upstream: str) -> None:
        self._metrics, self._upstream = metrics, upstream
        self._failures: dict[str, _core.Metric] = {}
        self._announcements: dict[str, _core.Metric] = {}
        self.waiting = self._one("gauge", "headgate_pull_waiting", "Requests that wait for a worker.")
        self.running = self._one("gauge", "headgate_pull_running", "Requests that workers have.")
        self.workers = self._one("gauge", "headgate_pull_workers", "Workers that are connected.")
        self.served = self._one("counter", "headgate_pull_served_total", "Requests that workers have served.")
        self.lost = self._one("counter", "headgate_pull_workers_lost_total", "Workers lost with a request.")
        self.protocol_errors = self._one(
            "counter", "headgate_pull_protocol_errors_total", "Workers that have violated the protocol."
        )
        self.again = self._one(
            "counter",
            "headgate_pull_handed_out_again_total",
            "Requests handed out again after a worker was lost.",
        )
        self.wait = metrics.series(
            "histogram",
            "headgate_pull_wait_seconds",
            "Time that requests have waited for a worker.",
            ["upstream"],
            [upstream],
            bounds=WAIT_BOUNDS,
        )

    def failed(self, failure: str) -> None:
        """A request has failed by that name."""
        if failure not in self._failures:
            self._failures[failure] = self._metrics.series(
                "counter",
                "headgate_pull_failures_total",
                "Requests that no worker has served, and why.",
                ["upstream", "failure"],
                [self._upstream, failure],
            )
        self._failures[failure].add(1.0)

    def announcement(self, outcome: str) -> None:
        """An announcement that other gateways share was `used`, `declined` by its worker, `returned`, or `lost`."""
        if outcome not in self._announcements:
            self._announcements[outcome] = self._metrics.series(
                "counter",
                "headgate_pull_announcements_total",
                "Announcements of shared workers that were taken, and what became of them.",
                ["upstream", "outcome"],
                [self._upstream, outcome],
            )
        self._announcements[outcome].add(1.0)

    def _one(self, kind: str, name: str, help: str) -> _core.Metric:
        return self._metrics.series(kind, name, help, ["upstream"], [self._upstream])
