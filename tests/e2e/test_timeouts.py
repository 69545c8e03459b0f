"""Timeouts: each has its response, its log field and its counter."""

import socket
import threading
import time

from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang, raw, reply

SHORT = "300ms"
LATEST = 5.0
"""Far below the defaults, far above `SHORT` on a busy machine."""


def timed(serve: Serve, origin: Origin, **timeouts: str) -> RunningGateway:
    routes = [{"to": origin.address}]
    return serve({"routes": routes, "timeouts": timeouts, "access_log": {"flush": "50ms"}})


def hits(gateway: RunningGateway, name: str) -> None:
    """The timeout was hit once, and is in the log under its name in the configuration."""
    record = eventually(
        lambda: next((r for r in gateway.access_records() if r["limit"]), None), "a record with a limit"
    )
    assert record["limit"] == f"timeouts.{name}"
    assert gateway.counter(f"timeout_{name}") >= 1


def test_slow_request_head_gets_408(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, client_head=SHORT)
    with gateway.client() as client:
        started = time.monotonic()
        client.send(b"GET /slow HTTP/1.1\r\nHost: ga")
        assert client.head().status == 408
        assert time.monotonic() - started < LATEST
        client.read_to_end()
    hits(gateway, "client_head")
    assert not origin.calls


def test_head_that_drips_gets_408_all_the_same(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, client_head=SHORT)
    with gateway.client() as client:
        client.send(b"GET /slow HTTP/1.1\r\n")
        deadline = time.monotonic() + LATEST
        while client.is_silent(0.05):
            assert time.monotonic() < deadline, "a dripping head is never cut"
            client.send(b"X-A: b\r\n")
        assert client.head().status == 408


def test_slow_request_body_gets_408(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, client_body=SHORT)
    with gateway.client() as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 10\r\n\r\nabc")
        assert client.head().status == 408
        client.read_to_end()
    hits(gateway, "client_body")


def test_body_that_keeps_coming_is_not_cut(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, client_body="1s")
    with gateway.client() as client:
        client.send(b"POST /steady HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 15\r\n\r\n")
        for _ in range(15):
            assert client.is_silent(0.1)
            client.send(b"x")
        assert client.response("POST").status == 200


def test_idle_client_connection_is_closed_silently(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, client_idle=SHORT)
    with gateway.client() as client:
        assert client.get("/").status == 200
        assert client.is_closed(within=LATEST)
    eventually(lambda: gateway.counter("timeout_client_idle") >= 1, "the counter tells")


def test_connection_that_never_sends_is_closed_silently(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, client_idle=SHORT, client_head=SHORT)
    with gateway.client() as client:
        assert client.is_closed(within=LATEST)


def test_client_that_does_not_read_is_cut(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, send=SHORT)
    origin.on("/huge", reply(b"h" * 30_000_000))
    with RawClient(gateway.address, receive_buffer=4096) as client:
        client.send(b"GET /huge HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        hits(gateway, "send")
        assert len(client.read_to_end()) < 30_000_000


def test_full_backlog_of_a_server_gets_504(serve: Serve) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        host, port = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((host, port))
        upstream = {"servers": f"{host}:{port} max_fails=0", "retries": 0}
        source = {"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "timeouts": {"connect": SHORT}}
        gateway = serve({**source, "access_log": {"flush": "50ms"}})
        assert gateway.get("/connect").status == 504
        hits(gateway, "connect")
        for filler in fillers:
            filler.close()


def test_server_that_does_not_respond_gives_504(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, upstream_head=SHORT)
    origin.on("/mute", hang)
    with gateway.client() as client:
        response = client.get("/mute")
        assert (response.status, response.get("content-type")) == (504, "application/problem+json")
        assert client.get("/after").status == 200
    hits(gateway, "upstream_head")


def test_post_to_a_server_that_does_not_respond_is_not_repeated(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, upstream_head=SHORT)
    origin.on("/mute-post", hang)
    assert gateway.post("/mute-post", b"x").status == 504
    assert len(origin.at("/mute-post")) == 1


def test_upload_does_not_count_as_waiting_for_the_head(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, upstream_head="1s")
    with gateway.client() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 15\r\n\r\n")
        for _ in range(15):
            assert client.is_silent(0.1)
            client.send(b"x")
        assert client.response("POST").status == 200


def test_response_body_that_stops_cuts_the_connection(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, upstream_idle=SHORT)
    origin.on("/stops", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then="hang"))
    with gateway.client() as client:
        client.send(b"GET /stops HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.head().status == 200
        assert client.read_to_end() == b"half"
    hits(gateway, "upstream_idle")


def test_chunked_response_that_stops_is_not_ended_properly(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, upstream_idle=SHORT)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.on("/stops-chunked", raw(head + b"4\r\nhalf\r\n", then="hang"))
    with gateway.client() as client:
        client.send(b"GET /stops-chunked HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.head().status == 200
        data = client.read_to_end()
    assert b"half" in data
    assert not data.endswith(b"0\r\n\r\n")


def test_silent_tunnel_ends(serve: Serve, origin: Origin) -> None:
    gateway = timed(serve, origin, upstream_idle=SHORT)
    origin.on("/tunnel", raw(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", then="hang"))
    with gateway.client() as client:
        client.send(b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        assert client.response().status == 101
        assert client.is_closed(within=LATEST)


def test_route_may_have_its_own_timeouts(serve: Serve, origin: Origin) -> None:
    release = threading.Event()

    def late(call: Call) -> None:
        release.wait(20)
        call.respond(b"late")

    origin.on("/patient", late)
    origin.on("/hasty", late)
    routes = [
        {"path": "/hasty", "to": origin.address, "timeouts": {"upstream_head": SHORT}},
        {"to": origin.address},
    ]
    gateway = serve({"routes": routes})
    with gateway.client() as patient:
        patient.send(b"GET /patient HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert gateway.get("/hasty").status == 504
        assert patient.is_silent(0)
        release.set()
        assert patient.response().body == b"late"


def test_idle_server_connection_is_closed(serve: Serve, origin: Origin) -> None:
    upstream = {"servers": origin.address, "keepalive": {"idle_timeout": SHORT}}
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]})
    before = origin.open_connections
    assert gateway.get("/").status == 200
    eventually(lambda: origin.open_connections <= before, "the idle connection is closed", within=LATEST)
