"""Long WebSockets: slow sides, reloads, and the gateway's own end."""

import asyncio
import signal
import threading
import time

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.http2 import Http2Client
from e2e.kit.websocket import CLOSE, TEXT, Frame, RawWebSocket, WebSocketServer, close_frame, frame
from websockets.asyncio.server import ServerConnection

GATE = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.timeouts(drain=DRAIN)
gate.route("/version", respond="first")
ws = gate.route("/ws", to=SERVER)

@ws.websocket_message
async def look(request, message):
    if message.from_client:
        return message.data + " of the first"
"""


def start(serve: Serve, server: WebSocketServer, drain: str = "20s") -> RunningGateway:
    return serve(GATE, names={"SERVER": server.address, "DRAIN": drain})


def test_slow_client_holds_the_server_back(serve: Serve) -> None:
    total, size = 64, 1 << 20
    sent: list[int] = []

    async def pour(connection: ServerConnection) -> None:
        for number in range(total):
            await connection.send(bytes([number]) * size)
            sent.append(number)

    with WebSocketServer(pour) as server:
        gateway = start(serve, server)
        with RawWebSocket(gateway.address, receive_buffer=65536) as client:
            eventually(lambda: stands_still(sent), "the server is held back", within=60)
            assert len(sent) < total * 3 // 4
            for number in range(total):
                assert client.frame().payload == bytes([number]) * size
        assert gateway.get("/version").status == 200


def test_slow_server_holds_the_client_back(serve: Serve) -> None:
    gate = threading.Event()

    async def stall(connection: ServerConnection) -> None:
        await asyncio.to_thread(gate.wait, 60)
        async for message in connection:
            await connection.send(str(len(message)))

    with WebSocketServer(stall, max_queue=1) as server:
        gateway = start(serve, server)
        with RawWebSocket(gateway.address) as client:
            piece = frame(TEXT, b"x" * (1 << 20))
            client.socket.settimeout(1)
            sent = 0
            data = piece * 48
            with pytest.raises(TimeoutError):
                while sent < len(data):
                    sent += client.socket.send(data[sent : sent + 65536])
            gate.set()
            client.socket.settimeout(30)
            whole = -(-sent // len(piece))
            client.send(data[sent : whole * len(piece)])
            assert [client.frame().text for _ in range(whole)] == [str((1 << 20) + 13)] * whole


def stands_still(items: list[int]) -> bool:
    """Whether nothing is added for a second."""
    before = len(items)
    time.sleep(1)
    return before > 0 and len(items) == before


def test_reload_of_code_leaves_it_with_the_old(serve: Serve) -> None:
    with WebSocketServer() as server:
        gateway = start(serve, server)
        with RawWebSocket(gateway.address) as client:
            assert client.ask("one") == "one of the first"
            gateway.write(GATE.replace("first", "second"))
            assert gateway.ask("reload")["ok"]
            assert gateway.get("/version").text == "second"
            assert client.ask("two") == "two of the first"
            with RawWebSocket(gateway.address) as other:
                assert other.ask("one") == "one of the second"
            client.send(close_frame(1000))
            assert client.frame().code == 1000


def test_change_of_configuration_leaves_it_alone(serve: Serve) -> None:
    hooks = {"hooks.py": "def look(request, message):\n    return 'seen ' + message.data\n"}
    with WebSocketServer() as server:

        def described(text: str) -> dict[str, object]:
            looked = {"path": "/ws", "to": server.address, "hooks": {"websocket_message": "hooks:look"}}
            return {"routes": [{"path": "/version", "respond": text}, looked], "timeouts": {"drain": "1m"}}

        gateway = serve(described("first"), files=hooks)
        with RawWebSocket(gateway.address) as client:
            assert client.ask("one") == "seen seen one"
            for text in ("second", "third"):
                gateway.write(described(text))
                assert gateway.ask("reload")["ok"]
                assert gateway.get("/version").text == text
                assert client.ask("more") == "seen seen more"


@pytest.mark.parametrize("way", ["reload", signal.SIGQUIT, signal.SIGTERM], ids=["reload", "QUIT", "TERM"])
def test_at_the_drain_limit_it_is_closed_with_1001(serve: Serve, way: str | signal.Signals) -> None:
    with WebSocketServer() as server:
        gateway = start(serve, server, drain="300ms")
        with RawWebSocket(gateway.address) as client, Http2Client(gateway.address) as other:
            asked = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
            stream = other.request("/ws", method="CONNECT", fields=asked, ends=False)
            assert other.head(stream).status == 200
            assert client.ask("one") == "one of the first"
            if isinstance(way, signal.Signals):
                gateway.signal(way)
            else:
                gateway.write(GATE.replace("first", "second"))
                assert gateway.ask("reload")["ok"]
            closed = client.frame()
            assert closed == Frame(CLOSE, b"\x03\xe9the gateway is shutting down", True, 0x88)
            client.send(close_frame(1001))
            assert client.read_to_end() == b""
            assert other.body(stream, len(closed.payload) + 2)[2:] == closed.payload
        eventually(lambda: [code for code, _ in server.closes] == [1001, 1001], "the server is told")


def test_drain_does_not_wait_for_those_that_close(serve: Serve) -> None:
    with WebSocketServer() as server:
        gateway = start(serve, server, drain="600s")
        with RawWebSocket(gateway.address) as client:
            assert client.ask("one") == "one of the first"
            gateway.signal(signal.SIGQUIT)
            for number in range(20):
                assert client.ask(str(number)) == f"{number} of the first"
            client.send(close_frame(1000))
            assert client.frame().code == 1000
        assert gateway.process.wait(30) == 0
