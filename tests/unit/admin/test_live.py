"""What `/v1/live` says of a gateway, and how often it asks."""

import asyncio
import json
from typing import Any, cast

import pytest
from starlette.requests import Request

from headgate.admin.access import Caller
from headgate.admin.live import Live, looked_at
from headgate.admin.node import Node
from headgate.control.commands import ServerStatus, Status
from headgate.control.messages import Source
from headgate.control.numbers import Numbers


def series(value: float, **labels: str) -> dict[str, Any]:
    return {"labels": labels, "value": value}


def numbers(**families: list[dict[str, Any]]) -> str:
    return json.dumps({"families": [{"name": name, "series": found} for name, found in families.items()]})


TIMES = {"buckets": [[0.1, 2], [0.2, 0], [None, 1]], "sum": 61.0, "count": 3}
COUNTED = numbers(
    headgate_requests_total=[
        series(2, route="a", upstream="u", method="GET", status="2xx"),
        series(1, route="a", upstream="", method="POST", status="2xx"),
        series(4, route="", upstream="", method="GET", status="4xx"),
    ],
    headgate_request_duration_seconds=[{"labels": {"route": "a"}, **TIMES}],
    headgate_upstream_response_seconds=[{"labels": {"upstream": "u", "server": "s:1"}, **TIMES}],
    headgate_upstream_server_up=[
        series(1, upstream="u", server="s:1"),
        series(0, upstream="u", server="s:2"),
    ],
    headgate_connections_active=[series(7)],
    headgate_queued_active=[series(3)],
    headgate_pull_waiting=[series(4, upstream="p")],
    headgate_pull_running=[series(2, upstream="p")],
    headgate_pull_workers=[series(1, upstream="p"), series(0, upstream="q")],
    headgate_pull_wait_seconds=[{"labels": {"upstream": "p"}, **TIMES}],
)


def status(servers: list[ServerStatus] | None = None) -> Status:
    return Status(
        pid=1,
        source=Source(),
        generation=3,
        reloading=False,
        stopping=False,
        uptime_s=5,
        listeners=[],
        workers=[],
        counters={"requests": 9},
        servers=servers or [],
    )


def test_routes_are_counted_by_class_and_times_by_the_place_of_their_bound() -> None:
    look = looked_at(status(), Numbers(COUNTED))
    assert look["bounds"] == [0.1, 0.2, None]
    assert look["routes"] == {
        "a": {"classes": {"2xx": 3}, "buckets": [(0, 2), (2, 1)]},
        "": {"classes": {"4xx": 4}, "buckets": []},
    }
    assert look["totals"] == {"requests": 7, "active": 0, "connections": 7, "websockets": 0, "queued": 3}
    json.dumps(look, allow_nan=False)


def test_queues_of_pulling_workers_are_told_with_their_waits() -> None:
    empty = {"waiting": 0, "running": 0, "workers": 0, "waits": 0, "waited_s": 0}
    assert looked_at(status(), Numbers(COUNTED))["pulls"] == [
        {"upstream": "p", "waiting": 4, "running": 2, "workers": 1, "waits": 3, "waited_s": 61.0},
        {"upstream": "q", **empty},
    ]


@pytest.mark.parametrize(
    ("check", "admin", "ejected_ms", "state"),
    [
        ("down", "ready", 0, "down"),
        ("up", "drain", 0, "drain"),
        ("up", "ready", 5, "ejected"),
        ("up", "ready", 0, ""),
    ],
)
def test_a_server_has_who_took_it_out(check: str, admin: str, ejected_ms: int, state: str) -> None:
    one = ServerStatus(upstream="u", server="s:2", check=check, admin=admin, weight=50, ejected_ms=ejected_ms)
    first, second = looked_at(status([one]), Numbers(COUNTED))["servers"]
    assert (first["server"], first["is_up"], first["state"], first["buckets"]) == (
        "s:1",
        True,
        "",
        [(0, 2), (2, 1)],
    )
    assert (second["is_up"], second["state"], second["weight"]) == (False, state, 50)


@pytest.mark.parametrize(("ejected_ms", "state"), [(900, "circuit open"), (0, "circuit half-open")])
def test_a_circuit_stands_beside_the_servers_of_its_upstream(ejected_ms: int, state: str) -> None:
    one = ServerStatus(
        upstream="u", server="", check="unknown", admin="ready", weight=100, ejected_ms=ejected_ms
    )
    assert one.is_circuit and one.out_by == state


def test_without_metrics_the_gateways_own_counter_stands() -> None:
    look = looked_at(status(), Numbers(numbers()))
    assert (look["is_counted"], look["totals"]["requests"]) == (False, 9)


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.001, 1.0), (0.02, 5.0), (3.0, 15.0)])
def test_many_pages_are_one_look_a_second_or_less_where_it_costs_more(took_s: float, pause_s: float) -> None:
    asked: list[str] = []
    now, spent_s = 10.0, 0.0

    def spent() -> float:
        nonlocal spent_s
        spent_s += took_s
        return spent_s

    class Counting:
        async def status(self) -> Status:
            asked.append("status")
            await asyncio.sleep(0)
            return status()

        async def metrics(self) -> tuple[str, float]:
            asked.append("metrics")
            return COUNTED, took_s / 2

    async def pages() -> None:
        nonlocal now
        live, node = Live(lambda: now, spent), cast("Node", Counting())
        request = Request({"type": "http", "query_string": b"", "headers": []})
        caller = Caller("ann", "read")
        responses = await asyncio.gather(*(live.respond(request, node, caller) for _ in range(20)))
        assert asked == ["status", "metrics"]
        look = json.loads(bytes(responses[19].body))
        assert look["caller"] == {"name": "ann", "role": "read"} and look["routes"]
        # a page that has it is told only that
        again = Request({"type": "http", "query_string": b"after=%d" % look["number"], "headers": []})
        same = json.loads(bytes((await live.respond(again, node, caller)).body))
        assert same == {"caller": look["caller"], "number": look["number"]}
        now += pause_s - 0.01
        await live.respond(request, node, caller)
        assert len(asked) == 2
        now += 0.02
        await live.respond(request, node, caller)
        assert len(asked) == 4

    asyncio.run(pages())
