"""TCP listeners: bytes carried as they are, within limits, and seen by hooks."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.proxy_protocol import read_v2
from e2e.kit.streams import StreamServer, echo

GATE = """
import asyncio
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.route("/", respond="http")
gate.access_log("json", to="file:" + FOLDER + "/access.log")
gate.timeouts(connect="1s")
server = gate.upstream("echo", ECHO)
gate.upstream("half", DEAD, ECHO, retries=1)
gate.upstream("told", TOLD, proxy_protocol="v2")

gate.listen_tcp(PLAIN, to=server, name="plain")
gate.listen_tcp(HALF, to="half")
gate.listen_tcp(DOWN, to=DEAD, name="down")
gate.listen_tcp(PROXIED, to="told")
gate.listen_tcp(ONE, to=server, name="one", max_connections=1)
gate.listen_tcp(IDLE, to=server, name="idle", idle="200ms")
gate.listen_tcp(SHORT, to=server, name="short", lifetime="300ms")
upper = gate.listen_tcp(UPPER, to=server)
chosen = gate.listen_tcp(CHOSEN)
strict = gate.listen_tcp(STRICT, to=server, name="strict")

@upper.client_data
async def shout(connection, chunk):
    await asyncio.sleep(0)
    return chunk.upper()

@upper.server_data
def count(connection, chunk):
    connection.state.count = getattr(connection.state, "count", 0) + len(chunk)

@chosen.connect
async def choose(connection):
    connection.upstream = ECHO

@strict.client_data
def guard(connection, chunk):
    if b"DROP" in chunk:
        connection.refuse("no such thing")
    if b"raise" in chunk:
        1 / 0
"""
NAMES = ("PLAIN", "HALF", "DOWN", "PROXIED", "ONE", "IDLE", "SHORT", "UPPER", "CHOSEN", "STRICT")


def tell(connection: socket.socket) -> None:
    """Sends back what came, up to the first line break, header included."""
    data = b""
    while not data.endswith(b"end\n"):
        data += connection.recv(1 << 16)
    connection.sendall(data)


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, str]]:
    with StreamServer(echo) as server, StreamServer(tell) as told:
        names = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        yield {**names, "ECHO": server.address, "TOLD": told.address, "DEAD": f"127.0.0.1:{free_port()}"}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, str]) -> RunningGateway:
    return serve_module(GATE, names=names)


def log_of(gateway: RunningGateway) -> Path:
    return gateway.folder / "access.log"


def test_bytes_go_both_ways_and_each_side_ends_for_itself(
    gateway: RunningGateway, names: dict[str, str]
) -> None:
    with RawClient(names["PLAIN"]) as client:
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
        client.half_close()
        assert client.read_to_end() == b"bye"
    record = gateway.access_record(log_of(gateway), route="plain")
    assert (record["request_bytes"], record["response_bytes"]) == (5, 8)
    assert (record["upstream"], record["server"], record["version"]) == ("echo", names["ECHO"], "TCP")
    assert record["total_us"] >= record["connect_us"] > 0
    (step,) = record["steps"]
    assert (step["step"], step["attempt"]) == ("connect", 1)
    assert 0 <= step["begin_us"] <= step["begin_us"] + step["us"] <= record["total_us"]
    assert gateway.counter("tcp_connections") >= 1


def test_large_transfers_arrive_whole(gateway: RunningGateway, names: dict[str, str]) -> None:
    data = os.urandom(1 << 16) * 64  # 4 MB: beyond what is copied
    with RawClient(names["PLAIN"], timeout=30) as client:
        sender = threading.Thread(target=lambda: (client.send(data), client.half_close()))
        sender.start()
        back = client.read_to_end()
        sender.join()
    assert hashlib.sha256(back).digest() == hashlib.sha256(data + b"bye").digest()


def test_next_server_is_tried_when_one_refuses(gateway: RunningGateway, names: dict[str, str]) -> None:
    for _ in range(3):
        with RawClient(names["HALF"]) as client:
            client.send(b"x")
            assert client.read_exactly(1) == b"x"


def test_client_is_let_go_when_no_server_is_there(gateway: RunningGateway, names: dict[str, str]) -> None:
    with RawClient(names["DOWN"]) as client:
        assert client.is_closed()
    assert gateway.access_record(log_of(gateway), route="down")["error"] == "connect_failed"


def test_server_is_told_the_client(gateway: RunningGateway, names: dict[str, str]) -> None:
    with RawClient(names["PROXIED"]) as client:
        client.send(b"the end\n")
        header, rest = read_v2(client.read_to_end())
        assert header.source == client.socket.getsockname()
        assert header.destination == ("127.0.0.1", int(names["PROXIED"].rpartition(":")[2]))
    assert rest == b"the end\n"


def test_connections_of_a_listener_are_bounded(gateway: RunningGateway, names: dict[str, str]) -> None:
    with RawClient(names["ONE"]) as first, RawClient(names["ONE"]) as second:
        first.send(b"x")
        assert first.read_exactly(1) == b"x"
        assert second.is_closed()
        gateway.access_record(log_of(gateway), limit="listener.max_connections")

    def serves_again() -> bool:
        with RawClient(names["ONE"]) as client:
            client.send(b"y")
            return client.read_to_end() == b"y" if client.is_closed(0.1) else client.buffer == b"y"

    eventually(serves_again, "there is room again")


@pytest.mark.parametrize(("name", "limit"), [("IDLE", "listener.idle"), ("SHORT", "listener.lifetime")])
def test_silence_and_life_are_bounded(
    gateway: RunningGateway, names: dict[str, str], name: str, limit: str
) -> None:
    with RawClient(names[name]) as client:
        client.send(b"x")
        assert client.read_exactly(1) == b"x"
        assert client.is_closed()
    gateway.access_record(log_of(gateway), limit=limit)


def test_hooks_see_and_change_chunks(gateway: RunningGateway, names: dict[str, str]) -> None:
    with RawClient(names["UPPER"]) as client:
        client.send(b"quiet")
        assert client.read_exactly(5) == b"QUIET"
        client.send(b"z" * 300_000)
        assert client.read_exactly(300_000) == b"Z" * 300_000
        client.half_close()
        assert client.read_to_end() == b"bye"


def test_hook_chooses_a_server_by_its_address(gateway: RunningGateway, names: dict[str, str]) -> None:
    with RawClient(names["CHOSEN"]) as client:
        client.send(b"x")
        assert client.read_exactly(1) == b"x"


@pytest.mark.parametrize(("bad", "error"), [(b"DROP", "closed_by_hook"), (b"raise", "hook_failed")])
def test_hook_ends_a_connection(
    gateway: RunningGateway, names: dict[str, str], bad: bytes, error: str
) -> None:
    with RawClient(names["STRICT"]) as client:
        client.send(b"fine")
        assert client.read_exactly(4) == b"fine"
        client.send(bad)
        assert client.is_closed()
    gateway.access_record(log_of(gateway), error=error)


def test_long_connection_survives_a_reload_of_data(serve: Serve, names: dict[str, str]) -> None:
    tcp = f"127.0.0.1:{free_port()}"
    table = {"tcp": [{"address": tcp, "to": names["ECHO"]}], "routes": [{"respond": "one"}]}
    gateway = serve(table)
    with RawClient(tcp) as client:
        client.send(b"before")
        assert client.read_exactly(6) == b"before"
        gateway.write({**table, "routes": [{"respond": "two"}]})
        assert gateway.ask("reload")["in_place"]
        eventually(lambda: gateway.get("/").text == "two", "the new configuration is in force")
        client.send(b"after")
        assert client.read_exactly(5) == b"after"


def test_circuit_breaker_of_an_upstream_holds_for_connections(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    breaker = {"min_requests": 3, "open": "50s"}
    upstream = {"servers": f"127.0.0.1:{free_port()} max_fails=0", "circuit_breaker": breaker, "retries": 0}
    config = {
        "upstreams": {"u": upstream},
        "tcp": [{"address": address, "to": "u"}],
        "routes": [{"respond": "http"}],
        "access_log": {"flush": "50ms"},
    }
    gateway = serve(config, workers=1)
    for _ in range(5):
        with RawClient(address) as client:
            assert client.read_to_end() == b""
    eventually(lambda: gateway.counter("tcp_unserved") == 5, "all are let go")
    assert gateway.counter("circuits_opened") == 1 and gateway.counter("limit_circuit") == 2
    assert gateway.counter("upstream_connects") == 3, "the server is spared"
    eventually(lambda: gateway.access_record(error="circuit_open"), "the reason is in the access log")
