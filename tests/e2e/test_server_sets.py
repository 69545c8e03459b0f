"""Servers that come and go with a reload: what is new starts slowly, what stays keeps its connections."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.http2_server import Http2Server, Stream


@pytest.fixture
def trio() -> Iterator[list[Origin]]:
    """Three servers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(3)]


def source(servers: list[Origin], **upstream: object) -> dict[str, Any]:
    return {
        "upstreams": {"u": {"servers": [one.address for one in servers], **upstream}},
        "routes": [{"to": "u"}],
    }


def asked(gateway: RunningGateway, count: int) -> Counter[str]:
    """Who responds to so many requests."""
    with gateway.client() as client:
        return Counter(client.get("/who").json()["origin"] for _ in range(count))


def test_server_that_a_reload_adds_starts_slowly(serve: Serve, trio: list[Origin]) -> None:
    gateway = serve(source(trio[:2], slow_start="10m"))
    assert asked(gateway, 60) == {trio[0].address: 30, trio[1].address: 30}, "the first ones do not"
    gateway.write(source(trio, slow_start="10m"))
    assert gateway.ask("reload")["in_place"]
    shares = asked(gateway, 300)
    assert 0 < shares[trio[2].address] < 40, "a tenth of its share at first"
    gateway.write(source(trio, slow_start="10m", retries=0))
    assert gateway.ask("reload")["in_place"]
    assert 0 < asked(gateway, 300)[trio[2].address] < 40, "other changes do not end that"


def test_servers_that_stay_keep_their_connections_and_those_that_go_lose_them(
    serve: Serve, trio: list[Origin]
) -> None:
    gateway = serve(source(trio[:2]))
    asked(gateway, 10)
    gateway.write(source(trio[1:], balance="least_conn", timeouts={"connect": "2s"}))
    assert gateway.ask("reload")["in_place"]
    asked(gateway, 10)
    assert trio[1].connection_count == 1, "one connection carries all, before and after"
    eventually(lambda: not trio[0].open_connections, "the connection to the server that is gone is closed")
    gateway.write(source(trio[1:], proxy_protocol="v1"))
    assert gateway.ask("reload")["in_place"]
    eventually(lambda: not trio[1].open_connections, "connections of another kind are not used any more")


def test_server_that_is_skipped_stays_so_when_another_one_is_added(serve: Serve, trio: list[Origin]) -> None:
    limits = {"retries": 0, "balance": "first"}
    first = {"servers": [f"{trio[0].address} fail_timeout=10m", f"{trio[1].address} fail_timeout=10m"]}
    gateway = serve({"upstreams": {"u": {**first, **limits}}, "routes": [{"to": "u"}]})
    trio[0].on("/reset", lambda call: call.reset())
    assert gateway.get("/reset").status == 502
    assert set(asked(gateway, 4)) == {trio[1].address}
    first["servers"].append(trio[2].address)
    gateway.write({"upstreams": {"u": {**first, **limits}}, "routes": [{"to": "u"}]})
    assert gateway.ask("reload")["in_place"]
    assert set(asked(gateway, 4)) == {trio[1].address}


def test_connections_become_no_older_than_they_may(serve: Serve, trio: list[Origin]) -> None:
    gateway = serve(source(trio[:1], keepalive={"max_age": "400ms"}), workers=1)
    with gateway.client() as client:
        first = trio[0].connection_count
        client.get("/who")
        eventually(
            lambda: client.get("/who").status == 200 and trio[0].connection_count > first + 2,
            "connections that are in use are replaced",
        )
        eventually(lambda: not trio[0].open_connections, "one that is idle is closed, long before it need be")
        assert {client.get("/who").status for _ in range(20)} == {200}
    assert gateway.counter("upstream_failures") == 0
    assert gateway.counter("upstream_reuses") > 0


def test_connections_of_http2_become_no_older_than_they_may(serve: Serve) -> None:
    with Http2Server(Stream.respond) as server:
        gateway = serve(
            {
                "upstreams": {
                    "u": {"servers": server.address, "protocol": "h2", "keepalive": {"max_age": "400ms"}}
                },
                "routes": [{"to": "u"}],
            },
            workers=1,
        )
        with gateway.client() as client:
            eventually(
                lambda: client.get("/").status == 200 and len(server.connections) > 2,
                "the connection is replaced while it is in use",
            )
        assert gateway.counter("upstream_failures") == 0
