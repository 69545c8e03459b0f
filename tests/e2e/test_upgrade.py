"""Upgrades: tunnels of any protocol and real WebSockets."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import reply, upgrade_echo
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

UPGRADE = b"GET %s HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}], "access_log": {"flush": "50ms"}})


def test_tunnel_echoes_both_ways(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/echo", upgrade_echo)
    with gateway.client() as client:
        client.send(UPGRADE % b"/echo")
        response = client.response()
        assert (response.status, response.get("upgrade"), response.get("x-kept")) == (101, "echo", "yes")
        assert (response.get("connection") or "").lower() == "upgrade"
        for text in (b"one", b"\x00\xff" * 40000, b"three"):
            client.send(text)
            assert client.read_exactly(len(text)) == text
        client.half_close()
        assert client.read_to_end() == b"bye"
    assert (origin.wait_for("/echo").get("connection") or "").lower() == "upgrade"
    assert gateway.access_record(target="/echo")["status"] == 101


def test_nothing_after_an_upgrade_request_goes_on_before_the_101(
    gateway: RunningGateway, origin: Origin
) -> None:
    release = threading.Event()

    def late(call: Call) -> None:
        release.wait(20)
        assert call.rest == b""
        call.socket.setblocking(False)
        try:
            early = call.socket.recv(1000)
        except BlockingIOError:
            early = b""
        call.socket.settimeout(20)
        call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        call.send(b"early=%d" % len(early) + call.read_some())
        call.close()

    origin.on("/late", late)
    with gateway.client() as client:
        client.send(UPGRADE % b"/late" + b"PAYLOAD")
        origin.wait_for("/late")
        assert client.is_silent(0.2)
        release.set()
        assert client.response().status == 101
        assert client.read_to_end() == b"early=0PAYLOAD"


def test_refused_upgrade_is_a_plain_response(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/refused", reply(b"no", status="426 Upgrade Required", fields=[("Upgrade", "other")]))
    with gateway.client() as client:
        client.send(UPGRADE % b"/refused")
        response = client.response()
        assert (response.status, response.body) == (426, b"no")


def test_smuggled_request_after_a_refused_upgrade_is_its_own_request(
    gateway: RunningGateway, origin: Origin
) -> None:
    with gateway.client() as client:
        client.send(UPGRADE % b"/plain" + b"GET /second HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.response().json()["target"] == "/plain"
        rest = client.socket.recv(65536) if not client.buffer else client.buffer
    seconds = [call for call in origin.calls if call.target == "/second"]
    assert (rest == b"") == (not seconds)


def test_101_that_nobody_asked_for_is_an_error(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/odd", upgrade_echo)
    assert gateway.get("/odd").status == 502


@pytest.mark.parametrize(
    "responded", ["other", "echo, other", "h2c", "", "echo2", "echo\r\nUpgrade: other"], ids=repr
)
def test_101_to_another_protocol_is_an_error(gateway: RunningGateway, origin: Origin, responded: str) -> None:
    def behaviour(call: Call) -> None:
        call.send(f"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: {responded}\r\n\r\n".encode())
        call.hang()

    origin.on("/another", behaviour)
    with gateway.client() as client:
        client.send(UPGRADE % b"/another")
        assert client.response().status == 502


@pytest.mark.parametrize(
    "asked", ["h2c", "H2C", "echo, h2c", "h2c, echo", " h2c ", "h2c-14", "echo\r\nUpgrade: h2c"]
)
def test_h2c_is_not_smuggled_in(gateway: RunningGateway, origin: Origin, asked: str) -> None:
    origin.on("/h2c", upgrade_echo)
    head = (
        f"GET /h2c HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {asked}\r\n"
    )
    with gateway.client() as client:
        # even a server that would take it never sees it: its 101 was not asked for
        client.send(head.encode() + b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        assert client.response().status == 502
    call = origin.wait_for("/h2c")
    assert (call.get("upgrade"), call.get("http2-settings"), call.get("connection")) == (None, None, None)


@pytest.mark.parametrize("target", ["/plain", "*"])
def test_preface_within_a_connection_is_no_request(
    gateway: RunningGateway, origin: Origin, target: str
) -> None:
    with gateway.client() as client:
        assert client.get("/first").status == 200
        client.send(f"PRI {target} HTTP/2.0\r\n\r\nSM\r\n\r\n".encode())
        assert client.response().status in (400, 505)
        assert client.read_to_end() == b""
    assert origin.at("/plain") == []


def test_body_of_an_upgrade_request_is_its_own(gateway: RunningGateway, origin: Origin) -> None:
    def behaviour(call: Call) -> None:
        body = call.read_body()
        upgrade_echo(call)
        call.body = body

    origin.on("/body", behaviour)
    head = (
        b"POST /body HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 4\r\n\r\n"
    )
    with gateway.client() as client:
        client.send(head + b"body")
        assert client.response().status == 101
        client.send(b"tunnelled")
        assert client.read_exactly(9) == b"tunnelled"
    assert origin.wait_for("/body").get("content-length") == "4"


def test_upgrade_of_an_http_1_0_client_is_ignored(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"GET /ten HTTP/1.0\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.response().status == 200
    assert origin.wait_for("/ten").get("upgrade") is None


def test_tunnel_ends_when_the_server_ends(gateway: RunningGateway, origin: Origin) -> None:
    def short(call: Call) -> None:
        call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
        call.close()

    origin.on("/short", short)
    with gateway.client() as client:
        client.send(UPGRADE % b"/short")
        assert client.response().status == 101
        assert client.read_to_end() == b"hello"


def test_tunnel_ends_when_the_client_is_gone(gateway: RunningGateway, origin: Origin) -> None:
    ended: list[bool] = []

    def watch(call: Call) -> None:
        try:
            upgrade_echo(call)
        finally:
            ended.append(True)

    origin.on("/gone", watch)
    with gateway.client() as client:
        client.send(UPGRADE % b"/gone")
        assert client.response().status == 101
        client.reset()
    eventually(lambda: ended, "the server sees the end of the tunnel")


@pytest.fixture(scope="module")
def websocket_server() -> Iterator[str]:
    """A real WebSocket echo server in a thread of its own."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    address: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        async with serve_websocket(echo, "127.0.0.1", 0, max_size=None) as server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            address.append(f"{host}:{port}")
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield address[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(timeout=20)
    loop.close()


@pytest.fixture
async def websocket_url(serve: Serve, websocket_server: str) -> AsyncIterator[str]:
    gateway = serve({"routes": [{"path": "/ws/*", "to": websocket_server}]})
    yield f"ws://{gateway.address}/ws/chat"


async def test_websocket_messages_are_echoed(websocket_url: str) -> None:
    async with connect(websocket_url, max_size=None) as socket:
        for message in ("text", b"\x00binary", "ü" * 100_000, b"x" * 1_000_000):
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), 20) == message


async def test_websocket_pings_get_their_pongs_and_it_closes_cleanly(websocket_url: str) -> None:
    async with connect(websocket_url) as socket:
        await asyncio.wait_for(await socket.ping(), 20)
        await socket.close(4001, "done")
        assert (socket.close_code, socket.close_reason) == (4001, "done")


async def test_many_websockets_at_once(websocket_url: str) -> None:
    async def one(number: int) -> None:
        async with connect(websocket_url) as socket:
            for turn in range(20):
                await socket.send(f"{number}-{turn}")
                assert await asyncio.wait_for(socket.recv(), 20) == f"{number}-{turn}"

    await asyncio.gather(*(one(number) for number in range(30)))
