"""HTTP/2 with servers: one connection for many requests, and what happens when the server says no."""

import contextlib
import hashlib
import os
import signal
import threading

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import digest, reply
from e2e.kit.http2 import CONTINUATION, HEADERS, PING, SETTINGS, Http2Client, frame
from e2e.kit.http2_server import Http2Server, Stream


def front(serve: Serve, address: str, **upstream: object) -> RunningGateway:
    """A gateway before a server that speaks HTTP/2."""
    servers = {"back": {"servers": [address], "protocol": "h2", **upstream}}
    return serve({"upstreams": servers, "routes": [{"to": "back"}], "access_log": {"flush": "50ms"}})


def echo(stream: Stream) -> None:
    """Responds with what came."""
    stream.respond(
        stream.body or b"ok", fields=[("x-path", stream.get(":path") or "")], trailers=[("x-end", "1")]
    )


def test_request_and_response_keep_their_parts(serve: Serve) -> None:
    with Http2Server(echo) as server:
        gateway = front(serve, server.address)
        with Http2Client(gateway.address) as client:
            stream = client.request(
                "/a?b=1", method="POST", body=b"hello", ends=False, fields=[("te", "trailers")]
            )
            client.send_trailers(stream, [("x-sum", "5")])
            response = client.response(stream)
        assert (response.status, response.body, response.get("x-path")) == (200, b"hello", "/a?b=1")
        assert response.trailers == [("x-end", "1")]
        asked = server.requests[-1]
        head = [asked.get(name) for name in (":method", ":scheme", ":authority", ":path", "te")]
        assert head == ["POST", "http", "gate.test", "/a?b=1", "trailers"]
        assert (asked.body, asked.trailers) == (b"hello", [("x-sum", "5")])
        assert asked.get("x-forwarded-for") == "127.0.0.1"


def test_clients_of_both_kinds_share_one_connection(serve: Serve) -> None:
    with Http2Server(echo) as server:
        gateway = front(serve, server.address)
        with gateway.client() as one, gateway.client() as other, Http2Client(gateway.address) as third:
            for _ in range(3):
                assert one.get("/").status == other.get("/").status == third.get("/").status == 200
        assert len(server.connections) == 1
        assert gateway.counter("upstream_connects") == 1


def test_long_bodies_arrive_whole(serve: Serve, origin: Origin) -> None:
    body = os.urandom(2_000_000)
    origin.on("/digest", digest)
    origin.on("/long", reply(body))
    back = serve({"routes": [{"to": origin.address}]})
    gateway = front(serve, back.address)
    with Http2Client(gateway.address) as client:
        sent = [client.request("/digest", method="POST", body=body) for _ in range(2)]
        for stream in sent:
            assert client.response(stream).body.decode() == hashlib.sha256(body).hexdigest()
        assert client.get("/long").body == body
    with gateway.client() as plain:
        assert plain.get("/long").body == body


def test_stream_that_the_server_refused_is_sent_again(serve: Serve) -> None:
    refusals = iter([True])

    def handler(stream: Stream) -> None:
        if next(refusals, False):
            stream.refuse()
        else:
            stream.respond(stream.body)

    with Http2Server(handler) as server:
        gateway = front(serve, server.address)
        # not even a POST has begun its work
        response = gateway.get("/", method="POST", body=b"once")
        assert (response.status, response.body) == (200, b"once")
        assert len(server.requests) == 2


def test_request_past_a_goaway_goes_to_a_new_connection(serve: Serve) -> None:
    def handler(stream: Stream) -> None:
        if stream.connection.number == 0 and stream.get(":method") == "POST":
            stream.connection.goaway(stream.number - 2)
        else:
            stream.respond(b"from %d" % stream.connection.number)

    with Http2Server(handler) as server:
        gateway = front(serve, server.address)
        assert gateway.get("/").body == b"from 0"
        assert gateway.get("/", method="POST", body=b"x").body == b"from 1"
        assert gateway.get("/").body == b"from 1"


def test_more_requests_than_the_server_allows_open_another_connection(serve: Serve) -> None:
    gate = threading.Event()
    held: list[Stream] = []

    def handler(stream: Stream) -> None:
        if stream.get(":path") == "/first" or gate.is_set():
            stream.respond(b"ok")
        else:
            held.append(stream)

    with Http2Server(handler, max_streams=2) as server:
        gateway = front(serve, server.address)
        assert gateway.get("/first").status == 200
        with Http2Client(gateway.address) as client:
            streams = [client.request("/held") for _ in range(4)]
            eventually(lambda: len(held) == 4, "all four are with the server")
            assert len(server.connections) == 2
            gate.set()
            for stream in held:
                stream.respond(b"ok")
            assert [client.response(stream).status for stream in streams] == [200] * 4


def test_client_that_leaves_resets_its_stream_only(serve: Serve) -> None:
    gate = threading.Event()

    def handler(stream: Stream) -> None:
        if stream.get(":path") == "/held":
            gate.set()
        else:
            stream.respond(b"ok")

    with Http2Server(handler) as server:
        gateway = front(serve, server.address)
        with gateway.client() as client:
            client.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            assert gate.wait(10)
        held = server.requests[0]
        eventually(lambda: held.reset == 8, "the stream is reset with CANCEL")
        assert gateway.get("/").status == 200
        assert len(server.connections) == 1


def test_server_that_sends_no_pong_is_given_up(serve: Serve) -> None:
    def handler(stream: Stream) -> None:
        stream.connection.server.is_mute = True

    with Http2Server(handler) as server:
        gateway = front(serve, server.address, keepalive={"ping": "300ms"}, retries=0)
        assert gateway.get("/", method="POST", body=b"x").status == 502
        assert gateway.counter("timeout_upstream_ping") == 1


def test_idle_connection_is_closed(serve: Serve) -> None:
    with Http2Server(echo) as server:
        gateway = front(serve, server.address, keepalive={"idle_timeout": "300ms"})
        assert gateway.get("/").status == 200
        closed = server.connections[0].socket
        eventually(lambda: closed.fileno() == -1, "the connection is closed")
        assert gateway.get("/").status == 200
        assert len(server.connections) == 2


def test_server_that_speaks_only_http1_is_a_502(serve: Serve, origin: Origin) -> None:
    gateway = front(serve, origin.address, retries=0)
    assert gateway.get("/").status == 502


def test_goaway_lets_what_is_in_flight_finish(serve: Serve) -> None:
    held: list[Stream] = []

    def handler(stream: Stream) -> None:
        if stream.get(":path") == "/held":
            held.append(stream)
            stream.connection.goaway(stream.number)
        else:
            stream.respond(b"from %d" % stream.connection.number)

    with Http2Server(handler) as server:
        gateway = front(serve, server.address)
        with Http2Client(gateway.address) as client:
            stream = client.request("/held")
            eventually(lambda: held, "the request is with the server")
            # the connection takes no more, and ends with the last that is on it
            eventually(lambda: gateway.get("/").body == b"from 1", "others go elsewhere")
            held[0].respond(b"finished")
            assert client.response(stream).body == b"finished"


def test_stop_of_the_gateway_lets_what_is_in_flight_finish(serve: Serve) -> None:
    held: list[Stream] = []
    with Http2Server(held.append) as server:
        gateway = front(serve, server.address)
        with gateway.client() as client:
            client.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda: held, "the request is with the server")
            gateway.signal(signal.SIGQUIT)
            gateway.wait_for_log("stopping")
            held[0].respond(b"finished")
            assert client.response().body == b"finished"
        assert gateway.process.wait(30) == 0


def test_head_of_the_server_beyond_the_limit_is_a_502(serve: Serve) -> None:
    def handler(stream: Stream) -> None:
        count = int((stream.get(":path") or "/0")[1:])
        stream.respond(b"ok", fields=[(f"x-{number}", "y" * 2000) for number in range(count)])

    with Http2Server(handler) as server:
        gateway = front(serve, server.address)
        assert gateway.get("/3").status == 200
        assert gateway.get("/30").status == 502
        # its connection is fit for others
        assert gateway.get("/3").status == 200
        assert len(server.connections) == 1


@pytest.mark.parametrize("kind", ["ping", "settings", "continuation"])
def test_flood_of_the_server_harms_no_other(serve: Serve, kind: str) -> None:
    """A server is trusted with its own connection; what it sends without end must not end or hold the gateway."""
    floods = {
        "ping": frame(PING, 0, 0, b"12345678") * 20_000,
        "settings": frame(SETTINGS) * 20_000,
        "continuation": frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 20_000,
    }

    def handler(stream: Stream) -> None:
        def pour() -> None:
            with contextlib.suppress(OSError):
                stream.connection.socket.sendall(floods[kind])

        threading.Thread(target=pour, daemon=True).start()

    with Http2Server(handler) as server, Http2Server(echo) as other:
        upstreams = {
            name: {"servers": [one.address], "protocol": "h2", "retries": 0}
            for name, one in (("bad", server), ("good", other))
        }
        routes = [{"path": "/bad", "to": "bad"}, {"path": "/good", "to": "good"}]
        gateway = serve({"upstreams": upstreams, "routes": routes, "timeouts": {"upstream_head": "2s"}})
        with gateway.client() as client:
            client.send(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
            assert [gateway.get("/good").status for _ in range(20)] == [200] * 20
            assert client.response().status in (502, 504)
        assert gateway.workers
