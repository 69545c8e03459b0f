"""HTTP/2 clients that mean no good: what they send is refused, bounded, counted and logged."""

import contextlib
from collections.abc import Callable, Sequence

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang
from e2e.kit.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    NO_PROTOCOLS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Http2Client,
    frame,
    header_block,
)

PROTOCOL_ERROR, ENHANCE_YOUR_CALM = 1, 11
HEAD = [(":method", "GET"), (":scheme", "http"), (":authority", "gate.test"), (":path", "/hostile")]


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(
        {
            "routes": [{"path": "/fixed", "respond": {"body": "fixed"}}, {"to": origin.address}],
            "http2": {"max_control_frames": 200, "max_resets": 50, "max_concurrent_streams": 20},
            "timeouts": {"client_head": 1, "client_idle": 2},
            "access_log": {"flush": "50ms"},
        }
    )


def sent_raw(gateway: RunningGateway, fields: Sequence[tuple[str, str]], *, ends: bool = True) -> Http2Client:
    """A client that has sent these fields on stream 1, whatever they are."""
    client = Http2Client(gateway.address)
    client.request("/fixed")
    flags = END_HEADERS | (END_STREAM if ends else 0)
    client.send_raw(frame(HEADERS, flags, 3, header_block(fields)))
    return client


@pytest.mark.parametrize(
    "fields",
    [
        [*HEAD, ("transfer-encoding", "chunked")],
        [*HEAD, ("connection", "close")],
        [*HEAD, ("keep-alive", "5")],
        [*HEAD, ("proxy-connection", "close")],
        [*HEAD, ("upgrade", "h2c")],
        [*HEAD, ("http2-settings", "AAMAAABkAAQAAP__")],
        [*HEAD, ("te", "gzip")],
        [*HEAD, ("content-length", "1"), ("content-length", "2")],
        [*HEAD, ("content-length", "+1")],
        [*HEAD, ("content-length", "1, 1")],
        [*HEAD, ("content-length", "5")],
        [*HEAD, ("host", "other.test")],
        [*HEAD, ("host", "gate.test"), ("host", "gate.test")],
        [*HEAD, ("x-a", " padded")],
        [*HEAD, ("x-a", "a\r\nx-smuggled: 1")],
        [*HEAD, ("x-a", "a\nb")],
        [*HEAD, ("x-a", "a\0b")],
        [*HEAD, ("x-a\r\nx-smuggled", "1")],
        [*HEAD, ("x-a: b", "1")],
        [*HEAD, ("X-Upper", "1")],
        [*HEAD, ("", "empty")],
        [*HEAD, (":path", "/twice")],
        [*HEAD, (":unknown", "1")],
        [("x-a", "1"), *HEAD],
        [*HEAD[:3]],
        [*HEAD[:3], (":path", "")],
        [*HEAD[:3], (":path", "/a HTTP/1.1\r\nHost: x\r\n\r\n")],
        [*HEAD[:3], (":path", "/a b")],
        [*HEAD[:3], (":path", "relative")],
        [(":method", "GET /x HTTP/1.1\r\n"), *HEAD[1:]],
        [(":method", "G T"), *HEAD[1:]],
        [HEAD[0], HEAD[1], (":authority", "a\r\nx: y"), HEAD[3]],
        [HEAD[0], HEAD[1], (":authority", "user@gate.test"), HEAD[3]],
        [HEAD[0], HEAD[1], (":authority", "gate.test/path"), HEAD[3]],
        [HEAD[0], HEAD[1], HEAD[3]],
        *([(":method", "CONNECT"), *HEAD[1:], (":protocol", protocol)] for protocol in NO_PROTOCOLS),
    ],
)
def test_nothing_that_http1_would_refuse_goes_on(
    gateway: RunningGateway, origin: Origin, fields: list[tuple[str, str]]
) -> None:
    with sent_raw(gateway, fields) as client:
        statuses = client.raw_statuses(3)
    assert statuses in (["reset"], ["goaway"], ["400"]), statuses
    assert origin.at("/hostile") == []
    assert b"smuggled" not in origin.received


def test_data_at_odds_with_the_length_never_passes_as_whole(gateway: RunningGateway, origin: Origin) -> None:
    fields = [("content-length", "3")]
    with Http2Client(gateway.address) as client:
        long = client.request("/long", method="POST", body=b"four", fields=fields)
        assert client.response(long).reset == PROTOCOL_ERROR
        short = client.request("/short", method="POST", body=b"ab", fields=fields)
        assert client.response(short).reset == PROTOCOL_ERROR
        right = client.request("/right", method="POST", body=b"abc", fields=fields)
        assert client.response(right).status == 200
    # calls are noted with their bodies: so a short one that passed as whole would be there
    assert [(call.body, call.is_failed) for call in origin.at("/right")] == [(b"abc", False)]
    assert b"four" not in origin.received
    assert [call for call in origin.at("/short") if not call.is_failed] == []


@pytest.mark.parametrize(
    ("flood", "limit", "counter"),
    [
        (frame(PING, 0, 0, b"12345678"), "http2.max_control_frames", "limit_http2_control_frames"),
        (frame(PING, ACK, 0, b"12345678"), "http2.max_control_frames", "limit_http2_control_frames"),
        (frame(SETTINGS), "http2.max_control_frames", "limit_http2_control_frames"),
        (frame(2, 0, 1, bytes(5)), "http2.max_control_frames", "limit_http2_control_frames"),
        (frame(0xBA, 0, 0, b"unknown"), "http2.max_control_frames", "limit_http2_control_frames"),
        (frame(8, 0, 0, b"\0\0\0\1"), "http2.max_control_frames", "limit_http2_control_frames"),
    ],
    ids=["ping", "pong", "settings", "priority", "unknown", "window"],
)
def test_flood_of_frames_without_work_ends_the_connection(
    gateway: RunningGateway, origin: Origin, flood: bytes, limit: str, counter: str
) -> None:
    before = gateway.counter(counter)
    with Http2Client(gateway.address) as client, Http2Client(gateway.address) as other:
        client.send_raw(flood * 400)
        client.read_to_end()
        assert client.goaway == ENHANCE_YOUR_CALM
        assert other.get("/fixed").body == b"fixed"
    assert gateway.counter(counter) == before + 1
    assert gateway.access_record(limit=limit)["client"] == "127.0.0.1"


def test_empty_data_frames_are_a_flood(gateway: RunningGateway, origin: Origin) -> None:
    with Http2Client(gateway.address) as client:
        client.request("/empty", method="POST", ends=False)
        client.send_raw(frame(DATA, 0, 1) * 400)
        client.read_to_end()
        assert client.goaway == ENHANCE_YOUR_CALM


def test_rapid_reset_ends_the_connection(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/hostile", hang)
    before = gateway.counter("limit_http2_resets")
    block = header_block(HEAD)
    with Http2Client(gateway.address) as client:
        for stream in range(1, 1001, 2):
            head = frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
            client.send_raw(head + frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")))
        client.read_to_end()
        assert client.goaway == ENHANCE_YOUR_CALM
    assert gateway.counter("limit_http2_resets") == before + 1
    # and what they began is over
    eventually(lambda: gateway.counter("requests_active") == 0, "no request is left")


@pytest.mark.parametrize(
    ("fields", "provocation"),
    [
        # a window that overflows, and data beyond the length: both make the gateway reset the stream
        ([], lambda stream: frame(8, 0, stream, b"\x7f\xff\xff\xff")),
        ([("content-length", "1")], lambda stream: frame(DATA, 0, stream, b"ab")),
    ],
    ids=["window", "data"],
)
def test_resets_that_a_client_provokes_end_the_connection(
    gateway: RunningGateway,
    origin: Origin,
    fields: list[tuple[str, str]],
    provocation: Callable[[int], bytes],
) -> None:
    origin.on("/hostile", hang)
    counters = ("limit_http2_control_frames", "limit_http2_resets")
    before = sum(map(gateway.counter, counters))
    block = header_block([*HEAD, *fields])
    with Http2Client(gateway.address) as client:
        streams = range(1, 6001, 2)
        pieces = [frame(HEADERS, END_HEADERS, stream, block) + provocation(stream) for stream in streams]
        # more than it will ever read: it may close before all of that is sent
        with contextlib.suppress(ConnectionError):
            client.send_raw(b"".join(pieces))
        assert raw_goaway(client) == ENHANCE_YOUR_CALM
    assert sum(map(gateway.counter, counters)) == before + 1
    eventually(lambda: gateway.counter("requests_active") == 0, "no request is left")


@pytest.mark.parametrize(
    "error", [frame(8, 0, 1, bytes(4)), frame(DATA, 0, 1, b"late")], ids=["window", "data"]
)
def test_frame_that_breaks_the_protocol_ends_the_connection(gateway: RunningGateway, error: bytes) -> None:
    with Http2Client(gateway.address) as client:
        client.send_raw(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(HEAD)) + error)
        client.read_to_end()
        assert client.goaway == PROTOCOL_ERROR


def raw_goaway(client: Http2Client) -> int | None:
    """The error code of the last GOAWAY, whatever else the gateway says of streams that were opened with raw frames."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.socket.recv(65536):
            data += piece
    code = None
    while len(data) >= 9:
        size = 9 + int.from_bytes(data[:3], "big")
        if data[3] == 7:
            code = int.from_bytes(data[13:17], "big")
        data = data[size:]
    return code


def test_header_block_without_end_is_cut(gateway: RunningGateway) -> None:
    with Http2Client(gateway.address) as client:
        client.send_raw(frame(HEADERS, END_STREAM, 1, header_block(HEAD)))
        client.send_raw(frame(CONTINUATION, 0, 1, b"") * 400)
        client.read_to_end()
        assert client.goaway == ENHANCE_YOUR_CALM


def test_header_block_that_never_ends_is_late(gateway: RunningGateway) -> None:
    before = gateway.counter("timeout_client_head")
    with Http2Client(gateway.address) as client:
        # the settings are settled: what is sent for them would itself break the block
        assert client.get("/fixed").status == 200
        client.send_raw(frame(HEADERS, END_STREAM, 3, header_block(HEAD)))
        client.read_to_end()
    assert gateway.counter("timeout_client_head") == before + 1


def test_client_that_says_nothing_after_the_preface_is_closed(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(PREFACE + frame(SETTINGS))
        assert client.read_to_end()[-17:-8] == frame(7, 0, 0, bytes(8))[:9]


def test_head_beyond_the_limit_gets_431(gateway: RunningGateway, origin: Origin) -> None:
    with Http2Client(gateway.address) as client:
        stream = client.request("/hostile", fields=[(f"x-{n}", "y" * 4000) for n in range(9)])
        assert client.response(stream).status == 431
        many = client.request("/hostile", fields=[(f"x-{n}", "y") for n in range(200)])
        assert client.response(many).status == 431
        assert client.get("/fixed").status == 200
    assert origin.at("/hostile") == []


def test_header_bomb_is_bounded(gateway: RunningGateway, origin: Origin) -> None:
    # one large field in the dynamic table, named thousands of times (HPACK bomb)
    large = b"\x40\x01a\x7f\x81\x1e" + b"v" * 4000
    block = header_block(HEAD) + large + b"\xbe" * 10_000
    with Http2Client(gateway.address) as client:
        client.send_raw(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
        assert client.raw_statuses(1) in (["431"], ["reset"], ["goaway"])
    assert origin.at("/hostile") == []


def test_streams_past_the_limit_are_refused(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/held", hang)
    with Http2Client(gateway.address) as client:
        block = header_block([*HEAD[:3], (":path", "/held")])
        for stream in range(1, 61, 2):
            client.send_raw(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
        assert client.raw_statuses(59) == ["reset"]
        origin.wait_for("/held", 20)
        assert len(origin.at("/held")) == 20


def test_idle_connection_is_told_and_closed(gateway: RunningGateway) -> None:
    before = gateway.counter("timeout_client_idle")
    with Http2Client(gateway.address) as client:
        assert client.get("/fixed").status == 200
        client.read_to_end()
        assert client.goaway == 0
    assert gateway.counter("timeout_client_idle") == before + 1


def test_old_connection_and_one_with_its_share_get_a_goaway(serve: Serve, origin: Origin) -> None:
    old = serve({"routes": [{"path": "/", "respond": "ok"}], "http2": {"max_age": "300ms"}})
    with Http2Client(old.address) as client:
        client.read_to_end()
        assert client.goaway == 0
    assert old.counter("timeout_http2_age") == 1
    worn = serve({"routes": [{"path": "/", "respond": "ok"}], "limits": {"max_requests_per_connection": 3}})
    with Http2Client(worn.address) as client:
        streams = [client.request("/") for _ in range(3)]
        assert [client.response(stream).status for stream in streams] == [200, 200, 200]
        client.read_to_end()
        assert client.goaway == 0


def test_client_that_reads_nothing_is_cut(serve: Serve, origin: Origin) -> None:
    route = {"path": "/", "respond": "x" * 60_000}
    gateway = serve(
        {"routes": [route], "timeouts": {"send": "1s"}, "http2": {"max_concurrent_streams": 1000}}
    )
    with Http2Client(gateway.address) as client:
        client.state.increment_flow_control_window(2**30)
        client.flush()
        block = header_block([*HEAD[:3], (":path", "/")])
        heads = (frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, block) for n in range(500))
        client.send_raw(b"".join(heads))
        eventually(lambda: gateway.counter("timeout_send") > 0, "the client is given up", within=20)
