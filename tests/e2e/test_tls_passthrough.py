"""TLS carried on by its server name, without being decrypted; HTTP by Host beside it."""

import socket
import struct
from collections.abc import Iterator

import pytest
from e2e.kit import RawClient, RunningGateway, Serve, free_port
from e2e.kit.client import format_request
from e2e.kit.streams import StreamServer, client_hello

GATE = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json", to="file:" + FOLDER + "/access.log")
gate.timeouts(tls_handshake="300ms")
gate.limits(max_client_hello_bytes=1024)

backends = {"one.example": ONE, "*.two.example": TWO}
for host, backend in backends.items():
    gate.route("/", host=host, respond=f"http {host}")
    gate.tls_route(host, to=backend)

gate.listen(BOTH, tls_passthrough=True, name="both")
gate.listen_tcp(ONLY, tls_passthrough=True, name="only")
gate.listen_tcp(FALLBACK, to=TWO, tls_passthrough=True)

@gate.client_hello
async def by_hook(connection):
    if connection.server_name == "hook.example":
        connection.upstream = ONE
    if connection.server_name == "refused.example":
        connection.refuse("not here")
    if "imap" in connection.alpn:
        connection.upstream = TWO
"""


ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"


def named(name: bytes) -> Iterator[StreamServer]:
    def serve(connection: socket.socket) -> None:
        head = connection.recv(5)
        size = struct.unpack(">H", head[3:])[0]
        body = b""
        while len(body) < size:
            body += connection.recv(size - len(body))
        connection.sendall(name + head + body)

    with StreamServer(serve) as server:
        yield server


@pytest.fixture(scope="module")
def one() -> Iterator[StreamServer]:
    yield from named(b"one:")


@pytest.fixture(scope="module")
def two() -> Iterator[StreamServer]:
    yield from named(b"two:")


@pytest.fixture(scope="module")
def names(one: StreamServer, two: StreamServer) -> dict[str, str]:
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("BOTH", "ONLY", "FALLBACK")}
    return {**ports, "ONE": one.address, "TWO": two.address}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, str]) -> RunningGateway:
    return serve_module(GATE, names=names)


def response(address: str, hello: bytes) -> bytes:
    with RawClient(address) as client:
        client.send(hello)
        return client.read_to_end()


@pytest.mark.parametrize(("name", "server"), [("one.example", b"one:"), ("a.two.example", b"two:")])
@pytest.mark.parametrize("listener", ["BOTH", "ONLY"])
def test_name_leads_to_its_server_and_bytes_arrive_unchanged(
    gateway: RunningGateway, names: dict[str, str], listener: str, name: str, server: bytes
) -> None:
    hello = client_hello(name)
    assert response(names[listener], hello) == server + hello
    record = gateway.access_record(gateway.folder / "access.log", host=name)
    assert record["version"] == "TCP"


def test_hello_in_many_pieces_is_awaited(gateway: RunningGateway, names: dict[str, str]) -> None:
    hello = client_hello("one.example")
    with RawClient(names["ONLY"]) as client:
        for at in range(0, len(hello), 50):
            client.send(hello[at : at + 50])
        assert client.read_to_end() == b"one:" + hello


def test_http_of_the_same_hosts_is_served_on_the_same_port(
    gateway: RunningGateway, names: dict[str, str]
) -> None:
    with RawClient(names["BOTH"]) as client:
        assert client.get("/", host="one.example").text == "http one.example"
        assert client.get("/", host="b.two.example").text == "http *.two.example"


@pytest.mark.parametrize("listener", ["BOTH", "ONLY"])
def test_unknown_name_gets_an_alert(gateway: RunningGateway, names: dict[str, str], listener: str) -> None:
    assert response(names[listener], client_hello("nobody.example")) == b"\x15\x03\x03\x00\x02\x02\x70"
    gateway.access_record(gateway.folder / "access.log", error="no_route")


def test_rest_goes_where_the_listener_says(gateway: RunningGateway, names: dict[str, str]) -> None:
    assert response(names["FALLBACK"], client_hello("nobody.example")).startswith(b"two:")
    assert response(names["FALLBACK"], client_hello(None)).startswith(b"two:")
    plain = b"\x00\x01\x02\x00\x02no"
    assert response(names["FALLBACK"], plain) == b"two:" + plain


def test_hook_chooses_by_name_and_protocol(gateway: RunningGateway, names: dict[str, str]) -> None:
    assert response(names["ONLY"], client_hello("hook.example")).startswith(b"one:")
    assert response(names["ONLY"], client_hello("x.example", ["imap"])).startswith(b"two:")
    assert response(names["ONLY"], client_hello("refused.example")) == ACCESS_DENIED
    gateway.access_record(gateway.folder / "access.log", error="refused_by_hook")


def test_large_hello_is_refused(gateway: RunningGateway, names: dict[str, str]) -> None:
    hello = client_hello("one.example", [f"protocol-{number}-{'x' * 100}" for number in range(20)])
    assert response(names["ONLY"], hello).startswith(b"\x15\x03\x03")
    record = gateway.access_record(gateway.folder / "access.log", error="client_hello_too_large")
    assert record["limit"] == "limits.max_client_hello_bytes"
    assert gateway.counter("limit_client_hello") >= 1


def test_malformed_hello_is_refused(gateway: RunningGateway, names: dict[str, str]) -> None:
    hello = bytearray(client_hello("one.example"))
    hello[43] = 200  # the length of the session id
    assert response(names["ONLY"], bytes(hello)).startswith(b"\x15\x03\x03")
    gateway.access_record(gateway.folder / "access.log", error="bad_client_hello")


def test_hello_that_does_not_come_is_not_awaited_for_ever(
    gateway: RunningGateway, names: dict[str, str]
) -> None:
    with RawClient(names["ONLY"]) as client:
        client.send(client_hello("one.example")[:20])
        assert client.is_closed()
    gateway.access_record(gateway.folder / "access.log", limit="timeouts.tls_handshake")


def test_http_that_looks_like_tls_is_no_way_in(gateway: RunningGateway, names: dict[str, str]) -> None:
    assert b"400" in response(names["BOTH"], b"\x17" + format_request("GET", "/"))
