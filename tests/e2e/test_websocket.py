"""WebSockets whose messages hooks see: what hooks may do with them, over HTTP/1 and HTTP/2."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.http2 import Http2Client
from e2e.kit.pki import Authority
from e2e.kit.websocket import PING, PONG, TEXT, Frame, RawWebSocket, WebSocketServer, close_frame, frame
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

GATE = """
import asyncio
import contextvars
import sys
from headgate import Gateway, Overloaded

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
ws = gate.route("/ws", to=SERVER, name="ws")
gate.route("/tunnel", to=SERVER)
seen = contextvars.ContextVar("seen", default=0)
rooms = set()
sent = []

@ws.request
def greet(request):
    if request.query == "greeting" and request.websocket:
        request.websocket.to_client("welcome")
        request.websocket.to_server("hello")

@ws.response
def joined(request, response):
    if response.status == 101:
        rooms.add(request.websocket)

@ws.log
def left(request, response):
    socket = request.websocket
    rooms.discard(socket)
    if socket:
        print("ended", socket.closed_by, socket.close_code, file=sys.stderr, flush=True)

@ws.websocket_message
async def look(request, message):
    seen.set(seen.get() + 1)
    data = message.data
    if message.from_client:
        if isinstance(data, bytes):
            return None
        match data.partition(" ")[0]:
            case "replace":
                return "replaced"
            case "binary":
                return data.encode()
            case "several":
                return ["a", b"b", "c"]
            case "drop":
                return []
            case "wait":
                await asyncio.sleep(0)
                return "waited"
            case "close":
                request.websocket.close(4001, "enough")
            case "self":
                request.websocket.to_client("to the client")
                request.websocket.to_server("to the server")
                return []
            case "seen":
                return f"seen {seen.get()} by {request.client.address} on {request.path}"
            case "all":
                for socket in rooms:
                    socket.to_client("to all")
                return []
            case "raise":
                raise ValueError("no")
            case "nonsense":
                return 5
            case "late":
                await asyncio.sleep(60)
            case "code":
                try:
                    request.websocket.close(1005)
                except ValueError as error:
                    return str(error)
            case "flood":
                try:
                    while True:
                        request.websocket.to_client(b"x" * 100_000)
                except Overloaded:
                    return "overloaded"
    elif data == "secret":
        return "hidden"
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, websocket_server: WebSocketServer) -> RunningGateway:
    source = GATE + "\nlook_late = gate.hook_defaults(deadline='500ms')\n"
    return serve_module(source, names={"SERVER": websocket_server.address})


@pytest.fixture
async def socket(gateway: RunningGateway) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://{gateway.address}/ws", max_size=None) as connection:
        yield connection


async def ask(socket: ClientConnection, message: str | bytes) -> str | bytes:
    await socket.send(message)
    return await asyncio.wait_for(socket.recv(), 20)


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("text", "text"),
        ("", ""),
        ("ü" * 50_000, "ü" * 50_000),
        (b"\x00\xff", b"\x00\xff"),
        (b"", b""),
        (b"x" * 1_000_000, b"x" * 1_000_000),
        ("replace this", "replaced"),
        ("binary", b"binary"),
        ("wait", "waited"),
        ("secret", "hidden"),
        ("seen", "seen 1 by 127.0.0.1 on /ws"),
    ],
    ids=lambda value: str(value[:12]),
)
async def test_hook_decides_on_a_message(
    socket: ClientConnection, sent: str | bytes, got: str | bytes
) -> None:
    assert await ask(socket, sent) == got


async def test_hook_makes_several_of_one_or_none(socket: ClientConnection) -> None:
    await socket.send("several")
    await socket.send("drop")
    await socket.send("last")
    assert [await asyncio.wait_for(socket.recv(), 20) for _ in range(4)] == ["a", b"b", "c", "last"]


async def test_hook_sends_of_its_own_to_both_sides(socket: ClientConnection) -> None:
    await socket.send("self")
    # the server's echo of what it got is the second
    got = [await asyncio.wait_for(socket.recv(), 20) for _ in range(2)]
    assert got == ["to the client", "to the server"]


async def test_hook_reaches_other_websockets(gateway: RunningGateway, socket: ClientConnection) -> None:
    async with connect(f"ws://{gateway.address}/ws") as other:
        await socket.send("all")
        assert await asyncio.wait_for(other.recv(), 20) == "to all"
    assert await asyncio.wait_for(socket.recv(), 20) == "to all"


async def test_messages_may_be_sent_before_it_is_open(gateway: RunningGateway) -> None:
    async with connect(f"ws://{gateway.address}/ws?greeting") as socket:
        assert await asyncio.wait_for(socket.recv(), 20) == "welcome"
        assert await asyncio.wait_for(socket.recv(), 20) == "hello"


async def test_hook_closes_with_code_and_reason(
    gateway: RunningGateway, websocket_server: WebSocketServer, socket: ClientConnection
) -> None:
    websocket_server.closes.clear()
    await socket.send("close")
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(socket.recv(), 20)
    assert closed.value.rcvd == Close(4001, "enough")
    eventually(lambda: (4001, "enough") in websocket_server.closes, "the server is told")
    gateway.wait_for_log("ended gateway 4001")


async def test_code_that_no_frame_carries_is_refused(socket: ClientConnection) -> None:
    assert "is not allowed in a close frame" in str(await ask(socket, "code"))


async def test_hook_cannot_send_without_bound(socket: ClientConnection) -> None:
    await socket.send("flood")
    sizes = []
    while (message := await asyncio.wait_for(socket.recv(), 20)) != "overloaded":
        sizes.append(len(message))
    assert sizes == [100_000] * 10


@pytest.mark.parametrize(
    ("message", "told"), [("raise", "raised: ValueError: no"), ("nonsense", "`int`"), ("late", "over 500 ms")]
)
async def test_failing_hook_closes_its_own_websocket_only(
    gateway: RunningGateway, websocket_server: WebSocketServer, message: str, told: str
) -> None:
    websocket_server.closes.clear()
    before = gateway.stderr.read_text().count("phase `websocket_message`")
    async with (
        connect(f"ws://{gateway.address}/ws") as other,
        connect(f"ws://{gateway.address}/ws") as socket,
    ):
        await socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 20)
        assert closed.value.rcvd and closed.value.rcvd.code == 1011
        eventually(lambda: 1011 in dict(websocket_server.closes), "the server is told")
        assert await ask(other, "still here") == "still here"
    gateway.wait_for_log(told)
    log = gateway.stderr.read_text()
    assert log.count("phase `websocket_message`") == before + 1
    record = gateway.access_record(target="/ws", error="hook_failed")
    assert record["status"] == 101 and record["request_id"] in log


async def test_close_of_the_client_reaches_the_server(
    gateway: RunningGateway, websocket_server: WebSocketServer
) -> None:
    websocket_server.closes.clear()
    async with connect(f"ws://{gateway.address}/ws") as socket:
        await socket.close(4002, "done")
        assert (socket.close_code, socket.close_reason) == (4002, "done")
    eventually(lambda: (4002, "done") in websocket_server.closes, "the server is told")
    gateway.wait_for_log("ended client 4002")


async def test_client_that_is_cut_is_cut_for_the_server(
    gateway: RunningGateway, websocket_server: WebSocketServer
) -> None:
    websocket_server.closes.clear()
    client = RawWebSocket(gateway.address)
    client.send(frame(TEXT, b"last words"))
    assert client.frame().text == "last words"
    client.reset()
    eventually(lambda: (1006, "") in websocket_server.closes, "the server sees no close frame")
    gateway.wait_for_log("ended client None")


def test_pings_get_their_pongs_from_the_gateway(gateway: RunningGateway) -> None:
    with RawWebSocket(gateway.address) as client:
        client.send(frame(PING, b"there?"))
        assert client.frame() == Frame(PONG, b"there?", True, 0x8A)


def test_compression_is_not_negotiated(gateway: RunningGateway, websocket_server: WebSocketServer) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    websocket_server.headers.clear()
    with RawWebSocket(gateway.address, fields=offer) as client:
        assert client.is_accepted() and client.response.get("sec-websocket-extensions") is None
        assert client.ask("plain") == "plain"
    assert "Sec-WebSocket-Extensions" not in websocket_server.headers[0]
    # where no hook looks it is between the two
    with RawWebSocket(gateway.address, "/tunnel", fields=offer) as client:
        assert client.response.get("sec-websocket-extensions") is not None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Content-Length": "3"}, 400),
    ],
)
def test_bad_handshake_goes_nowhere(
    gateway: RunningGateway, websocket_server: WebSocketServer, fields: dict[str, str], status: int
) -> None:
    with RawWebSocket(gateway.address, fields=fields | {"X-Bad": "yes"}) as client:
        assert client.response.status == status
        assert client.response.get("sec-websocket-version") == ("13" if status == 426 else None)
    # the server notes a handshake a moment after it has responded: others may still come
    assert not any("X-Bad" in headers for headers in websocket_server.headers)


def test_other_upgrades_lead_not_round_the_hooks(serve: Serve, origin: Origin) -> None:
    gateway = serve(GATE, names={"SERVER": origin.address})
    for upgrade in ("websocket, other", "other", "WebSocket/13"):
        with RawWebSocket(gateway.address, fields={"Upgrade": upgrade}) as client:
            assert client.response.status == 200
        assert origin.wait_for("/ws").get("upgrade") is None
        origin.clear()


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "Sec-WebSocket-Accept: AAAA\r\n",
        "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: other\r\n",
    ],
)
def test_bad_response_of_the_server_is_a_502(serve: Serve, origin: Origin, fields: str) -> None:
    from e2e.kit import Call
    from e2e.kit.websocket import accept

    def response(call: Call) -> None:
        own = fields.replace("%s", accept(call.get("sec-websocket-key") or ""))
        call.send(f"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{own}\r\n".encode())
        call.hang()

    origin.on("/ws", response)
    gateway = serve(GATE, names={"SERVER": origin.address})
    with RawWebSocket(gateway.address, fields={"Sec-WebSocket-Protocol": "chat"}) as client:
        assert client.response.status == 502
    assert gateway.access_record(target="/ws")["error"] == "bad_websocket_response"


def test_subprotocol_is_agreed_end_to_end(serve: Serve) -> None:
    with WebSocketServer(subprotocols=["v2"]) as server:
        gateway = serve(GATE, names={"SERVER": server.address})
        with RawWebSocket(gateway.address, fields={"Sec-WebSocket-Protocol": "v1, v2"}) as client:
            assert client.is_accepted() and client.response.get("sec-websocket-protocol") == "v2"


def test_over_http2(gateway: RunningGateway, websocket_server: WebSocketServer) -> None:
    websocket_server.closes.clear()
    with Http2Client(gateway.address) as client:
        asked = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
        stream = client.request("/ws", method="CONNECT", fields=asked, ends=False)
        head = client.head(stream)
        assert (head.status, head.get("sec-websocket-accept")) == (200, None)
        client.send_body(stream, frame(TEXT, b"replace"), ends=False)
        assert client.body(stream, 10) == b"\x81\x08replaced"
        client.send_body(stream, close_frame(4003, b"bye"), ends=False)
        response = client.response(stream)
        assert (response.body, response.is_ended) == (b"\x88\x05\x0f\xa3bye", True)
        eventually(lambda: (4003, "bye") in websocket_server.closes, "the server is told")


def test_counters_tell_of_them(gateway: RunningGateway) -> None:
    before = gateway.counter("websockets"), gateway.counter("websocket_messages")
    with RawWebSocket(gateway.address) as client:
        assert client.ask("one") == "one"
        assert gateway.counter("websockets_active") >= 1
    assert gateway.counter("websockets") == before[0] + 1
    eventually(lambda: gateway.counter("websocket_messages") >= before[1] + 2, "both messages are counted")


MOUNTED = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.listen(TLS, tls={"certificates": [FILES]})

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": None})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": "app " + message["text"]})
    print("application", message["code"], file=__import__("sys").stderr, flush=True)

app = gate.mount("/app", application)

@app.websocket_message
def mark(request, message):
    return ("> " if message.from_client else "< ") + message.data

@app.websocket_message
def mark_again(request, message):
    return ("+" if message.from_client else "-") + message.data
"""


async def test_mounted_application_is_a_server_like_any_other(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    leaf = authority.issue("gate.test")
    tls = f"127.0.0.1:{free_port()}"
    gateway = serve(MOUNTED, names={"TLS": tls, "FILES": leaf.files})
    async with connect(f"ws://{gateway.address}/app/chat") as socket:
        # in listed order from the client, in reverse from the server
        assert await ask(socket, "one") == "< -app +> one"
        await socket.close(4005, "bye")
    gateway.wait_for_log("application 4005")
    host, _, port = tls.rpartition(":")
    trusted = authority.client()
    async with connect("wss://gate.test/app/chat", host=host, port=int(port), ssl=trusted) as socket:
        assert await ask(socket, "two" * 50_000) == "< -app +> " + "two" * 50_000
        await socket.close(4006, "bye")
        assert socket.close_code == 4006
    gateway.wait_for_log("application 4006")
