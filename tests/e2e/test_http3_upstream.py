"""HTTP/3 with servers: one connection for many requests, and what happens when the server says no."""

import contextlib
import hashlib
import os
import threading

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import chunked, digest, hang, reply
from e2e.kit.http3 import Http3Client
from e2e.kit.http3_server import Http3Request, Http3Server
from e2e.kit.net import free_port
from e2e.kit.pki import Authority, Leaf

REQUEST_REJECTED, INTERNAL_ERROR, MESSAGE_ERROR = 0x10B, 0x102, 0x10E


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return authority.issue("127.0.0.1", "gate.test")


@pytest.fixture(scope="module")
def inner(serve_module: Serve, origin: Origin, leaf: Leaf) -> RunningGateway:
    """A server that speaks it: another gateway."""
    return serve_module(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.access_log("json", flush="50ms")

@gate.request
def tell(request):
    request.headers["x-version"] = request.version

gate.route("/", to={origin.address!r})
""")


def front(serve: Serve, authority: Authority, *servers: str, **upstream: object) -> RunningGateway:
    """A gateway before servers that speak it."""
    back = {
        "servers": [f"https://{one}" for one in servers],
        "protocol": "h3",
        "tls": {"ca": authority.ca},
        **upstream,
    }
    return serve({"upstreams": {"back": back}, "routes": [{"to": "back"}], "access_log": {"flush": "50ms"}})


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, inner: RunningGateway, authority: Authority) -> RunningGateway:
    return front(serve_module, authority, inner.address)


def test_requests_of_all_clients_share_one_connection(
    gateway: RunningGateway, inner: RunningGateway, origin: Origin
) -> None:
    origin.on("/seen", reply(b"here"))
    with gateway.client() as one, gateway.client() as other:
        for _ in range(5):
            assert one.get("/seen?q=1").body == other.get("/seen").body == b"here"
    assert origin.calls[-1].get("x-version") == "3"
    assert inner.counter("http3_connections") == 1
    assert gateway.counter("upstream_connects") == 1


def test_bodies_and_trailers_go_both_ways(gateway: RunningGateway, origin: Origin) -> None:
    body = os.urandom(2_000_000)
    origin.on("/digest", digest)
    origin.on("/long", reply(body))
    origin.on("/trailers", chunked([b"a", b"b"], [("x-sum", "2")]))
    with gateway.client(timeout=30) as client:
        sent = client.request("POST", "/digest", body=body)
        assert sent.body.decode() == hashlib.sha256(body).hexdigest()
        assert client.get("/long").body == body
        response = client.get("/trailers")
        assert (response.body, response.trailers) == (b"ab", [("x-sum", "2")])


def test_many_requests_at_once_all_end(gateway: RunningGateway, origin: Origin) -> None:
    body = os.urandom(100_000)
    origin.on("/many", reply(body))
    failed = []

    def ask() -> None:
        with gateway.client(timeout=30) as client:
            failed.extend(number for number in range(5) if client.get("/many").body != body)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_responses_without_content_have_none(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/empty", reply(b"", status=204))
    origin.on("/head", reply(b"12345"))
    with gateway.client() as client:
        assert client.get("/empty").status == 204
        response = client.request("HEAD", "/head")
        assert (response.status, response.get("content-length"), response.body) == (200, "5", b"")
        assert client.get("/head").body == b"12345", "the client's connection goes on"


def test_a_connection_that_has_carried_its_share_is_replaced(
    serve: Serve, authority: Authority, leaf: Leaf
) -> None:
    inner = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.limits(max_requests_per_connection=3)
gate.route("/", respond="ok")
""")
    gateway = front(serve, authority, inner.address)
    with gateway.client() as client:
        for _ in range(20):
            assert client.request("POST", "/", body=b"x").body == b"ok"
    assert 4 <= gateway.counter("upstream_connects") <= 20


def test_connections_become_no_older_than_they_may(
    serve: Serve, inner: RunningGateway, origin: Origin, authority: Authority
) -> None:
    origin.on("/aged", reply(b"here"))
    gateway = front(serve, authority, inner.address, keepalive={"max_age": "400ms"})
    with gateway.client() as client:
        eventually(
            lambda: client.get("/aged").body == b"here" and gateway.counter("upstream_connects") > 2,
            "the connection is replaced while it is in use",
        )
    assert gateway.counter("upstream_failures") == 0


def test_server_that_is_not_whom_it_should_be_is_told_in_words(
    serve: Serve, inner: RunningGateway, tmp_path: object
) -> None:
    table = {
        "upstreams": {"back": {"servers": [f"https://{inner.address}"], "protocol": "h3", "retries": 0}},
        "routes": [{"to": "back"}],
        "access_log": {"flush": "50ms"},
    }
    gateway = serve(table)
    with gateway.client() as client:
        assert client.get("/").status == 502
    assert "TLS handshake with the server failed" in gateway.log()


def test_nobody_at_the_port_is_a_502_at_once_and_another_server_is_asked(
    serve: Serve, authority: Authority, inner: RunningGateway, origin: Origin
) -> None:
    origin.on("/seen", reply(b"here"))
    free = f"127.0.0.1:{free_port()}"
    alone = front(serve, authority, free, retries=0)
    with alone.client(timeout=4) as client:
        assert client.get("/seen").status == 502
    both = front(serve, authority, free, inner.address)
    with both.client() as client:
        assert [client.get("/seen").status for _ in range(4)] == [200] * 4


def test_what_the_server_has_not_begun_with_is_sent_again(
    serve: Serve, authority: Authority, leaf: Leaf
) -> None:
    refused: list[Http3Request] = []

    def respond(request: Http3Request) -> None:
        if not refused:
            refused.append(request)
            request.reset(REQUEST_REJECTED)
        else:
            request.respond(request.body)

    with Http3Server(leaf, respond) as server:
        gateway = front(serve, authority, server.address)
        with gateway.client() as client:
            assert client.get("/warm").status == 200
            refused.clear()
            assert client.request("POST", "/", body=b"once").body == b"once"
        assert len(refused) == 1


@pytest.mark.parametrize(
    "fields",
    [
        [("x-a", "1")],
        [(":status", "101")],
        [(":status", "200"), (":path", "/")],
        [(":status", "200"), ("content-length", "x")],
        [(":status", "200"), ("content-length", "3"), ("content-length", "4")],
    ],
)
def test_malformed_responses_are_a_502(
    serve: Serve, authority: Authority, leaf: Leaf, fields: list[tuple[str, str]]
) -> None:
    def respond(request: Http3Request) -> None:
        if request.get(":path") == "/bad":
            # aioquic itself does not end a stream with an interim response
            request.send_head(fields, ends=fields[0][1] != "101")
        else:
            request.respond()

    with Http3Server(leaf, respond) as server:
        gateway = front(serve, authority, server.address, retries=0)
        with gateway.client() as client:
            assert client.get("/bad").status == 502
            assert client.get("/").status == 200, "the next one is served"


def test_response_that_is_given_up_never_looks_whole(serve: Serve, authority: Authority, leaf: Leaf) -> None:
    def respond(request: Http3Request) -> None:
        request.send_head([(":status", "200")])
        request.protocol.http.send_data(request.stream, b"part", end_stream=False)
        request.protocol.transmit()
        request.reset(INTERNAL_ERROR)

    with Http3Server(leaf, respond) as server:
        gateway = front(serve, authority, server.address, retries=0)
        with gateway.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
            received = b""
            with contextlib.suppress(ConnectionError):
                received = client.read_to_end()
        assert not received.endswith(b"0\r\n\r\n")


def test_client_that_leaves_gives_the_request_up(
    gateway: RunningGateway, inner: RunningGateway, origin: Origin
) -> None:
    origin.on("/hang", hang)
    client = gateway.client()
    client.send(b"GET /hang HTTP/1.1\r\nHost: gate.test\r\n\r\n")
    origin.wait_for("/hang")
    client.close()
    assert inner.access_record(target="/hang")["status"] == 499


def test_clients_of_http3_reach_servers_of_http3(
    serve: Serve, inner: RunningGateway, origin: Origin, authority: Authority, leaf: Leaf
) -> None:
    origin.on("/seen", reply(b"here"))
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
back = gate.upstream("back", "https://{inner.address}", protocol="h3", tls={{"ca": {authority.ca!r}}})
gate.route("/", to=back)
""")
    with Http3Client(gateway.address, authority.ca) as client:
        assert [client.get("/seen").body for _ in range(3)] == [b"here"] * 3
    assert origin.calls[-1].get("x-version") == "3"


def test_where_udp_does_not_get_through_another_upstream_serves(
    serve: Serve, inner: RunningGateway, origin: Origin, authority: Authority
) -> None:
    origin.on("/seen", reply(b"here"))
    tls = {"ca": authority.ca}
    free = f"https://127.0.0.1:{free_port()}"
    upstreams = {
        "quick": {"servers": [free], "protocol": "h3", "tls": tls, "fallback": {"upstream": "tcp"}},
        "tcp": {"servers": [f"https://{inner.address}"], "tls": tls},
    }
    gateway = serve({"upstreams": upstreams, "routes": [{"to": "quick"}]})
    with gateway.client() as client:
        assert client.get("/seen").body == b"here"
