"""`drain_timeout`: what is under way at a server that was removed goes on, but not for ever."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import hang, reply, upgrade_echo
from e2e.kit.client import format_request
from e2e.kit.streams import StreamServer, echo
from e2e.kit.websocket import CLOSE, TEXT, RawWebSocket, WebSocketServer, close_frame, frame

UPGRADE = b"GET /echo HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

SHORT = "300ms"
LONG = "10m"


@pytest.fixture
def other() -> Iterator[Origin]:
    with Origin() as made:
        yield made


def source(*servers: str, drain: str = SHORT, **more: Any) -> dict[str, Any]:
    upstream = {"servers": list(servers), "drain_timeout": drain, "balance": "first"}
    return {
        "upstreams": {"u": upstream},
        "routes": [{"path": "/*", "to": "u"}],
        "access_log": {"flush": "50ms"},
        **more,
    }


def change(gateway: RunningGateway, whole: dict[str, Any]) -> None:
    gateway.write(whole)
    assert gateway.ask("reload")["in_place"]


def in_pieces(release: threading.Event) -> Any:
    """A body that goes on, piece by piece, until it is let end."""

    def behaviour(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while not release.wait(0.05):
                call.send(b"1\r\nx\r\n")
            call.send(b"0\r\n\r\n")

    return behaviour


def test_response_that_goes_on_is_cut_and_counted_and_logged(
    serve: Serve, origin: Origin, other: Origin
) -> None:
    release = threading.Event()
    origin.on("/long", in_pieces(release))
    gateway = serve(source(origin.address, drain=LONG), workers=1)
    with gateway.client(timeout=20) as client:
        client.send(format_request("GET", "/long"))
        client.head()
        change(gateway, source(origin.address, other.address, drain=LONG))
        change(gateway, source(origin.address, other.address))
        assert gateway.counter("timeout_server_drain") == 0
        change(gateway, source(other.address))
        assert b"0\r\n\r\n" not in client.read_to_end(), "a response that is cut does not look complete"
    record = gateway.access_record(target="/long")
    assert (record["error"], record["limit"]) == ("server_removed", "drain_timeout")
    assert gateway.counter("timeout_server_drain") == 1
    gateway.wait_for_log(
        rf"what was under way at a server that was removed is ended.*{origin.address}.*ended=1"
    )
    assert gateway.get("/who").status == 200
    release.set()


def test_response_that_ends_in_time_is_whole(serve: Serve, origin: Origin, other: Origin) -> None:
    release = threading.Event()
    origin.on("/long", in_pieces(release))
    gateway = serve(source(origin.address, drain=LONG), workers=1)
    with gateway.client(timeout=20) as client:
        client.send(format_request("GET", "/long"))
        client.head()
        change(gateway, source(other.address, drain=LONG))
        release.set()
        assert client.read_until(b"0\r\n\r\n")
        assert client.get("/who").json()["origin"] == other.address, "the client's connection goes on"
    assert gateway.counter("timeout_server_drain") == 0
    eventually(lambda: not origin.open_connections, "the server's is not kept")


def test_server_that_comes_back_in_time_keeps_what_it_has(
    serve: Serve, origin: Origin, other: Origin
) -> None:
    for one in (origin, other):
        one.on("/echo", upgrade_echo)
    gateway = serve(source(origin.address, drain="20s"), workers=1)
    with gateway.client(timeout=60) as client, gateway.client(timeout=60) as witness:
        client.send(UPGRADE)
        assert client.response().status == 101
        change(gateway, source(other.address, drain="20s"))
        witness.send(UPGRADE)
        assert witness.response().status == 101
        change(
            gateway, source(origin.address, drain="20s")
        )  # the first is back, and the other one leaves after it
        assert witness.is_closed(within=60), "its time is over, and that of the first would have been before"
        client.send(b"still here")
        assert client.read_exactly(10) == b"still here"
    assert gateway.counter("timeout_server_drain") == 1


def test_request_that_waits_for_its_response_goes_to_another_server(
    serve: Serve, origin: Origin, other: Origin
) -> None:
    origin.on("/wait", hang)
    other.on("/wait", reply(b"other"))
    gateway = serve(source(origin.address, other.address), workers=1)
    with gateway.client(timeout=20) as client:
        client.send(format_request("GET", "/wait"))
        origin.wait_for("/wait")
        change(gateway, source(other.address))
        assert client.response().body == b"other"
    with gateway.client(timeout=20) as client:
        change(gateway, source(origin.address, other.address))
        client.send(format_request("POST", "/wait"))
        eventually(lambda: len(origin.at("/wait")) == 2, "the request is there")
        change(gateway, source(other.address))
        assert client.response("POST").status == 503, "what may have been done is not done twice"
    assert gateway.counter("timeout_server_drain") == 2


def test_upgraded_connection_is_ended(serve: Serve, origin: Origin, other: Origin) -> None:
    origin.on("/echo", upgrade_echo)
    gateway = serve(source(origin.address), workers=1)
    with gateway.client(timeout=20) as client:
        client.send(UPGRADE)
        assert client.response().status == 101
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
        change(gateway, source(other.address))
        assert client.is_closed(within=10)
    assert gateway.access_record(target="/echo")["limit"] == "drain_timeout"
    eventually(lambda: not origin.open_connections, "so is the server's")


HOOKED = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
u = gate.upstream("u", SERVER, drain_timeout="300ms")
ws = gate.route("/ws", to=u)

@ws.websocket_message
def look(request, message):
    return message.data
"""


def test_websocket_is_closed_properly_on_both_sides(serve: Serve, tmp_path: Path) -> None:
    listed = tmp_path / "servers.txt"
    with WebSocketServer() as server, Origin() as other:
        listed.write_text(server.address)
        gateway = serve(HOOKED, names={"SERVER": f"file:{listed}"}, workers=1)
        with RawWebSocket(gateway.address) as client:
            client.socket.sendall(frame(TEXT, b"hello"))
            assert client.frame().payload == b"hello"
            listed.write_text(other.address)
            closed = client.frame()
            assert (closed.opcode, closed.code) == (CLOSE, 1001)
            client.socket.sendall(close_frame(1001))
        eventually(lambda: [code for code, _ in server.closes] == [1001], "the server is told so too")
    assert gateway.counter("timeout_server_drain") == 1


def test_connection_of_tcp_is_ended(serve: Serve) -> None:
    port = free_port()

    def whole(server: str) -> dict[str, Any]:
        upstream = {"servers": server, "drain_timeout": SHORT}
        return {
            "upstreams": {"u": upstream},
            "tcp": [{"address": f"127.0.0.1:{port}", "to": "u"}],
            "routes": [{"path": "/", "respond": "here"}],
            "access_log": {"flush": "50ms"},
        }

    with StreamServer(echo) as one, StreamServer(echo) as another:
        gateway = serve(whole(one.address), workers=1)
        with RawClient(f"127.0.0.1:{port}", timeout=20) as client:
            client.send(b"hello")
            assert client.read_exactly(5) == b"hello"
            change(gateway, whole(another.address))
            assert client.is_closed(within=10)
        record = gateway.access_record(version="TCP")
        assert (record["error"], record["limit"]) == ("timeout", "drain_timeout")
        with RawClient(f"127.0.0.1:{port}") as client:
            client.send(b"again")
            assert client.read_exactly(5) == b"again"
