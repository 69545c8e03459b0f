"""HTTP/2 with clients, by prior knowledge: what a request and its response become on the way."""

import hashlib
import os
import signal
import threading

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve
from e2e.kit.behaviours import chunked, digest, gated, hang, raw, reply, upgrade_echo
from e2e.kit.http2 import PREFACE, SETTINGS, Http2Client, Http2Response, frame

INTERNAL_ERROR = 2


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(
        {
            "routes": [{"path": "/fixed", "respond": {"body": "fixed"}}, {"to": origin.address}],
            "access_log": {"flush": "50ms"},
        }
    )


def test_request_reaches_the_origin_as_strict_http1(gateway: RunningGateway, origin: Origin) -> None:
    with Http2Client(gateway.address) as client:
        fields = [("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("te", "trailers")]
        response = client.get("/seen?q=1", fields)
    assert (response.status, response.is_ended) == (200, True)
    call = origin.wait_for("/seen")
    assert (call.method, call.target, call.version) == ("GET", "/seen?q=1", "HTTP/1.1")
    assert call.all("host") == ["gate.test"]
    assert call.all("cookie") == ["a=1; b=2"]
    assert (call.get("te"), call.get("x-a"), call.get("x-forwarded-proto")) == ("trailers", "1", "http")
    assert gateway.access_record(target="/seen?q=1")["version"] == "HTTP/2.0"


def test_streams_do_not_wait_for_each_other(gateway: RunningGateway, origin: Origin) -> None:
    gate = threading.Event()
    origin.on("/slow", gated(gate, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow", b"done"))
    with Http2Client(gateway.address) as client:
        slow = client.request("/slow")
        assert client.head(slow).status == 200
        quick = [client.request("/fixed") for _ in range(20)]
        assert [client.response(stream).body for stream in quick] == [b"fixed"] * 20
        gate.set()
        assert client.response(slow).body == b"slowdone"


def test_bodies_and_trailers_go_both_ways(gateway: RunningGateway, origin: Origin) -> None:
    def echo(call: Call) -> None:
        body = call.read_body()
        chunked([body, b"!"], trailers=[("X-Sum", "7")])(call)

    origin.on("/trailers", echo)
    with Http2Client(gateway.address) as client:
        stream = client.request("/trailers", method="POST", body=b"hello", ends=False)
        client.send_trailers(stream, [("x-client", "yes")])
        response = client.response(stream)
    assert (response.body, response.trailers) == (b"hello!", [("x-sum", "7")])
    assert origin.wait_for("/trailers").trailers == [("x-client", "yes")]


def test_long_bodies_arrive_whole(gateway: RunningGateway, origin: Origin) -> None:
    body = os.urandom(3_000_000)
    origin.on("/digest", digest)
    origin.on("/long", reply(body))
    with Http2Client(gateway.address) as client:
        sent = client.request("/digest", method="POST", body=body)
        told = client.request(
            "/digest", method="POST", body=body, fields=[("content-length", str(len(body)))]
        )
        assert client.response(sent).body.decode() == hashlib.sha256(body).hexdigest()
        assert client.response(told).body.decode() == hashlib.sha256(body).hexdigest()
        streams = [client.request("/long") for _ in range(3)]
        assert all(client.response(stream).body == body for stream in streams)
    calls = origin.at("/digest")
    assert [call.get("content-length") for call in calls] == [None, str(len(body))]


def test_gateway_sends_no_more_than_the_windows_allow(gateway: RunningGateway, origin: Origin) -> None:
    body = os.urandom(400_000)
    origin.on("/windowed", reply(body))
    with Http2Client(gateway.address, window=10_000, auto_window=False) as client:
        stream = client.request("/windowed")
        assert client.body(stream, 10_000) == body[:10_000]
        # another stream is not held up: only the connection's window is shared
        assert client.get("/fixed").body == b"fixed"
        assert client.streams[stream].body == b""
        client.state.increment_flow_control_window(500_000)
        client.state.increment_flow_control_window(500_000, stream)
        client.flush()
        assert client.response(stream).body == body[10_000:]


def test_responses_without_body_end_with_their_head(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/none", raw(b"HTTP/1.1 204 No Content\r\n\r\n"))
    origin.on("/same", raw(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'))
    origin.on(
        "/early",
        raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    )
    with Http2Client(gateway.address) as client:
        head = client.response(client.request("/fixed", method="HEAD"))
        assert (head.status, head.body, head.get("content-length")) == (200, b"", "5")
        assert client.get("/none").status == 204
        assert client.get("/same").get("etag") == '"a"'
        early = client.get("/early")
        assert early.interim == [[(":status", "103"), ("link", "</a>")]]
        assert (early.status, early.body) == (200, b"ok")


def test_fields_of_the_connection_do_not_reach_the_client(gateway: RunningGateway, origin: Origin) -> None:
    origin.on(
        "/hop",
        raw(
            b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n"
        ),
    )
    with Http2Client(gateway.address) as client:
        names = {name for name, _ in client.get("/hop").fields}
    assert not names & {"connection", "keep-alive", "x-hop", "transfer-encoding"}


def test_cancelled_stream_is_a_client_that_left(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/hang", hang)
    with Http2Client(gateway.address) as client:
        stream = client.request("/hang")
        origin.wait_for("/hang")
        client.cancel(stream)
        assert gateway.access_record(target="/hang")["status"] == 499
        # the connection goes on
        assert client.get("/fixed").body == b"fixed"


def test_half_a_response_is_reset(gateway: RunningGateway, origin: Origin) -> None:
    gate = threading.Event()

    def cut(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        gate.wait(20)
        call.close()

    origin.on("/cut", cut)
    with Http2Client(gateway.address) as client:
        stream = client.request("/cut")
        assert client.body(stream, 4) == b"half"
        gate.set()
        response = client.response(stream)
        assert (response.is_ended, response.reset) == (False, INTERNAL_ERROR)
        assert client.get("/fixed").status == 200


def test_response_before_the_request_ended_asks_for_no_more(gateway: RunningGateway, origin: Origin) -> None:
    with Http2Client(gateway.address) as client:
        stream = client.request("/fixed", method="POST", body=b"begun", ends=False)
        response = client.response(stream)
        assert (response.status, response.body) == (200, b"fixed")
        # RFC 9113 section 8.1: NO_ERROR, which may come behind the end
        while client.streams[stream].reset is None and client.receive():
            pass
        assert client.streams[stream].reset == 0


def test_websocket_comes_by_extended_connect(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/echo", upgrade_echo)
    with Http2Client(gateway.address) as client:
        stream = client.request(
            "/echo",
            method="CONNECT",
            fields=[(":protocol", "websocket"), ("sec-websocket-version", "13")],
            ends=False,
        )
        head = client.head(stream)
        assert (head.status, head.get("sec-websocket-accept")) == (200, None)
        for text in (b"one", b"\x00\xff" * 30_000):
            client.send_body(stream, text, ends=False)
            assert client.body(stream, len(text)) == text
        client.send_body(stream, b"")
        assert client.response(stream).body == b"bye"
    call = origin.wait_for("/echo")
    assert (call.method, call.get("upgrade"), call.get("sec-websocket-version")) == ("GET", "websocket", "13")
    assert len(call.get("sec-websocket-key") or "") == 24


def test_plain_connect_is_refused(gateway: RunningGateway) -> None:
    with Http2Client(gateway.address) as client:
        stream = client.state.get_next_available_stream_id()
        client.state.send_headers(stream, [(":method", "CONNECT"), (":authority", "a.test:443")])
        client.streams[stream] = Http2Response()
        client.flush()
        assert client.response(stream).status == 501


def test_preface_may_come_in_pieces(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for piece in (PREFACE[:1], PREFACE[1:3], PREFACE[3:20]):
            client.send(piece)
            assert client.is_silent(0.02)
        client.send(PREFACE[20:] + frame(SETTINGS))
        # its own SETTINGS
        assert client.read_exactly(9)[3] == 4


def test_upgrade_to_h2c_is_ignored(gateway: RunningGateway, origin: Origin) -> None:
    fields = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ]
    response = gateway.get("/h2c", fields)
    assert response.status == 200
    call = origin.wait_for("/h2c")
    assert (call.get("upgrade"), call.get("http2-settings"), call.get("connection")) == (None, None, None)


def test_graceful_stop_lets_streams_finish(serve: Serve, origin: Origin) -> None:
    gate = threading.Event()
    origin.on("/gated", gated(gate, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", b"done"))
    gateway = serve({"routes": [{"to": origin.address}]})
    with Http2Client(gateway.address) as client:
        stream = client.request("/gated")
        client.body(stream, 4)
        gateway.signal(signal.SIGQUIT)
        while client.goaway is None:
            assert client.receive()
        assert client.goaway == 0
        gate.set()
        assert client.response(stream).body == b"done"
        client.read_to_end()
    gateway.process.wait(15)


def test_http2_can_be_switched_off(serve: Serve, origin: Origin) -> None:
    gateway = serve({"routes": [{"to": origin.address}], "http2": {"h2c": "off"}})
    with gateway.client() as client:
        client.send(PREFACE)
        assert client.response().status == 505
