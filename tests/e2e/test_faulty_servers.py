"""Servers that fail at each stage: what the client gets, under which one name it is counted, and that others go on."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import hang, raw
from e2e.kit.cuttable import CuttableProxy
from e2e.kit.metrics import scrape
from e2e.kit.streams import StreamServer

OK = b"HTTP/1.1 200 OK\r\n"
STAGES = {
    "reset before a byte": (raw(then="reset"), 502),
    "close before a byte": (raw(then="close"), 502),
    "hang before a byte": (hang, 504),
    "reset in the head": (raw(OK + b"X-A: 1", then="reset"), 502),
    "close in the head": (raw(OK + b"X-A: 1", then="close"), 502),
    "close in the status line": (raw(b"HTTP/1.", then="close"), 502),
    "garbage": (raw(b"\x00\x01\x02 what?\r\n\r\n", then="close"), 502),
}
"""What a server does, and the status that the client gets."""


@pytest.fixture(scope="module")
def metrics() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, metrics: str) -> RunningGateway:
    upstream = {"servers": f"{origin.address} max_fails=0", "retries": 0}
    return serve_module(
        {
            "upstreams": {"u": upstream},
            "routes": [{"to": "u"}],
            "metrics": {"listen": metrics},
            "timeouts": {"upstream_head": "500ms", "upstream_idle": "500ms"},
        }
    )


def failures(gateway: RunningGateway, metrics: str) -> Counter[tuple[str, str]]:
    """Requests that failed, by kind and who was at fault."""
    found: Counter[tuple[str, str]] = Counter()
    for one in scrape(gateway, metrics).all("headgate_failures_total"):
        found[one.labels["kind"], one.labels["source"]] += int(one.value)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_server_that_fails_before_its_response_is_one_failure_of_one_name(
    gateway: RunningGateway, origin: Origin, metrics: str, stage: str
) -> None:
    behaviour, status = STAGES[stage]
    before = failures(gateway, metrics)
    origin.on("/fails", behaviour)
    assert gateway.get("/fails").status == status
    eventually(lambda: failures(gateway, metrics) != before, "it is counted")
    (name,) = failures(gateway, metrics) - before
    assert (failures(gateway, metrics) - before).total() == 1
    assert name[1] == "upstream", name
    assert gateway.get("/after").status == 200


def test_a_response_that_comes_byte_by_byte_is_whole(gateway: RunningGateway, origin: Origin) -> None:
    message = OK + b"Content-Length: 5\r\nX-A: 1\r\n\r\nhello"
    origin.on("/drip", raw(*(message[n : n + 1] for n in range(len(message)))))
    response = gateway.get("/drip")
    assert (response.status, response.get("x-a"), response.body) == (200, "1", b"hello")


def test_a_chunked_response_that_comes_byte_by_byte_is_whole(gateway: RunningGateway, origin: Origin) -> None:
    message = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    origin.on("/drip-chunked", raw(*(message[n : n + 1] for n in range(len(message)))))
    assert gateway.get("/drip-chunked").body == b"hello!"


def test_a_length_that_promises_too_much_cuts_the_client(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/more", raw(OK + b"Content-Length: 10\r\n\r\nhello", then="close"))
    with RawClient(gateway.address) as client:
        client.send(b"GET /more HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.head().get("content-length") == "10"
        assert client.read_to_end() == b"hello"


def test_bytes_past_the_length_reach_no_client(gateway: RunningGateway, origin: Origin) -> None:
    smuggled = OK + b"Content-Length: 4\r\n\r\nevil"
    origin.on("/less", raw(OK + b"Content-Length: 5\r\n\r\nhello" + smuggled))
    with RawClient(gateway.address) as client:
        assert client.get("/less").body == b"hello"
        for _ in range(3):
            assert b"evil" not in client.get("/next").body


def test_a_server_that_ends_its_sending_side_has_responded_all_the_same(
    gateway: RunningGateway, origin: Origin
) -> None:
    import socket

    def half_close(call: Call) -> None:
        call.send(OK + b"Content-Length: 5\r\n\r\nhello")
        call.socket.shutdown(socket.SHUT_WR)
        call.hang()

    origin.on("/half", half_close)
    assert [gateway.get("/half").body for _ in range(3)] == [b"hello"] * 3


# ---- many servers


class Load:
    """Clients that ask without a pause, until they are stopped."""

    def __init__(self, gateway: RunningGateway, method: str, clients: int = 4) -> None:
        self._gateway, self._method = gateway, method
        self.statuses: Counter[int] = Counter()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Waits for so many more responses."""
        wanted = self.statuses.total() + more
        eventually(lambda: self.statuses.total() >= wanted, lambda: f"{self.statuses}", within=40)

    def _ask(self) -> None:
        with RawClient(self._gateway.address, timeout=30) as client:
            while not self._is_over.is_set():
                body = b"x" if self._method == "POST" else None
                status = client.request(self._method, "/", body=body).status
                with self._lock:
                    self.statuses[status] += 1


@pytest.fixture
def six() -> Iterator[list[Origin]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(6)]


def over(serve: Serve, servers: list[str], **upstream: Any) -> RunningGateway:
    return serve(
        {
            "upstreams": {"u": {"servers": servers, "retries": 3, **upstream}},
            "routes": [{"to": "u"}],
            "timeouts": {"upstream_head": "5s"},
        }
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_half_of_the_servers_killed_under_load_fail_at_most_what_was_under_way(
    serve: Serve, method: str
) -> None:
    with contextlib.ExitStack() as stack:
        origins = [stack.enter_context(Origin()) for _ in range(6)]
        proxies = [
            stack.enter_context(CuttableProxy(("127.0.0.1", int(one.address.rpartition(":")[2]))))
            for one in origins
        ]
        gateway = over(serve, [f"127.0.0.1:{one.port}" for one in proxies])
        with Load(gateway, method) as load:
            load.wait_for(100)
            for proxy in proxies[:3]:
                proxy.cut()
            load.wait_for(200)
        failed = load.statuses.total() - load.statuses[200]
        # those that were cut while one of the four clients' requests was on them
        assert failed <= (0 if method == "GET" else 4 * 3), load.statuses
        for proxy in proxies[:3]:
            assert proxy.accepted < 100, "a dead server is not asked for each request"


def test_servers_that_flap_fail_no_idempotent_request(serve: Serve, six: list[Origin]) -> None:
    with contextlib.ExitStack() as stack:
        proxies = [
            stack.enter_context(CuttableProxy(("127.0.0.1", int(one.address.rpartition(":")[2]))))
            for one in six[:2]
        ]
        servers = [f"127.0.0.1:{one.port} fail_timeout=50ms" for one in proxies]
        gateway = over(serve, [*servers, *(one.address for one in six[2:4])])
        with Load(gateway, "GET") as load:
            for _ in range(10):
                for proxy in proxies:
                    proxy.cut()
                load.wait_for(20)
                for proxy in proxies:
                    proxy.is_cut = False
                load.wait_for(20)
        assert set(load.statuses) == {200}


def test_a_server_that_is_back_is_used_again_within_its_fail_timeout(serve: Serve, six: list[Origin]) -> None:
    with CuttableProxy(("127.0.0.1", int(six[0].address.rpartition(":")[2]))) as proxy:
        gateway = over(serve, [f"127.0.0.1:{proxy.port} fail_timeout=1s", six[1].address])
        proxy.cut()
        assert {gateway.get("/down").status for _ in range(6)} == {200}
        assert not six[0].at("/down")
        proxy.is_cut = False
        began = time.monotonic()
        eventually(lambda: gateway.get("/up").status == 200 and six[0].at("/up"), "it serves again")
        assert time.monotonic() - began < 10  # it would be 10 s by default


def test_a_partition_fails_only_what_was_under_way_and_waits_no_longer_than_is_set(
    serve: Serve, six: list[Origin]
) -> None:
    with CuttableProxy(("127.0.0.1", int(six[0].address.rpartition(":")[2]))) as proxy:
        gateway = serve(
            {
                "upstreams": {"u": {"servers": [f"127.0.0.1:{proxy.port}", six[1].address], "retries": 2}},
                "routes": [{"to": "u"}],
                "timeouts": {"upstream_head": "300ms"},
            }
        )
        assert {gateway.get("/before").status for _ in range(4)} == {200}
        proxy.swallow()
        assert {gateway.get("/during").status for _ in range(10)} <= {200, 504}
        eventually(
            lambda: {gateway.get("/then").status for _ in range(5)} == {200}, "the other one serves alone"
        )


def test_a_port_that_accepts_and_says_nothing_holds_no_other_request(serve: Serve, six: list[Origin]) -> None:
    held = threading.Event()
    with StreamServer(lambda _: (held.wait(30), None)[1]) as silent:
        gateway = serve(
            {
                "upstreams": {"silent": silent.address, "u": six[0].address},
                "routes": [{"path": "/silent", "to": "silent"}, {"path": "/*", "to": "u"}],
                "timeouts": {"upstream_head": "1s"},
            }
        )
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(RawClient(gateway.address))
                client.send(b"GET /silent HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            assert {gateway.get("/other").status for _ in range(20)} == {200}
            assert client.head().status == 504
        held.set()
