"""Changes of configuration alone: they go into the workers that run, and no connection notices."""

import os
import re
import signal
import socket
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import upgrade_echo
from e2e.kit.client import RawClient, fetch, format_request


def described(origin: Origin, version: str = "first", **more: Any) -> dict[str, Any]:
    return {
        "upstreams": {"api": {"servers": [origin.address]}},
        "routes": [{"path": "/version", "respond": version}, {"path": "/", "to": "api"}],
        **more,
    }


@pytest.fixture
def gateway(serve: Serve, origin: Origin) -> RunningGateway:
    return serve(described(origin), workers=2)


def test_workers_stay_and_every_one_has_the_change(gateway: RunningGateway, origin: Origin) -> None:
    workers = gateway.workers
    gateway.write(described(origin, "second"))
    response = gateway.ask("reload")
    assert response["ok"] and response["in_place"] and response["generation"] == 2
    assert [gateway.get("/version").text for _ in range(20)] == ["second"] * 20
    status = gateway.ask()
    eventually(lambda: gateway.workers == workers, "the worker that only loaded the file is gone")
    assert status["generation"] == 2 and not status["reloading"]
    assert {worker["generation"] for worker in status["workers"] if worker["pid"] in workers} == {2}


def test_connections_outlive_the_change(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/tunnel", upgrade_echo)
    with gateway.client() as tunnel, gateway.client() as kept:
        tunnel.send(b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert tunnel.response().status == 101
        assert kept.get("/version").text == "first"
        for number in range(3):
            gateway.write(described(origin, f"change {number}", timeouts={"drain": "1ms"}))
            assert gateway.ask("reload")["in_place"]
            assert kept.get("/version").text == f"change {number}"
        tunnel.send(b"still here")
        assert tunnel.read_exactly(10) == b"still here"


def test_request_in_flight_keeps_the_configuration_it_began_with(
    gateway: RunningGateway, origin: Origin
) -> None:
    with gateway.client() as client:
        client.send(format_request("POST", "/upload", [("Content-Length", "4")]))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        gateway.write(described(origin, limits={"max_body_bytes": 1}))
        assert gateway.ask("reload")["in_place"]
        client.send(b"body")
        assert client.response().status == 200
        client.send(format_request("POST", "/upload", body=b"body"))
        assert client.response().status == 413


def test_connections_to_servers_that_stay_are_kept(serve: Serve, origin: Origin) -> None:
    gateway = serve(described(origin))
    with gateway.client() as client:
        client.get("/one")
        gateway.write(described(origin, "second"))
        assert gateway.ask("reload")["in_place"]
        client.get("/two")
    assert origin.wait_for("/one").connection_number == origin.wait_for("/two").connection_number


def test_broken_file_changes_nothing(gateway: RunningGateway, origin: Origin) -> None:
    gateway.write(described(origin, "second", limts={}))
    response = gateway.ask("reload")
    assert not response["ok"] and "limits" in response["error"]
    assert gateway.get("/version").text == "first"
    assert gateway.ask()["generation"] == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"access_log": "{clnt}"}, "no field `clnt`"),
        ({"tls_routes": [{"host": "~[", "to": "api"}]}, "unterminated"),
        ({"routes": [{"path": "~^(?>a)", "to": "api"}]}, "unrecognized flag"),
    ],
)
def test_what_only_the_engine_finds_is_told_with_file_and_line(
    gateway: RunningGateway, origin: Origin, wrong: dict[str, Any], told: str
) -> None:
    gateway.write({**described(origin), **wrong})
    response = gateway.ask("reload")
    assert not response["ok"] and told in response["error"], response
    assert re.match(r"[^\n]*/gate\.json:\d+: ", response["error"]), response
    assert "hint: " in response["error"]
    assert gateway.get("/version").text == "first"


def test_listeners_come_and_go_in_place(gateway: RunningGateway, origin: Origin) -> None:
    workers, another = gateway.workers, f"127.0.0.1:{free_port()}"
    gateway.write({**described(origin, "second"), "listeners": [gateway.address, another]})
    assert gateway.ask("reload")["in_place"]
    assert [fetch(another, "/version").text for _ in range(10)] == ["second"] * 10
    with RawClient(another) as kept, gateway.client() as other:
        assert kept.get("/version").text == other.get("/version").text == "second"
        gateway.write(described(origin, "third"))
        assert gateway.ask("reload")["in_place"]
        assert gateway.ask()["listeners"] == [gateway.address]
        # the connection of the listener that is gone ends after its response, others go on
        assert kept.get("/version").get("connection") == "close"
        assert kept.is_closed()
        assert other.get("/version").text == "third"
    with pytest.raises(OSError):
        fetch(another, "/version")
    gateway.write({**described(origin, "fourth"), "listeners": [gateway.address, another]})
    assert gateway.ask("reload")["in_place"]
    assert fetch(another, "/version").text == "fourth"
    assert gateway.workers == workers


def test_listener_that_cannot_be_bound_changes_nothing(gateway: RunningGateway, origin: Origin) -> None:
    workers = gateway.workers
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway.write({**described(origin, "second"), "listeners": [gateway.address, address]})
        response = gateway.ask("reload")
        assert not response["ok"] and address in response["error"]
    assert gateway.get("/version").text == "first"
    assert gateway.workers == workers


def test_worker_started_later_has_the_change_too(gateway: RunningGateway, origin: Origin) -> None:
    gateway.write(described(origin, "second"))
    assert gateway.ask("reload")["in_place"]
    victims = gateway.workers
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    eventually(
        lambda: len(gateway.workers) == 2 and not set(gateway.workers) & set(victims), "all are replaced"
    )
    assert gateway.get("/version").text == "second"
