"""What the gateway counts stays when its processes end, and costs no more for it."""

import json
import os
from typing import Any

from headgate import _core
from headgate.control.reactor import Reactor
from headgate.supervisor.metrics import NodeMetrics
from headgate.supervisor.zone import ZoneSlots

COUNTED, HELD = "headgate_test_counted_total", "headgate_test_held"


def values(metrics: NodeMetrics, name: str) -> list[float]:
    """The numbers of that name."""
    families: list[dict[str, Any]] = json.loads(metrics.json())["families"]
    return [one["value"] for family in families if family["name"] == name for one in family["series"]]


def test_a_thousand_ended_processes_leave_their_counts_and_nothing_else() -> None:
    metrics = NodeMetrics(Reactor(), ZoneSlots(1))
    sizes, open_files = set(), set()
    for number in range(1, 1001):
        descriptor = metrics.memory_for()
        process = _core.Metrics(descriptor)
        process.series("counter", COUNTED, "Counted.", ["route"], ["a"]).add(2.0)
        process.series("gauge", HELD, "Held.", [], []).set(3.0)
        metrics.counts_in(number, descriptor)
        os.close(descriptor)
        del process
        if number % 100 == 0:
            assert (values(metrics, COUNTED), values(metrics, HELD)) == ([2.0 * number], [3.0])
        metrics.no_longer_counts(number)
        if number % 100 == 0:
            assert (values(metrics, COUNTED), values(metrics, HELD)) == ([2.0 * number], [])
            sizes.add(len(metrics.json()))
            open_files.add(len(os.listdir("/proc/self/fd")))
    assert max(sizes) - min(sizes) < 10 and len(open_files) == 1
