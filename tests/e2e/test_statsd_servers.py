"""What StatsD and Prometheus' statsd_exporter make of the numbers that they get."""

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.receivers import program
from e2e.kit.statsd import node_and_npm, statsd, statsd_exporter

EXPORTER = program("statsd_exporter")
NO_STATSD = pytest.mark.skipif(not node_and_npm(), reason="StatsD needs Node and npm")
NO_EXPORTER = pytest.mark.skipif(
    EXPORTER is None, reason="no statsd_exporter here (hint: `make services` builds it with Go)"
)


def counting(serve: Serve, port: int, **more: Any) -> RunningGateway:
    routes = [{"path": "/ok", "respond": "ok", "name": "api"}]
    settings = {"to": f"127.0.0.1:{port}", "interval": "100ms", **more}
    return serve({"routes": routes, "metrics": {"statsd": settings}}, workers=2)


@NO_STATSD
def test_statsd_reads_each_line_and_comes_to_the_same_numbers(serve: Serve, tmp_path: Path) -> None:
    with statsd(tmp_path) as server:
        gateway = counting(serve, server.port, tags=False, prefix="edge.")
        for _ in range(20):
            gateway.get("/ok")
        counted = "edge.headgate_requests_total.api.none.GET.2xx"
        eventually(lambda: server.numbers("counters").get(counted) == 20, "twenty requests", within=20)
        eventually(lambda: "edge.headgate_workers.ready" in server.numbers("gauges"), "the workers")
        assert server.numbers("gauges")["edge.headgate_workers.ready"] == 2
        times = server.times("edge.headgate_request_duration.api")
        assert times and all(0 < ms < 60_000 for ms in times)
        gateway.get("/ok")
        gateway.stop()
        eventually(lambda: server.numbers("counters").get(counted) == 21, "the last one")
        said = server.numbers("counters")
        assert said["statsd.bad_lines_seen"] == 0 and said["statsd.metrics_received"] > 20


@NO_EXPORTER
def test_statsd_exporter_shows_what_a_scraper_would_have_read(serve: Serve, tmp_path: Path) -> None:
    with statsd_exporter(str(EXPORTER), tmp_path) as server:
        gateway = counting(serve, server.port)
        for _ in range(20):
            gateway.get("/ok")
        labels = {"route": "api", "status": "2xx", "method": "GET"}
        counted = lambda: server.scrape().value("headgate_requests_total", **labels)  # noqa: E731
        eventually(lambda: counted() == 20, "twenty requests", within=20)
        took = "headgate_request_duration_seconds_count"
        eventually(lambda: server.scrape().value(took, route="api") == 20, "twenty durations", within=20)
        shown = server.scrape()
        assert shown.value("headgate_workers", state="ready") == 2
        assert shown.value("statsd_exporter_sample_errors_total") == 0
        assert shown.value("statsd_exporter_tag_errors_total") == 0
        assert shown.value("statsd_exporter_events_conflict_total") == 0
