"""Lines of the log in a real VictoriaLogs, which takes Loki's push API, read back by its own queries."""

import time
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.metrics import scrape
from e2e.kit.origin import PROBE_PATH
from e2e.kit.receivers import VictoriaLogs, program, victoria_logs

pytestmark = pytest.mark.skipif(
    program("victoria-logs") is None, reason="no VictoriaLogs here (hint: `make services` builds it with Go)"
)

HOSTILE = "/a%22%5Cn?x=%0A%1B[31m'script'"


def shipping(serve: Serve, push: str, **more: Any) -> RunningGateway:
    target = {"to": f"loki:{push}", "labels": {"site": "ams", "job": "edge"}, "flush": "50ms"}
    routes = [{"path": "/*", "respond": "ok", "name": "api"}]
    return serve({"routes": routes, "log_targets": [target], **more}, workers=1)


def lines_of(logs: VictoriaLogs, query: str) -> list[dict[str, str]]:
    """Those that a query finds in the stream of the gateway, the kit's probes apart."""
    found = logs.query(f'{{site="ams",job="edge"}} {query}')
    return [line for line in found if not line["_msg"].startswith(PROBE_PATH)]


def test_lines_are_found_by_labels_times_and_fields(serve: Serve, tmp_path: Path) -> None:
    with victoria_logs(tmp_path) as logs:
        before = time.time()
        gateway = shipping(serve, logs.push)
        gateway.get(HOSTILE, [("user-agent", '\x80\xc3\xa9\\"}]}')])
        gateway.post("/second")
        eventually(lambda: len(lines_of(logs, "")) == 2, "both lines", within=30)
        first, second = lines_of(logs, "")
        # what the lines' clients have sent is in them as it came, and no label
        assert (first["_msg"], first["route"], first["status"]) == (HOSTILE, "api", "200")
        assert first["user_agent"] == '\ufffdé\\"}]}'
        assert {line["_stream"] for line in (first, second)} == {'{job="edge",site="ams"}'}
        assert first["_time"][:23] == first["time"][:23] <= second["_time"][:23]
        shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before - 1))
        assert shown <= first["_time"] <= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
        # and it can be asked for by its fields
        assert [line["_msg"] for line in lines_of(logs, "method:POST")] == ["/second"]
        assert lines_of(logs, "status:500") == [] == logs.query('{site="lon"}')


def test_lines_wait_for_a_server_that_is_away_and_come_once(serve: Serve, tmp_path: Path) -> None:
    port, address = free_port(), f"127.0.0.1:{free_port()}"
    with victoria_logs(tmp_path, port) as logs:
        gateway = shipping(serve, logs.push, metrics=address)
        gateway.get("/before")
        eventually(lambda: len(lines_of(logs, "")) == 1, "the first line", within=30)
    for number in range(20):
        gateway.get(f"/{number}")
    eventually(lambda: "is unavailable; lines are kept" in gateway.log(), "it is told", within=30)
    with victoria_logs(tmp_path, port) as logs:
        wanted = ["/before", *(f"/{number}" for number in range(20))]
        eventually(lambda: len(lines_of(logs, "")) >= len(wanted), "every line", within=60)
        assert sorted(line["_msg"] for line in lines_of(logs, "")) == sorted(wanted)
    assert scrape(gateway, address).value("headgate_log_dropped_total") == 0
