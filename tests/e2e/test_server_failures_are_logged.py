"""The error log says which server failed, by what and for which route, also on connections that were open already."""

import socket
from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, free_port
from e2e.kit.behaviours import hang, raw
from e2e.kit.http2_server import Http2Server, Stream
from e2e.kit.net import reset
from e2e.kit.origin import Call
from e2e.kit.streams import StreamServer
from e2e.kit.websocket import BINARY, RawWebSocket, WebSocketServer, frame
from websockets.asyncio.server import ServerConnection

GATE = """
import headgate
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json")
plain = gate.upstream("plain", PLAIN, retries=0)
other = gate.upstream("other", OTHER, retries=0)
gate.upstream("framed", FRAMED, protocol="h2", retries=0)
gate.upstream("sockets", SOCKETS)
gate.upstream("stream", STREAM)
gate.upstream("datagram", DATAGRAM)
gate.timeouts(upstream_head="500ms", upstream_idle="500ms")

gate.route("/plain/*", to=plain, name="web")
gate.route("/framed/*", to="framed", name="rpc")
chat = gate.route("/chat", to="sockets", name="chat")
gate.listen_tcp(TCP, to="stream", name="lines")
gate.listen_udp(UDP, to="datagram", name="names")

@chat.websocket_message
def look(request, message):
    return None

@gate.route("/fetched/{path}")
async def fetched(request):
    try:
        await (await other.fetch("/" + request.params["path"])).body()
    except headgate.FetchError as error:
        return Response(502, str(error))
"""

HEAD = b"HTTP/1.1 200 OK\r\n"


FAULTS = {
    "reset": raw(then="reset"),
    "garbage": raw(b"220 mail.test ESMTP\r\n", then="close"),
    "late": hang,
    "short": raw(HEAD + b"Content-Length: 9\r\n\r\nhalf", then="reset"),
    "chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokxx", then="close"),
    "silent": raw(HEAD + b"Content-Length: 9\r\n\r\nhalf", then="hang"),
    "interim": raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20, then="close"),
    "switch": raw(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
}


def faulty() -> Origin:
    """A server with a fault at each path."""
    origin = Origin()
    for path, behaviour in FAULTS.items():
        origin.on(f"/plain/{path}", behaviour)
        origin.on(f"/{path}", behaviour)
    return origin


@pytest.fixture(scope="module")
def plain() -> Iterator[Origin]:
    with faulty() as origin:
        yield origin


@pytest.fixture(scope="module")
def other() -> Iterator[Origin]:
    with faulty() as origin:
        yield origin


def misbehave(stream: Stream) -> None:
    """Resets the stream, breaks it later, or ends the connection."""
    connection = stream.connection
    match (stream.get(":path") or "").rpartition("/")[2]:
        case "reset":
            connection.state.reset_stream(stream.number, error_code=2)
            connection.flush()
        case "cut":
            connection.state.send_headers(stream.number, [(":status", "200")])
            connection.state.send_data(stream.number, b"half")
            connection.state.reset_stream(stream.number, error_code=11)
            connection.flush()
        case "refused":
            connection.goaway(0)
            connection.socket.shutdown(socket.SHUT_RDWR)
        case _:
            stream.respond(b"fine")


@pytest.fixture(scope="module")
def framed() -> Iterator[Http2Server]:
    with Http2Server(misbehave) as server:
        yield server


async def leave(connection: ServerConnection) -> None:
    """Leaves without a close, or breaks the protocol."""
    async for message in connection:
        if message == b"break":
            connection.transport.write(b"\xff" * 16)
        else:
            connection.transport.abort()


@pytest.fixture(scope="module")
def sockets() -> Iterator[WebSocketServer]:
    with WebSocketServer(leave) as server:
        yield server


def cut(connection: socket.socket) -> None:
    """Reads once, then breaks the connection."""
    connection.recv(100)
    reset(connection)


@pytest.fixture(scope="module")
def stream() -> Iterator[StreamServer]:
    with StreamServer(cut) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    serve_module: Serve,
    plain: Origin,
    other: Origin,
    framed: Http2Server,
    sockets: WebSocketServer,
    stream: StreamServer,
) -> RunningGateway:
    names = {
        "PLAIN": plain.address,
        "OTHER": other.address,
        "FRAMED": framed.address,
        "SOCKETS": sockets.address,
        "STREAM": stream.address,
        **{name: f"127.0.0.1:{free_port()}" for name in ("DATAGRAM", "TCP", "UDP")},
    }
    return serve_module(GATE, names=names)


def warning(gateway: RunningGateway, said: str, **fields: str) -> str:
    """The one warning with that text and these fields."""
    told = "".join(rf"(?=.* {name}={value}( |$))" for name, value in fields.items())
    return gateway.wait_for_log(rf"(?m)^\S+ warning \S+ {said}{told}.*$")[0]


HTTP = {
    "reset": (
        "upstream_reset",
        "the server closed the connection before it responded: connection reset by peer",
    ),
    "garbage": ("bad_version", "the server's response is refused: the version is malformed"),
    "late": ("upstream_head_timeout", "the server took too long to respond"),
    "short": (
        "upstream_truncated",
        "the server closed the connection before its response was complete: connection reset by peer",
    ),
    "chunk": (
        "bad_chunk",
        "the framing of the response's body is malformed: a chunk or its size does not end with CRLF",
    ),
    "silent": ("upstream_idle_timeout", "the server stopped sending"),
    "interim": ("too_many_interim_responses", r"the server sent too many interim \(1xx\) responses"),
    "switch": ("unexpected_upgrade", "the server switched protocols, which the request did not ask for"),
}


@pytest.mark.parametrize("path", HTTP)
def test_a_failure_on_an_open_connection_names_server_and_route(
    gateway: RunningGateway, plain: Origin, path: str
) -> None:
    kind, said = HTTP[path]
    with gateway.client() as client:
        client.send(f"GET /plain/{path} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n".encode())
        client.read_to_end()
    line = warning(gateway, said, upstream="plain", server=plain.address, kind=kind, route="web")
    record = gateway.access_record(target=f"/plain/{path}")
    assert record["error"] == kind and f"request_id={record['request_id']}" in line
    limits = {"late": "timeouts.upstream_head", "silent": "timeouts.upstream_idle"}
    assert ("limit=" + limits[path] in line) if path in limits else "limit=" not in line


FRAMES = {
    "reset": ("upstream_reset", r"the stream was reset \(RST_STREAM with INTERNAL_ERROR\)"),
    "cut": ("upstream_truncated", r"the stream was reset \(RST_STREAM with ENHANCE_YOUR_CALM\)"),
    "refused": ("upstream_refused", r"the connection was ended \(GOAWAY with NO_ERROR\)"),
}


@pytest.mark.parametrize("path", FRAMES)
def test_a_stream_of_http2_that_ends_says_its_code(
    gateway: RunningGateway, framed: Http2Server, path: str
) -> None:
    kind, said = FRAMES[path]
    with gateway.client() as client:
        client.send(f"GET /framed/{path} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n".encode())
        client.read_to_end()
    warning(gateway, f".*{said}", upstream="framed", server=framed.address, kind=kind, route="rpc")


@pytest.mark.parametrize(
    ("sent", "kind", "said"),
    [
        (b"leave", "upstream_truncated", "the server closed the connection without a close message"),
        (b"break", "websocket_protocol", "the server violated the WebSocket protocol"),
    ],
)
def test_a_websocket_that_its_server_ends_badly(
    gateway: RunningGateway, sockets: WebSocketServer, sent: bytes, kind: str, said: str
) -> None:
    with RawWebSocket(gateway.address, "/chat") as client:
        client.send(frame(BINARY, sent))
        warning(gateway, said, upstream="sockets", server=sockets.address, kind=kind, route="chat")


def test_a_tcp_connection_that_its_server_breaks(gateway: RunningGateway, stream: StreamServer) -> None:
    with RawClient(str(gateway.names["TCP"])) as client:
        client.send(b"hello\n")
        client.read_to_end()
    said = "the server broke the connection: connection reset by peer"
    warning(gateway, said, upstream="stream", server=stream.address, kind="reset", route="lines")


def test_datagrams_that_nobody_takes(gateway: RunningGateway) -> None:
    host, port = str(gateway.names["UDP"]).split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", (host, int(port)))
        warning(
            gateway,
            "the server takes no datagrams: connection refused",
            upstream="datagram",
            server=str(gateway.names["DATAGRAM"]),
            kind="reset",
            route="names",
        )


@pytest.mark.parametrize("path", ["reset", "garbage", "short", "chunk", "interim", "switch"])
def test_a_fetch_that_fails_is_logged_as_well(gateway: RunningGateway, other: Origin, path: str) -> None:
    assert gateway.get(f"/fetched/{path}").status == 502
    kind, said = HTTP[path]
    if path == "garbage":
        said = ".*the version is malformed"
    warning(gateway, said, upstream="other", server=other.address, kind=kind)


def test_pages_name_nothing_of_what_is_behind(gateway: RunningGateway, plain: Origin) -> None:
    for path in (*HTTP, "missing"):
        if path in ("short", "chunk", "silent"):
            continue
        page = gateway.get(f"/plain/{path}")
        for inside in ("plain`", "web", plain.address, "limits.", "timeouts.", "hint", "os error", "peer"):
            assert inside not in page.text or path == "missing", (path, page.text)


def test_a_server_that_fails_each_time_is_logged_once(serve: Serve, plain: Origin) -> None:
    gateway = serve({"upstreams": {"u": {"servers": [plain.address], "retries": 2}}, "routes": [{"to": "u"}]})
    for _ in range(5):
        assert gateway.get("/reset").status == 502
    gateway.stop()
    assert gateway.log().count("kind=upstream_reset") == 1 and "left_out" not in gateway.log()


def test_a_kept_connection_that_was_closed_is_no_failure(serve: Serve) -> None:
    def close_second(call: Call) -> None:
        if len(call.origin.at("/")) == 2:
            call.close()
        else:
            call.respond(b"ok")

    with Origin() as origin:
        origin.on("/", close_second)
        gateway = serve({"routes": [{"to": origin.address}]})
        assert [gateway.get("/").status for _ in range(3)] == [200] * 3
        gateway.stop()
    assert "kind=upstream" not in gateway.log()
