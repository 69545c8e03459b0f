"""A faulty network between the gateway and its servers, by Toxiproxy (`make services` builds it)."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, eventually, toxic
from e2e.kit.toxic import Link, Network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(toxic.program() is None, reason="no Toxiproxy here; `make services` builds it"),
]


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def pair() -> Iterator[list[Origin]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(2)]


def over(serve: Serve, links: list[Link], **more: Any) -> RunningGateway:
    servers = [f"{link.address} fail_timeout=300ms" for link in links]
    return serve({"upstreams": {"u": {"servers": servers, "retries": 2}}, "routes": [{"to": "u"}], **more})


def statuses(gateway: RunningGateway, path: str, count: int = 20) -> Counter[int]:
    with RawClient(gateway.address, timeout=30) as client:
        return Counter(client.get(path).status for _ in range(count))


def test_latency_and_small_pieces_change_no_byte(serve: Serve, network: Network, pair: list[Origin]) -> None:
    body = os.urandom(200_000)
    link = network.link(pair[0].address)
    pair[0].on("/echo", lambda call: call.respond(call.read_body()))
    gateway = over(serve, [link])
    for stream in ("upstream", "downstream"):
        link.suffer("latency", stream=stream, latency=30, jitter=20)
        with RawClient(gateway.address, timeout=30) as client:
            assert client.request("POST", "/echo", body=body).body == body
        link.heal("latency")
        link.suffer("slicer", stream=stream, average_size=700, size_variation=600, delay=10)
        with RawClient(gateway.address, timeout=30) as client:
            assert client.request("POST", "/echo", body=body).body == body
        link.heal("slicer")


def test_connections_that_are_reset_fail_no_idempotent_request(
    serve: Serve, network: Network, pair: list[Origin]
) -> None:
    links = [network.link(one.address) for one in pair]
    gateway = over(serve, links)
    links[0].suffer("reset_peer", timeout=0)
    assert statuses(gateway, "/reset") == {200: 20}
    assert pair[1].at("/reset")
    links[0].heal("reset_peer")
    eventually(lambda: gateway.get("/well").status == 200 and pair[0].at("/well"), "it is used again")


def test_a_partition_is_left_and_found_again(serve: Serve, network: Network, pair: list[Origin]) -> None:
    links = [network.link(one.address) for one in pair]
    gateway = over(serve, links, timeouts={"upstream_head": "300ms", "connect": "300ms"})
    assert statuses(gateway, "/before") == {200: 20}
    links[0].suffer("timeout", timeout=0)  # what the server says is lost, and no connection ends
    during = statuses(gateway, "/during")
    assert set(during) <= {200, 504} and during[200] >= 10
    links[0].heal("timeout")
    eventually(lambda: gateway.get("/after").status == 200 and pair[0].at("/after"), "it is used again")
    eventually(lambda: statuses(gateway, "/then", 5) == {200: 5}, "nothing fails any more")


def test_a_server_that_is_cut_off_is_left_and_found_again(
    serve: Serve, network: Network, pair: list[Origin]
) -> None:
    links = [network.link(one.address) for one in pair]
    gateway = over(serve, links)
    assert statuses(gateway, "/before") == {200: 20}
    links[0].cut()
    assert statuses(gateway, "/during") == {200: 20}
    assert not pair[0].at("/during")
    links[0].cut(is_cut=False)
    eventually(lambda: gateway.get("/after").status == 200 and pair[0].at("/after"), "it is used again")


def test_a_body_that_the_network_cuts_never_looks_complete(
    serve: Serve, network: Network, pair: list[Origin]
) -> None:
    link = network.link(pair[0].address)
    pair[0].on("/big", lambda call: call.respond(bytes(500_000)))
    gateway = over(serve, [link])
    link.suffer("limit_data", bytes=100_000)
    with RawClient(gateway.address) as client:
        client.send(b"GET /big HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.head().get("content-length") == "500000"
        assert len(client.read_to_end()) < 500_000
