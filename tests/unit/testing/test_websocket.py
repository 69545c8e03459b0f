"""WebSockets in the test kit."""

import pytest

from headgate import Gateway, Request, Response, WebSocketMessage
from headgate.testing import (
    AsyncWebSocket,
    HookRaised,
    TestGateway,
    WebSocketClosed,
    WebSocketRefused,
    WebSocketServer,
)


def gateway() -> Gateway:
    """A gateway that looks at messages."""
    gate = Gateway()
    ws = gate.route("/ws", to=gate.upstream("chat", "10.0.0.1:9000"))

    @ws.request
    def let_in(request: Request) -> Response | None:
        return Response(403, "not you") if request.query == "no" else None

    @ws.websocket_message
    async def look(request: Request, message: WebSocketMessage) -> str | list[str] | None:
        if message.data == "raise":
            raise ValueError("no")
        if message.data == "close":
            assert request.websocket
            request.websocket.close(4000, "enough")
        if message.from_client and message.data == "loud":
            return ["LOUD", request.client.address]
        return None

    gate.route("/plain", to="chat")
    return gate


def test_messages_go_through_hooks_to_the_server_and_back() -> None:
    with TestGateway(gateway(), upstreams={"chat": WebSocketServer()}) as running:
        with running.websocket("/ws", {"x-a": "1"}, address="192.0.2.7") as socket:
            assert socket.response.status == 101
            assert (socket.ask("one"), socket.ask(b"\0two")) == ("one", b"\0two")
            assert (socket.ask("loud"), socket.receive()) == ("LOUD", "192.0.2.7")
        assert running.received[0].headers["x-a"] == "1"
        assert running.counters["websocket_messages"] == 7


def test_server_may_be_a_function_of_the_test() -> None:
    said = []

    async def talk(socket: AsyncWebSocket) -> None:
        await socket.send("hello")
        said.append(await socket.receive())
        await socket.close(4321, "bye")

    with TestGateway(gateway(), upstreams={"chat": WebSocketServer(talk, subprotocol="v2")}) as running:
        socket = running.websocket("/ws", subprotocols=["v1", "v2"])
        assert socket.response.headers["sec-websocket-protocol"] == "v2"
        assert socket.receive() == "hello"
        socket.send("me")
        with pytest.raises(WebSocketClosed) as closed:
            socket.receive()
        assert (closed.value.code, closed.value.reason, said) == (4321, "bye", ["me"])
        # a tunnel, where no hook looks
        assert running.websocket("/plain").receive() == "hello"


def test_close_of_a_hook_is_seen() -> None:
    with TestGateway(gateway(), upstreams={"chat": WebSocketServer()}) as running:
        with running.websocket("/ws") as socket, pytest.raises(WebSocketClosed, match="4000 enough"):
            socket.ask("close")


def test_what_a_hook_raises_is_raised_in_the_test() -> None:
    with TestGateway(gateway(), upstreams={"chat": WebSocketServer()}) as running:
        socket = running.websocket("/ws")
        socket.send("raise")
        with pytest.raises(HookRaised) as raised:
            socket.receive()
        assert isinstance(raised.value.__cause__, ValueError)
    with TestGateway(gateway(), upstreams={"chat": WebSocketServer()}, raise_errors=False) as running:
        with pytest.raises(WebSocketClosed, match="1011"):
            running.websocket("/ws").ask("raise")


def test_refusal_has_its_response() -> None:
    with TestGateway(gateway(), upstreams={"chat": WebSocketServer()}) as running:
        with pytest.raises(WebSocketRefused) as refused:
            running.websocket("/ws?no")
        assert (refused.value.response.status, refused.value.response.text) == (403, "not you")
        assert running.get("/ws").status == 426


def test_clock_moves_the_websocket_too() -> None:
    gate = gateway()
    gate.websocket(ping_interval=None, idle="1h")
    with TestGateway(gate, upstreams={"chat": WebSocketServer()}) as running:
        socket = running.websocket("/ws")
        running.advance("59m")
        assert socket.ask("one") == "one"
        running.advance("61m")
        with pytest.raises(WebSocketClosed, match="1001"):
            socket.receive()
