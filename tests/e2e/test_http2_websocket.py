"""WebSockets to servers that speak HTTP/2: extended CONNECT (RFC 8441), if the server takes it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.http2 import Http2Client
from e2e.kit.http2_server import Http2Server, Stream
from e2e.kit.net import connect as connect_socket
from e2e.kit.websocket import RawWebSocket
from websockets.asyncio.client import connect

CONNECT = [(":protocol", "websocket"), ("sec-websocket-version", "13")]


def front(serve: Serve, address: str, **settings: object) -> RunningGateway:
    """A gateway before a server that speaks HTTP/2."""
    servers = {"back": {"servers": [address], "protocol": "h2", "retries": 0}}
    return serve(
        {"upstreams": servers, "routes": [{"to": "back"}], "access_log": {"flush": "50ms"}, **settings}
    )


def echo(stream: Stream) -> None:
    """Takes WebSockets and sends their bytes back; responds 404 to the rest."""
    if stream.get(":protocol") is None:
        return stream.respond(b"plain")
    stream.on_data = lambda data: stream.send(data, ends=not data)
    return stream.accept([("sec-websocket-protocol", "chat"), ("x-kept", "yes")])


def test_upgrade_of_http1_becomes_an_extended_connect(serve: Serve) -> None:
    with Http2Server(echo, takes_websockets=True) as server:
        gateway = front(serve, server.address)
        # first thing on a connection, when the server's settings are not there yet; then on one that is known
        for _ in range(2):
            with RawWebSocket(
                gateway.address, "/ws?a=1", fields={"Sec-WebSocket-Protocol": "chat"}
            ) as client:
                assert client.is_accepted()
                assert (client.response.get("x-kept"), client.response.get("sec-websocket-protocol")) == (
                    "yes",
                    "chat",
                )
                for data in (b"one", b"\x00\xff" * 100_000):
                    client.send(data)
                    assert client.read_exactly(len(data)) == data
                client.half_close()
                assert client.read_to_end() == b""
        asked = server.requests[-1]
        pseudo = [asked.get(name) for name in (":method", ":protocol", ":scheme", ":path", ":authority")]
        assert pseudo == ["CONNECT", "websocket", "http", "/ws?a=1", "gate.test"]
        assert (asked.get("sec-websocket-version"), asked.get("sec-websocket-key")) == ("13", None)
        assert asked.get("upgrade") is None and asked.get("connection") is None
        assert asked.is_ended and len(server.connections) == 1


def test_http2_on_both_sides(serve: Serve) -> None:
    with Http2Server(echo, takes_websockets=True) as server:
        gateway = front(serve, server.address)
        with Http2Client(gateway.address) as client:
            stream = client.request("/ws", method="CONNECT", fields=CONNECT, ends=False)
            head = client.head(stream)
            assert (head.status, head.get("sec-websocket-accept"), head.get("x-kept")) == (200, None, "yes")
            client.send_body(stream, b"hello", ends=False)
            assert client.body(stream, 5) == b"hello"
            client.send_body(stream, b"")
            assert client.response(stream).is_ended
        assert server.requests[-1].is_ended


def test_refusal_is_a_plain_response(serve: Serve) -> None:
    def refuse(stream: Stream) -> None:
        stream.respond(b"not you", status=403)

    with Http2Server(refuse, takes_websockets=True) as server:
        gateway = front(serve, server.address)
        with RawWebSocket(gateway.address) as client:
            assert (client.response.status, client.response.body) == (403, b"not you")


def test_server_that_takes_none_is_a_502_and_no_failure_of_it(serve: Serve) -> None:
    with Http2Server(echo) as server:
        gateway = front(serve, server.address)
        for _ in range(3):
            with RawWebSocket(gateway.address) as client:
                assert client.response.status == 502 and b"RFC 8441" in client.response.body
        assert gateway.access_record(target="/ws")["error"] == "websocket_unsupported"
        # it is neither asked nor taken out
        assert gateway.get("/").body == b"plain"
        assert [stream.get(":protocol") for stream in server.requests] == [None]
        assert gateway.counter("upstream_failures") == 0


def test_other_upgrades_are_left_out(serve: Serve) -> None:
    with Http2Server(echo, takes_websockets=True) as server:
        gateway = front(serve, server.address)
        with RawWebSocket(gateway.address, fields={"Upgrade": "other"}) as client:
            assert (client.response.status, client.response.body) == (200, b"plain")


def test_reset_of_the_server_cuts_the_client(serve: Serve) -> None:
    def cut(stream: Stream) -> None:
        stream.accept()
        stream.on_data = lambda _: stream.refuse()

    with Http2Server(cut, takes_websockets=True) as server:
        gateway = front(serve, server.address)
        with RawWebSocket(gateway.address) as client:
            client.send(b"x")
            assert client.read_to_end() == b""


def test_client_that_leaves_ends_its_stream_only(serve: Serve) -> None:
    with Http2Server(echo, takes_websockets=True) as server:
        gateway = front(serve, server.address)
        with RawWebSocket(gateway.address) as other, RawWebSocket(gateway.address) as client:
            client.reset()
            left = server.requests[-1]
            eventually(lambda: left.reset is not None or left.is_ended, "the stream ends")
            other.send(b"still here")
            assert other.read_exactly(10) == b"still here"


def test_settings_that_do_not_come_are_not_awaited_for_ever(serve: Serve) -> None:
    with Http2Server(echo, takes_websockets=True) as server:
        gateway = front(serve, server.address, timeouts={"upstream_head": "300ms"})
        server.is_mute = True
        with RawWebSocket(gateway.address) as client:
            assert client.response.status == 504


APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat" if scope["subprotocols"] else None})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["http_version"].encode()})
"""


@pytest.fixture(scope="module")
def hypercorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that others have written, in its own process."""
    folder: Path = tmp_path_factory.mktemp("hypercorn")
    (folder / "application.py").write_text(APPLICATION)
    port = free_port()
    log = folder / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "hypercorn", "application:app", "--bind", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)

    def accepts() -> bool:
        try:
            connect_socket(f"127.0.0.1:{port}").close()
        except OSError:
            return False
        return True

    try:
        eventually(accepts, lambda: f"the server accepts: {log.read_text()}", within=30)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


HOOKED = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
back = gate.upstream("back", SERVER, protocol="h2")
gate.route("/tunnel", to=back)
gate.route("/http", to=back)
ws = gate.route("/ws", to=back)

@ws.websocket_message
def look(request, message):
    if message.from_client and isinstance(message.data, str):
        return message.data.upper()
"""


async def test_server_of_others_with_and_without_hooks(serve: Serve, hypercorn: str) -> None:
    gateway = serve(HOOKED, names={"SERVER": hypercorn})
    assert gateway.get("/http").body == b"2"
    for path, said in (("tunnel", "hello"), ("ws", "HELLO")):
        # this server replies to the close, but leaves it to its client to end the stream
        options = {"subprotocols": ["chat"], "max_size": None, "close_timeout": 0.2}
        async with connect(f"ws://{gateway.address}/{path}", **options) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == "chat"
            for sent, got in (("hello", said), (b"\x00" * 500_000, b"\x00" * 500_000)):
                await socket.send(sent)
                assert await asyncio.wait_for(socket.recv(), 20) == got
            await socket.close(1000, "done")
            assert socket.close_code == 1000
