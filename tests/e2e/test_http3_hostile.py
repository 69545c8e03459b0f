"""HTTP/3 clients that mean no good: what they send is refused, bounded, counted and logged."""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence

import pytest
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import StreamDataReceived
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang
from e2e.kit.http2 import NO_PROTOCOLS
from e2e.kit.http3 import Http3Client, frame, section
from e2e.kit.net import split_address
from e2e.kit.pki import Authority, Leaf

DATA, HEADERS, SETTINGS, GOAWAY, MAX_PUSH_ID = 0, 1, 4, 7, 0xD
PRIORITY_UPDATE, PUSH_PRIORITY_UPDATE = 0xF0700, 0xF0701
STREAM_CREATION_ERROR, CLOSED_CRITICAL, UNEXPECTED, FRAME_ERROR, EXCESSIVE_LOAD = range(0x103, 0x108)
ID_ERROR, SETTINGS_ERROR, MISSING_SETTINGS = 0x108, 0x109, 0x10A
INCOMPLETE, MESSAGE_ERROR = 0x10D, 0x10E
DECOMPRESSION_FAILED, ENCODER_STREAM_ERROR, DECODER_STREAM_ERROR = 0x200, 0x201, 0x202

HEAD = [(":method", "GET"), (":scheme", "https"), (":authority", "gate.test"), (":path", "/hostile")]
FIXED = frame(HEADERS, section([*HEAD[:3], (":path", "/fixed")]))


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return authority.issue("gate.test")


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, leaf: Leaf) -> RunningGateway:
    return serve_module(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.access_log("json", flush="50ms")
gate.http3(max_resets=50, max_concurrent_streams=20)
gate.timeouts(client_head=1)
gate.route("/fixed", respond="fixed")
gate.route("/", to={origin.address!r})
""")


@pytest.fixture
def raw(gateway: RunningGateway, authority: Authority):
    """A client that has sent nothing yet."""
    with Http3Client(gateway.address, authority.ca, is_raw=True) as client:
        yield client


def outcome(client: Http3Client, stream: int) -> str:
    response = client.response(stream)
    if client.terminated:
        return f"closed {client.terminated.error_code:#x}"
    if response.reset is not None:
        return f"reset {response.reset:#x}"
    return f"ended {response.status}"


@pytest.mark.parametrize(
    "fields",
    [
        [*HEAD, ("transfer-encoding", "chunked")],
        [*HEAD, ("connection", "close")],
        [*HEAD, ("keep-alive", "5")],
        [*HEAD, ("upgrade", "h2c")],
        [*HEAD, ("te", "gzip")],
        [*HEAD, ("content-length", "1"), ("content-length", "2")],
        [*HEAD, ("content-length", "+1")],
        [*HEAD, ("content-length", "5")],
        [*HEAD, ("host", "other.test")],
        [*HEAD, ("host", "gate.test"), ("host", "gate.test")],
        [*HEAD, ("x-a", " padded")],
        [*HEAD, ("x-a", "a\r\nx-smuggled: 1")],
        [*HEAD, ("x-a", "a\0b")],
        [*HEAD, ("x-a\r\nx-smuggled", "1")],
        [*HEAD, ("X-Upper", "1")],
        [*HEAD, ("", "empty")],
        [*HEAD, (":path", "/twice")],
        [*HEAD, (":status", "200")],
        [("x-a", "1"), *HEAD],
        [*HEAD[:3]],
        [*HEAD[1:]],
        [HEAD[0], *HEAD[2:]],
        [*HEAD[:3], (":path", "/a HTTP/1.1\r\nHost: x\r\n\r\n")],
        [*HEAD[:3], (":path", "relative")],
        [(":method", "G T"), *HEAD[1:]],
        [HEAD[0], HEAD[1], (":authority", "user@gate.test"), HEAD[3]],
        [HEAD[0], HEAD[1], HEAD[3]],
        [(":method", "CONNECT"), *HEAD[1:]],
        [*HEAD, (":protocol", "websocket")],
        *([(":method", "CONNECT"), *HEAD[1:], (":protocol", protocol)] for protocol in NO_PROTOCOLS),
    ],
)
def test_nothing_that_http1_would_refuse_goes_on(
    gateway: RunningGateway, authority: Authority, origin: Origin, fields: Sequence[tuple[str, str]]
) -> None:
    with Http3Client(gateway.address, authority.ca) as client:
        stream = client.request("/fixed")
        client.response(stream)
        client.send_raw(4, frame(HEADERS, section(fields)), ends=True)
        assert outcome(client, 4) in (f"reset {MESSAGE_ERROR:#x}", "ended 400")
        assert client.get("/fixed").body == b"fixed", "the connection goes on"
    assert origin.at("/hostile") == []
    assert b"smuggled" not in origin.received


def test_data_at_odds_with_the_length_never_passes_as_whole(
    gateway: RunningGateway, authority: Authority, origin: Origin
) -> None:
    fields = [("content-length", "3")]
    with Http3Client(gateway.address, authority.ca) as client:
        for target, body in (("/long", b"four"), ("/short", b"ab")):
            stream = client.request(target, fields, method="POST", body=body)
            assert client.response(stream).reset == MESSAGE_ERROR, target
        right = client.request("/right", fields, method="POST", body=b"abc")
        assert client.response(right).status == 200
    assert b"four" not in origin.received
    assert [call for call in origin.at("/short") if not call.is_failed] == []


CONTROL = b"\0" + frame(SETTINGS)


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ([(2, b"\0" + frame(GOAWAY, b"\0"), False)], MISSING_SETTINGS),
        ([(2, CONTROL + frame(SETTINGS), False)], UNEXPECTED),
        ([(2, CONTROL + frame(DATA, b"x"), False)], UNEXPECTED),
        ([(2, CONTROL + frame(HEADERS, b"x"), False)], UNEXPECTED),
        ([(2, CONTROL + frame(2, b"x"), False)], UNEXPECTED),
        ([(2, CONTROL, True)], CLOSED_CRITICAL),
        ([(2, CONTROL, False), (6, CONTROL, False)], STREAM_CREATION_ERROR),
        ([(2, b"\1\0", False)], STREAM_CREATION_ERROR),
        ([(2, b"\0" + frame(SETTINGS, b"\2\0"), False)], SETTINGS_ERROR),
        ([(2, b"\0" + frame(SETTINGS, b"\7\0\7\0"), False)], SETTINGS_ERROR),
        ([(2, b"\0" + frame(SETTINGS, b"\7"), False)], FRAME_ERROR),
        ([(2, CONTROL + frame(MAX_PUSH_ID, b"\5") + frame(MAX_PUSH_ID, b"\1"), False)], ID_ERROR),
        ([(2, CONTROL + frame(GOAWAY, b"\1") + frame(GOAWAY, b"\5"), False)], ID_ERROR),
        ([(2, CONTROL + frame(3, b"\0"), False)], ID_ERROR),
        ([(2, CONTROL + frame(GOAWAY, b"\0\0"), False)], FRAME_ERROR),
        ([(2, CONTROL + frame(PRIORITY_UPDATE, b"\1u=1"), False)], ID_ERROR),
        ([(2, CONTROL + frame(PRIORITY_UPDATE, b"\2u=1"), False)], ID_ERROR),
        ([(2, CONTROL + frame(PRIORITY_UPDATE, b"\x40\x50u=1"), False)], ID_ERROR),
        ([(2, CONTROL + frame(PRIORITY_UPDATE, b""), False)], FRAME_ERROR),
        ([(2, CONTROL + frame(PRIORITY_UPDATE, b"\0u=1") * 1500, False)], EXCESSIVE_LOAD),
        ([(2, CONTROL + frame(PUSH_PRIORITY_UPDATE, b"\0u=1"), False)], ID_ERROR),
        ([(0, frame(PRIORITY_UPDATE, b"\0u=1"), False)], UNEXPECTED),
        ([(2, b"\2\x3f\xe1\x1f", False)], ENCODER_STREAM_ERROR),
        ([(2, b"\3\x80", False)], DECODER_STREAM_ERROR),
        ([(2, b"\3\x41", True)], CLOSED_CRITICAL),
        ([(2, CONTROL + frame(0x21) * 1500, False)], EXCESSIVE_LOAD),
        ([(0, frame(DATA, b"x"), False)], UNEXPECTED),
        ([(0, frame(SETTINGS), False)], UNEXPECTED),
        ([(0, frame(6, b"x"), False)], UNEXPECTED),
        ([(0, frame(HEADERS, b"\0\0\x80"), True)], DECOMPRESSION_FAILED),
        ([(0, frame(HEADERS, b"\2\0\x80"), True)], DECOMPRESSION_FAILED),
        ([(0, frame(HEADERS, b"\0\0\x51\x7f\xff\xff\xff\xff\xff\xff"), True)], DECOMPRESSION_FAILED),
        ([(0, FIXED[:-3], True)], FRAME_ERROR),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection_with_its_code(
    raw: Http3Client, streams: list[tuple[int, bytes, bool]], code: int
) -> None:
    for stream, data, ends in streams:
        raw.send_raw(stream, data, ends=ends)
    assert raw.wait_closed().error_code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(DATA, b"whole")[:-2], FRAME_ERROR),
        (frame(HEADERS, section([("x-sum", "1")])) + frame(DATA, b"late"), UNEXPECTED),
        (frame(SETTINGS), UNEXPECTED),
        (frame(0x21) * 1500, EXCESSIVE_LOAD),
        (frame(DATA) * 1500, EXCESSIVE_LOAD),
    ],
    ids=["cut", "behind trailers", "settings", "unknown frames", "empty frames"],
)
def test_what_breaks_a_body_ends_the_connection(raw: Http3Client, data: bytes, code: int) -> None:
    head = frame(HEADERS, section([(":method", "POST"), *HEAD[1:]]))
    raw.send_raw(0, head + data, ends=True)
    assert raw.wait_closed().error_code == code


def test_what_means_nothing_is_passed_over(raw: Http3Client) -> None:
    raw.send_raw(2, b"\0" + frame(SETTINGS, b"\x40\x5f\1") + frame(0x21, b"grease"))
    raw.send_raw(6, b"\x40\x5f" + b"a stream of a reserved type")
    raw.send_raw(10, b"\2\x20")
    raw.send_raw(14, b"\3\x44")
    raw.send_raw(0, frame(0x40, b"unknown") + FIXED + frame(0x21, b""), ends=True)
    body = []

    def responded() -> bool:
        body[:] = [one for one in raw.events if isinstance(one, StreamDataReceived) and one.stream_id == 0]
        return bool(body) and body[-1].end_stream

    raw.until(lambda: responded() or raw.terminated, "the response")
    assert b"".join(one.data for one in body).endswith(b"fixed")
    assert raw.terminated is None


def test_sections_are_bounded_by_what_they_come_to(
    gateway: RunningGateway, authority: Authority, origin: Origin
) -> None:
    bomb = section(HEAD) + b"\xff\x16" * 2000  # of 85: 110 bytes each, with the overhead
    before = gateway.counter("limit_head")
    with Http3Client(gateway.address, authority.ca) as client:
        client.response(client.request("/fixed"))
        client.send_raw(4, frame(HEADERS, bomb), ends=True)
        assert outcome(client, 4) == "ended 431"
        # one that only says that it is large is not waited for
        client.send_raw(8, b"\1\xc0\0\0\0\x40\0\0\0" + b"x" * 100)
        assert outcome(client, 8) == "ended 431"
        large = client.request("/hostile", [("x-large", "v" * 40_000)])
        assert client.response(large).status == 431
        assert client.get("/fixed").body == b"fixed", "the connection goes on"
    assert gateway.counter("limit_head") == before + 3
    assert origin.at("/hostile") == []


def test_head_that_does_not_come_is_not_awaited_for_ever(
    gateway: RunningGateway, authority: Authority
) -> None:
    before = gateway.counter("timeout_client_head")
    with Http3Client(gateway.address, authority.ca) as client:
        client.send_raw(0, FIXED[:5])
        assert client.response(0).reset == INCOMPLETE
        client.send_raw(4, b"", ends=True)
        assert client.response(4).reset == INCOMPLETE
    assert gateway.counter("timeout_client_head") == before + 1


def test_rapid_reset_ends_the_connection(
    gateway: RunningGateway, authority: Authority, origin: Origin
) -> None:
    origin.on("/hostile", hang)
    before = gateway.counter("limit_http3_resets")
    with Http3Client(gateway.address, authority.ca) as client:
        end = time.monotonic() + 20
        while client.terminated is None and time.monotonic() < end:
            while client.may_request and client.terminated is None:
                with contextlib.suppress(AssertionError):
                    client.cancel(client.request("/hostile"))
            client.receive(time.monotonic() + 0.02)
        assert client.wait_closed().error_code == EXCESSIVE_LOAD
    assert gateway.counter("limit_http3_resets") == before + 1
    assert gateway.access_record(limit="http3.max_resets")["client"] == "127.0.0.1"
    eventually(lambda: gateway.counter("requests_active") == 0, "no request is left")


def test_streams_that_mean_nothing_are_bounded(raw: Http3Client) -> None:
    end = time.monotonic() + 20
    for stream in range(2, 4000, 4):
        if raw.terminated or time.monotonic() > end:
            break
        raw.send_raw(stream, b"\x40\x5f", ends=True)
        raw.receive(time.monotonic() + 0.05)
    assert raw.wait_closed().error_code == EXCESSIVE_LOAD


def test_streams_at_once_are_bounded(gateway: RunningGateway, authority: Authority) -> None:
    with Http3Client(gateway.address, authority.ca) as client:
        client.get("/fixed")
        assert client.quic._remote_max_streams_bidi <= 20 + 1


def test_clients_prove_their_address_while_many_handshakes_are_open(
    serve: Serve, authority: Authority, leaf: Leaf
) -> None:
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.limits(max_tls_handshakes=16)
gate.route("/", respond="ok")
""")
    _, peer = split_address(gateway.address)
    silent = []
    for _ in range(60):
        quic = QuicConnection(
            configuration=QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="gate.test")
        )
        quic.connect(peer, now=time.monotonic())
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for datagram, _ in quic.datagrams_to_send(now=time.monotonic()):
            one.sendto(datagram, peer)
        silent.append(one)
    eventually(lambda: gateway.counter("http3_retries") >= 50, "clients are asked to prove their address")
    assert gateway.counter("connections_active") <= 16
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get("/").body == b"ok"
    for one in silent:
        one.close()


def test_old_connection_and_one_with_its_share_get_a_goaway(
    serve: Serve, authority: Authority, leaf: Leaf
) -> None:
    text = f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.route("/", respond="ok")
"""
    old = serve(text + 'gate.http3(max_age="300ms")\n')
    with Http3Client(old.address, authority.ca) as client:
        assert client.get("/").body == b"ok"
        assert client.wait_closed().error_code == 0x100
        assert client.goaways[-1] == 4, "the last says which requests were served"
    assert old.counter("timeout_http3_age") == 1
    share = serve(text + "gate.limits(max_requests_per_connection=2)\n")
    with Http3Client(share.address, authority.ca) as client:
        assert [client.get("/").body for _ in range(2)] == [b"ok"] * 2
        assert client.wait_closed().error_code == 0x100
        assert client.goaways[-1] == 8


def test_idle_and_silent_connections_end(serve: Serve, authority: Authority, leaf: Leaf) -> None:
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.http3(idle="1s")
gate.timeouts(client_idle="8s")
gate.route("/", respond="ok")
""")
    silent = Http3Client(gateway.address, authority.ca)
    assert silent.get("/").body == b"ok"
    silent.socket.close()
    with Http3Client(gateway.address, authority.ca) as idle:
        assert idle.get("/").body == b"ok"
        idle.until(
            lambda: gateway.counter("connections_active") == 1, "the silent one counts as gone", within=30
        )
        assert gateway.counter("timeout_client_idle") == 0
        idle.until(lambda: idle.terminated, "the connection's end", within=30)
        assert idle.wait_closed().error_code == 0x100
    assert gateway.counter("timeout_client_idle") == 1


def test_an_upload_goes_no_further_than_its_reader(
    serve: Serve, authority: Authority, leaf: Leaf, origin: Origin
) -> None:
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.http3(window_bytes="64k")
gate.route("/", to={origin.address!r})
""")
    begun, goes_on = threading.Event(), threading.Event()

    def late(call: Call) -> None:
        begun.set()
        goes_on.wait(30)
        call.respond(str(len(call.read_body())).encode())

    origin.on("/late", late)
    body = bytes(20_000_000)
    with Http3Client(gateway.address, authority.ca, timeout=60) as client:
        stream = client.request("/late", method="POST", body=body)
        client.until(begun.is_set, "the server has the head")
        last = -1
        # until nothing moves any more: kernel and gateway hold what they may
        while (sent := client.quic._streams[stream].sender._buffer_start) != last:
            last = sent
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                client.receive(end)
        assert last < 12_000_000
        goes_on.set()
        assert client.response(stream).body == b"20000000"
