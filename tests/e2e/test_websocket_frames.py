"""WebSockets whose messages hooks see: every rule of RFC 6455 that a peer can break, and every limit."""

import struct

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    RawWebSocket,
    WebSocketServer,
    accept,
    close_frame,
    frame,
)

GATE = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
gate.websocket(**SETTINGS)
ws = gate.route("/ws", to=SERVER)

@ws.websocket_message
def look(request, message):
    if message.from_client and isinstance(message.data, str):
        return message.data + "!"
"""


def start(serve: Serve, address: str, **settings: object) -> RunningGateway:
    """A gateway whose hook marks what clients say."""
    return serve(GATE, names={"SERVER": address, "SETTINGS": settings})


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, websocket_server: WebSocketServer) -> RunningGateway:
    return start(serve_module, websocket_server.address, max_message_bytes=1000, max_frame_bytes=600)


VIOLATIONS = {
    "a frame that is not masked": (frame(TEXT, b"x", mask=False), 1002),
    "a reserved bit": (frame(TEXT, b"x", reserved=4), 1002),
    "an unknown opcode": (frame(3), 1002),
    "an unknown control opcode": (frame(11), 1002),
    "a control frame in pieces": (frame(PING, b"x", final=False), 1002),
    "a long control frame": (frame(PING, b"x" * 126), 1002),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "a message within another": (frame(TEXT, b"x", final=False) + frame(TEXT, b"y"), 1002),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "text that is no UTF-8": (frame(TEXT, b"caf\xe9"), 1007),
    "text that ends in a character": (frame(TEXT, "ü".encode()[:1]), 1007),
    "text that is a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "text in pieces that is none": (frame(TEXT, b"\xc3", final=False) + frame(0, b"\x28"), 1007),
    "a reason that is no UTF-8": (close_frame(1000, b"\xff"), 1007),
    "a large message": (frame(BINARY, b"x" * 600, final=False) + frame(0, b"x" * 401), 1009),
    "a large frame": (frame(BINARY, b"x" * 601), 1009),
    "a frame of eight exabytes": (b"\x82\xff\x7f" + b"\xff" * 7 + b"abcd", 1009),
    "a length with its first bit set": (b"\x82\xff" + b"\xff" * 8 + b"abcd", 1009),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_closes_with_its_code(
    gateway: RunningGateway, websocket_server: WebSocketServer, name: str
) -> None:
    data, code = VIOLATIONS[name]
    websocket_server.closes.clear()
    with RawWebSocket(gateway.address) as client:
        assert client.ask("one") == "one!"
        client.send(data + frame(TEXT, b"after that"))
        closed = client.frame()
        assert (closed.opcode, closed.code) == (CLOSE, code)
        assert client.read_to_end() == b""
    eventually(lambda: 1001 in dict(websocket_server.closes), "the server is told")
    with RawWebSocket(gateway.address) as client:
        assert client.ask("another") == "another!"


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_close_with_an_impossible_code_is_a_violation(gateway: RunningGateway, code: int) -> None:
    with RawWebSocket(gateway.address) as client:
        client.send(close_frame(code))
        assert client.frame().code == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 3000, 4999])
def test_close_is_echoed(gateway: RunningGateway, code: int) -> None:
    with RawWebSocket(gateway.address) as client:
        client.send(close_frame(code, b"why") + frame(TEXT, b"after the end"))
        assert client.frame() == Frame(CLOSE, struct.pack("!H", code) + b"why", True, 0x88)
        assert client.read_to_end() == b""


def test_close_without_a_code(gateway: RunningGateway, websocket_server: WebSocketServer) -> None:
    websocket_server.closes.clear()
    with RawWebSocket(gateway.address) as client:
        client.send(frame(CLOSE))
        assert client.frame().code == 1005
    eventually(lambda: 1005 in dict(websocket_server.closes), "the server sees no code either")


def test_limits_are_named_and_counted(gateway: RunningGateway) -> None:
    before = gateway.counter("limit_websocket_message")
    for data, limit in (
        (frame(BINARY, b"x" * 601), "websocket.max_frame_bytes"),
        (frame(BINARY, b"x" * 501, final=False) + frame(0, b"x" * 500), "websocket.max_message_bytes"),
    ):
        with RawWebSocket(gateway.address) as client:
            client.send(data)
            assert client.frame().code == 1009
        record = gateway.access_record(limit=limit)
        assert (record["status"], record["error"]) == (101, "websocket_too_large")
    assert gateway.counter("limit_websocket_message") == before + 2


def test_pieces_become_one_message(gateway: RunningGateway) -> None:
    text = "drei Stücke".encode()
    with RawWebSocket(gateway.address) as client:
        client.send(frame(TEXT, text[:8], final=False) + frame(PING, b"between") + frame(0, b"", final=False))
        # the second letter's other half
        client.send(frame(0, text[8:9], final=False) + frame(0, text[9:]))
        assert client.frame() == Frame(PONG, b"between", True, 0x8A)
        assert client.frame() == Frame(TEXT, text + b"!", True, 0x81)


def test_message_that_comes_byte_by_byte(gateway: RunningGateway) -> None:
    with RawWebSocket(gateway.address) as client:
        for byte in frame(TEXT, b"x" * 130):
            client.send(bytes([byte]))
        assert client.frame().text == "x" * 130 + "!"


def test_messages_keep_their_order(gateway: RunningGateway) -> None:
    with RawWebSocket(gateway.address) as client:
        client.send(b"".join(frame(TEXT, b"%d" % number) for number in range(2000)))
        assert [client.frame().text for _ in range(2000)] == [f"{number}!" for number in range(2000)]


def test_pong_that_nobody_asked_for_is_harmless(gateway: RunningGateway) -> None:
    with RawWebSocket(gateway.address) as client:
        client.send(frame(PONG, b"odd"))
        assert client.ask("fine") == "fine!"


def responding(data: bytes, *, then: str = "hang") -> object:
    """A server that accepts and sends these bytes."""

    def behaviour(call: Call) -> None:
        proof = accept(call.get("sec-websocket-key") or "")
        head = f"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
        call.send(head.encode() + data)
        getattr(call, then)()

    return behaviour


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (frame(TEXT, b"masked"), "websocket_protocol"),
        (frame(TEXT, b"\xff", mask=False), "websocket_bad_utf8"),
        (frame(TEXT, b"x" * 2000, mask=False), "websocket_too_large"),
    ],
    ids=["masked", "text", "large"],
)
def test_violation_of_the_server(serve: Serve, origin: Origin, data: bytes, error: str) -> None:
    origin.on("/ws", responding(data))  # type: ignore[arg-type]
    gateway = start(serve, origin.address, max_message_bytes=1000)
    with RawWebSocket(gateway.address) as client:
        assert client.is_accepted()
        assert client.frame().code == 1011
        client.send(close_frame(1011))
        assert client.read_to_end() == b""
    assert gateway.access_record(target="/ws")["error"] == error
    assert gateway.counter("websocket_faults") + gateway.counter("limit_websocket_message") == 1


def test_what_came_right_behind_the_101_is_a_message(serve: Serve, origin: Origin) -> None:
    origin.on("/ws", responding(frame(TEXT, b"early", mask=False)))  # type: ignore[arg-type]
    with RawWebSocket(start(serve, origin.address).address) as client:
        assert client.frame().text == "early"


def test_server_that_is_cut_is_cut_for_the_client(serve: Serve, origin: Origin) -> None:
    origin.on("/ws", responding(frame(TEXT, b"last words", mask=False), then="close"))  # type: ignore[arg-type]
    with RawWebSocket(start(serve, origin.address).address) as client:
        assert client.frame().text == "last words"
        assert client.read_to_end() == b""


def test_client_that_sends_no_pong_is_given_up(serve: Serve) -> None:
    with WebSocketServer() as server:
        gateway = start(serve, server.address, ping_interval="200ms")
        with RawWebSocket(gateway.address) as client:
            assert client.frame().opcode == PING
            client.send(frame(PONG))
            assert client.frame().opcode == PING
            assert client.read_to_end() == b""
        eventually(lambda: server.closes == [(1001, "the other side is gone")], "the server is told")
        assert gateway.access_record(target="/ws")["limit"] == "websocket.ping_interval"
        assert gateway.counter("timeout_websocket_ping") == 1


def test_server_that_sends_no_pong_is_given_up(serve: Serve, origin: Origin) -> None:
    origin.on("/ws", responding(b""))  # type: ignore[arg-type]
    gateway = start(serve, origin.address, ping_interval="200ms")
    with RawWebSocket(gateway.address) as client:
        while (got := client.frame()).opcode == PING:
            client.send(frame(PONG))
        assert got.code == 1001


def test_websocket_without_messages_ends(serve: Serve) -> None:
    with WebSocketServer() as server:
        gateway = start(serve, server.address, idle="400ms", ping_interval="100ms")
        with RawWebSocket(gateway.address) as client:
            # pings keep nothing alive
            while (got := client.frame()).opcode == PING:
                client.send(frame(PONG))
            assert got.code == 1001
            client.send(close_frame(1001))
        eventually(lambda: 1001 in dict(server.closes), "the server is told")
        assert gateway.access_record(target="/ws")["limit"] == "websocket.idle"


def test_close_without_a_reply_is_waited_for_no_longer(serve: Serve, origin: Origin) -> None:
    origin.on("/ws", responding(b""))  # type: ignore[arg-type]
    gateway = start(serve, origin.address, close_timeout="200ms")
    with RawWebSocket(gateway.address) as client:
        client.send(close_frame(1000))
        assert client.frame().code == 1000
        assert client.read_to_end() == b""
    assert gateway.access_record(target="/ws")["limit"] == "websocket.close_timeout"
    assert gateway.counter("timeout_websocket_close") == 1
