"""Bandwidth limits of routes: bytes never come faster than allowed, whatever carries them."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import chunked, digest, reply
from e2e.kit.http2 import Http2Client

RATE = 200 << 10
BODY = bytes(range(256)) * (RATE * 3 // 2 // 256)
"""What takes a second and a half, or a tenth less, since a transfer may run ahead by that."""
LEAST_S = 1.3
WHOLE = {"down": f"{RATE}/s"}


@contextlib.contextmanager
def takes(least: float, most: float = 60.0) -> Iterator[None]:
    """Fails for what is done sooner than bytes may move; the upper bound is only for what must not be limited."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert least <= took <= most


def limited(
    serve: Serve, origin: Origin, *limits: dict[str, Any], workers: int = 1, **more: Any
) -> RunningGateway:
    """A gateway with a route that is limited, and one that is not."""
    routes = [
        {"path": "/free", "to": origin.address},
        {"path": "/*", "to": origin.address, "bandwidth": list(limits)},
    ]
    return serve({"routes": routes, **more}, workers=workers)


@pytest.mark.parametrize("path", ["/length", "/chunks"])
def test_response_goes_no_faster_than_its_route_allows(serve: Serve, origin: Origin, path: str) -> None:
    origin.on("/length", reply(BODY))
    origin.on("/chunks", chunked([BODY[at : at + 10_000] for at in range(0, len(BODY), 10_000)]))
    gateway = limited(serve, origin, WHOLE)
    with gateway.client() as client:
        for _ in range(2):
            with takes(LEAST_S):
                assert client.get(path).body == BODY
        # the limit ends with its request
        origin.on("/free", reply(BODY * 10))
        with takes(0, 10):
            assert client.get("/free").body == BODY * 10


def test_streams_of_a_connection_of_http2_share_its_bandwidth(serve: Serve, origin: Origin) -> None:
    half = BODY[: len(BODY) // 2]
    origin.on("/half", reply(half))
    gateway = limited(serve, origin, {**WHOLE, "per": "connection"})
    with Http2Client(gateway.address) as client, takes(LEAST_S):
        streams = [client.request("/half") for _ in range(2)]
        assert [client.response(stream).body for stream in streams] == [half, half]
    with gateway.client() as plain, takes(LEAST_S):
        assert [plain.get("/half").body for _ in range(2)] == [half, half]


def test_request_over_http2_is_limited_by_itself(serve: Serve, origin: Origin) -> None:
    origin.on("/whole", reply(BODY))
    gateway = limited(serve, origin, WHOLE)
    with Http2Client(gateway.address) as client, takes(LEAST_S):
        assert client.get("/whole").body == BODY


def test_request_body_goes_no_faster_than_its_route_allows(serve: Serve, origin: Origin) -> None:
    origin.on("/digest", digest)
    gateway = limited(serve, origin, {"up": f"{RATE}/s"})
    with gateway.client() as client:
        with takes(LEAST_S):
            first = client.request("PUT", "/digest", body=BODY).text
        with takes(LEAST_S), Http2Client(gateway.address) as other:
            stream = other.request("/digest", method="PUT", body=BODY)
            assert other.response(stream).body.decode() == first


@pytest.mark.parametrize("per", ["client", "route"])
def test_clients_and_routes_share_their_bandwidth_over_all_workers(
    serve: Serve, origin: Origin, per: str
) -> None:
    part = BODY[: len(BODY) // 8]
    origin.on("/part", reply(part))
    gateway = limited(
        serve, origin, {**WHOLE, "per": per}, workers=2, trusted_proxies=["127.0.0.1"], forwarding={}
    )

    def get(number: int) -> bytes:
        address = "192.0.2.1" if per == "client" else f"192.0.2.{number}"
        return gateway.get("/part", [("x-forwarded-for", address)]).body

    # two workers that look at the same moment may both run ahead
    with ThreadPoolExecutor(8) as pool, takes(LEAST_S - 0.2):
        assert list(pool.map(get, range(8))) == [part] * 8


def test_clients_do_not_share_what_is_each_ones_own(serve: Serve, origin: Origin) -> None:
    part = BODY[: len(BODY) // 8]
    origin.on("/part", reply(part))
    rate = {"down": "1k/s", "per": "client"}
    gateway = limited(serve, origin, rate, trusted_proxies=["127.0.0.1"])
    with gateway.client() as slow:
        # this one will not end
        slow.send(b"GET /part HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
        assert slow.head().status == 200
        other = gateway.get("/echo", [("x-forwarded-for", "192.0.2.2")])
        assert other.status == 200


def test_slowest_of_several_limits_decides(serve: Serve, origin: Origin) -> None:
    origin.on("/whole", reply(BODY))
    gateway = limited(serve, origin, {"down": "1g/s", "per": "route"}, WHOLE)
    with takes(LEAST_S):
        assert gateway.get("/whole").body == BODY


def test_what_is_not_of_a_server_is_limited_too(
    serve: Serve, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    (folder / "whole.bin").write_bytes(BODY)
    text = BODY.hex()[: len(BODY)]
    routes = [
        {"path": "/files/*", "strip_prefix": "/files", "files": str(folder), "bandwidth": WHOLE},
        {"path": "/text", "respond": text, "bandwidth": WHOLE},
    ]
    gateway = serve({"routes": routes}, workers=1)
    with takes(LEAST_S):
        assert gateway.get("/files/whole.bin").body == BODY
    with takes(LEAST_S):
        assert gateway.get("/text").text == text


def test_limited_transfer_is_no_stalled_one(serve: Serve, origin: Origin) -> None:
    body = BODY[: 4 << 10]
    origin.on("/slow", reply(body))
    gateway = limited(serve, origin, {"down": "1k/s"}, timeouts={"send": "1s", "upstream_idle": "1s"})
    with takes(3.5):
        assert gateway.get("/slow").body == body
    assert gateway.counter("timeout_send") == gateway.counter("timeout_upstream_idle") == 0
