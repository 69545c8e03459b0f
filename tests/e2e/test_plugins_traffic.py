"""Plugins that bound and steer traffic, in several workers and on several nodes, over real sockets."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, services
from e2e.kit.behaviours import hang
from e2e.kit.client import RawClient
from e2e.kit.net import eventually


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with services.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


def document(origin: Origin, *plugins: dict[str, Any]) -> dict[str, Any]:
    return {
        "upstreams": {"app": origin.address},
        "routes": [{"path": "/", "to": "app"}],
        "plugins": list(plugins),
    }


def status(gateway: RunningGateway, path: str, *fields: tuple[str, str], method: str = "GET") -> int:
    with RawClient(gateway.address) as client:
        return client.request(method, path, fields).status


def statuses(gateways: list[RunningGateway], path: str, count: int, *fields: tuple[str, str]) -> list[int]:
    with ThreadPoolExecutor(20) as pool:
        return list(pool.map(lambda n: status(gateways[n % len(gateways)], path, *fields), range(count)))


def test_slots_of_all_workers_are_one_and_come_back_when_clients_leave(serve: Serve, origin: Origin) -> None:
    origin.on("/slow", hang)
    plugin = {"plugin": "concurrency-limit", "config": {"limit": 4, "lease": 3}}
    gateway = serve(document(origin, plugin), workers=2)
    with ExitStack() as stack:
        for number in range(4):
            client = stack.enter_context(RawClient(gateway.address))
            client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda n=number: len(origin.calls) == n + 1, lambda: "the origin is asked")
        assert statuses([gateway], "/", 10) == [429] * 10
    eventually(lambda: status(gateway, "/") == 200, lambda: "a slot is free")


def test_slots_of_a_killed_worker_come_back(serve: Serve, origin: Origin) -> None:
    origin.on("/slow", hang)
    plugin = {"plugin": "concurrency-limit", "config": {"limit": 3, "lease": 3}}
    gateway = serve(document(origin, plugin), workers=2)
    before = gateway.workers
    with ExitStack() as stack:
        for number in range(3):
            client = stack.enter_context(RawClient(gateway.address))
            client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda n=number: len(origin.calls) == n + 1, lambda: "the origin is asked")
        assert status(gateway, "/") == 429
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: not set(before) & set(gateway.workers), lambda: "others serve", within=30)
        eventually(lambda: status(gateway, "/") == 200, lambda: "the slots are free", within=30)


def test_two_nodes_with_one_redis_let_the_rate_in_and_no_more(
    serve: Serve, origin: Origin, redis_url: str
) -> None:
    config = {"rate": "40/h", "redis": redis_url, "batch": 0}
    nodes = [
        serve(
            document(origin, {"plugin": "rate-limit", "name": "both", "on": "/limited/*", "config": config}),
            workers=2,
        )
        for _ in range(2)
    ]
    assert sorted(statuses(nodes, "/limited/x", 100)) == [200] * 40 + [429] * 60


def test_visitors_of_two_nodes_wait_in_one_queue(serve: Serve, origin: Origin, redis_url: str) -> None:
    config = {"seats": 1, "stay": 2, "patience": 60, "secret": "a secret of thirty-two characters"}
    use = {
        "plugin": "waiting-room",
        "on": "/sale",
        "config": {**config, "redis": redis_url, "redis_timeout": 5},
    }
    nodes = [serve(document(origin, use), workers=2) for _ in range(2)]
    tickets: dict[int, str] = {}

    def position(visitor: int, turn: int) -> int:
        """0 inside; each visitor comes by one node and then by the other."""
        with RawClient(nodes[(visitor + turn) % 2].address) as client:
            response = client.get("/sale", [("Cookie", tickets[visitor])] if visitor in tickets else [])
        if given := response.get("set-cookie"):
            tickets[visitor] = given.partition(";")[0]
        return 0 if response.status == 200 else int(response.text.partition("number ")[2].partition(" ")[0])

    assert [position(visitor, 0) for visitor in range(4)] == [0, 1, 2, 3]
    assert [position(visitor, 1) for visitor in (1, 2, 3)] == [1, 2, 3]
    order = []
    for turn in range(2, 5):
        # who came last asks first, and gets in only when it is his turn
        waiting = [visitor for visitor in (3, 2, 1) if visitor not in order]
        order += eventually(
            lambda turn=turn, waiting=waiting: [one for one in waiting if position(one, turn) == 0],
            lambda: "a seat is given",
            within=20,
        )
    assert order == [1, 2, 3]


def test_a_quota_of_all_nodes_and_a_redis_that_goes_away(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "redis").mkdir()
    with services.redis(tmp_path / "redis") as url:
        config = {"amount": 5, "period": "year", "by": "header:x-tenant", "redis": url, "when_away": "open"}
        gateway = serve(document(origin, {"plugin": "quota", "config": config}), workers=2)
        assert sorted(statuses([gateway], "/", 12, ("X-Tenant", "a"))) == [200] * 5 + [429] * 7
        assert status(gateway, "/", ("X-Tenant", "b")) == 200
    assert statuses([gateway], "/", 12, ("X-Tenant", "a")) == [200] * 12
    told = gateway.log().count("the store is unavailable")
    assert 1 <= told <= 2  # each worker tells once


def test_a_copy_reaches_the_other_server_and_harms_nobody(serve: Serve, origin: Origin) -> None:
    with Origin() as shadow:
        shadow.on("/hangs", hang)
        config = {"to": f"http://{shadow.address}/base", "max_copies": 2, "timeout": 1}
        use = {"plugin": "mirror", "when": 'request.path != "/kit-probe"', "config": config}
        gateway = serve(document(origin, use))
        with RawClient(gateway.address) as client:
            response = client.request("POST", "/a?b=1", [("Cookie", "secret"), ("X-A", "1")], body=b"12345")
        assert response.status == 200
        eventually(lambda: len(shadow.calls) == 1, lambda: "the copy is there")
        (copy,) = shadow.calls
        assert (copy.method, copy.target, copy.read_body()) == ("POST", "/base/a?b=1", b"12345")
        assert (copy.get("x-a"), copy.get("x-shadow"), copy.get("cookie")) == ("1", "1", None)
        assert statuses([gateway], "/hangs", 20) == [200] * 20
        assert origin.calls[0].get("cookie") == "secret" and origin.calls[0].get("x-shadow") is None


def test_a_copy_of_a_get_with_a_chunked_body_has_it_whole_or_is_not_sent(
    serve: Serve, origin: Origin
) -> None:
    with Origin() as shadow:
        config = {"to": f"http://{shadow.address}"}
        use = {"plugin": "mirror", "when": 'request.path != "/kit-probe"', "config": config}
        # which must leave requests with bodies alone
        gateway = serve(document(origin, use, {"plugin": "request-coalescing", "config": {}}))
        head = b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        with RawClient(gateway.address) as client:
            client.send(b"GET /cut" + head + b"5\r\nhello\r\n")
            eventually(lambda: [call for call in origin.calls if call.target == "/cut"], lambda: "it goes on")
        with RawClient(gateway.address) as client:
            client.send(b"GET /whole" + head + b"5\r\nhello\r\n0\r\n\r\n")
            assert client.response("GET").status == 200
        eventually(lambda: [call.target for call in shadow.calls] == ["/whole"], lambda: "the copy is there")
        assert shadow.calls[0].read_body() == b"hello"
        call = next(call for call in origin.calls if call.target == "/whole")
        assert (call.method, call.read_body()) == ("GET", b"hello")


def test_conditions_and_dry_runs_stand_in_a_file(serve: Serve, origin: Origin) -> None:
    gateway = serve(
        document(
            origin,
            {"plugin": "maintenance", "on": "/closed/*", "when": 'request.method == "POST"'},
            {"plugin": "maintenance", "name": "trial", "on": "/trial/*", "mode": "report"},
        )
    )
    assert status(gateway, "/closed/x") == 200
    with RawClient(gateway.address) as client:
        assert client.request("POST", "/closed/x", body=b"x").status == 503
    assert status(gateway, "/trial/x") == 200
    gateway.wait_for_log("would have replied")


def test_a_new_condition_is_applied_in_running_workers(serve: Serve, origin: Origin) -> None:
    plugin = {"plugin": "maintenance", "when": 'request.path == "/a"'}
    gateway = serve(document(origin, plugin), workers=2)
    workers = gateway.workers
    assert (status(gateway, "/a"), status(gateway, "/b")) == (503, 200)
    gateway.write(document(origin, {**plugin, "when": 'request.path == "/b"'}))
    assert gateway.cli("reload").returncode == 0
    assert (status(gateway, "/a"), status(gateway, "/b")) == (200, 503)
    assert gateway.workers == workers
