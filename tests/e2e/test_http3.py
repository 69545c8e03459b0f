"""HTTP/3 with clients: what a request and its response become on the way."""

import hashlib
import os
import threading

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, TlsClient
from e2e.kit.behaviours import chunked, digest, gated, hang, raw, reply, upgrade_echo
from e2e.kit.http3 import Http3Client
from e2e.kit.pki import Authority, Leaf

INTERNAL_ERROR = 0x102


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
gate.route("/fixed", respond="fixed")

@gate.route("/version")
def version(request):
    from headgate import Response
    return Response(200, f"{{request.version}} {{request.scheme}} {{request.tls.alpn}}")

gate.route("/", to={origin.address!r})
""")


@pytest.fixture
def client(gateway: RunningGateway, authority: Authority):
    with Http3Client(gateway.address, authority.ca) as client:
        yield client


def test_request_reaches_the_origin_as_strict_http1(
    client: Http3Client, gateway: RunningGateway, origin: Origin
) -> None:
    fields = [("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("te", "trailers")]
    response = client.get("/seen?q=1", fields)
    assert (response.status, response.is_ended) == (200, True)
    call = origin.wait_for("/seen")
    assert (call.method, call.target, call.version) == ("GET", "/seen?q=1", "HTTP/1.1")
    assert call.all("host") == ["gate.test"]
    assert call.all("cookie") == ["a=1; b=2"]
    assert (call.get("te"), call.get("x-a"), call.get("x-forwarded-proto")) == ("trailers", "1", "https")
    assert gateway.access_record(target="/seen?q=1")["version"] == "HTTP/3.0"


def test_hooks_see_the_version_and_the_session(client: Http3Client) -> None:
    assert client.get("/version").body == b"3 https h3"


def test_streams_do_not_wait_for_each_other(client: Http3Client, origin: Origin) -> None:
    gate = threading.Event()
    origin.on("/slow", gated(gate, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow", b"done"))
    slow = client.request("/slow")
    assert client.head(slow).status == 200
    quick = [client.request("/fixed") for _ in range(20)]
    assert [client.response(stream).body for stream in quick] == [b"fixed"] * 20
    gate.set()
    assert client.response(slow).body == b"slowdone"


def test_bodies_and_trailers_go_both_ways(client: Http3Client, origin: Origin) -> None:
    def echo(call: Call) -> None:
        body = call.read_body()
        chunked([body, b"!"], trailers=[("X-Sum", "7")])(call)

    origin.on("/trailers", echo)
    stream = client.request("/trailers", method="POST", body=b"hello", ends=False)
    client.send_trailers(stream, [("x-client", "yes")])
    response = client.response(stream)
    assert (response.body, response.trailers) == (b"hello!", [("x-sum", "7")])
    assert origin.wait_for("/trailers").trailers == [("x-client", "yes")]


def test_long_bodies_arrive_whole(client: Http3Client, origin: Origin) -> None:
    body = os.urandom(3_000_000)
    origin.on("/digest", digest)
    origin.on("/long", reply(body))
    origin.on("/long-chunked", chunked([body[:1_000_000], body[1_000_000:]]))
    declared = [("content-length", str(len(body)))]
    for fields in ([], declared):
        sent = client.request("/digest", fields, method="POST", body=body)
        assert client.response(sent).body.decode() == hashlib.sha256(body).hexdigest()
    streams = [client.request(target) for target in ("/long", "/long", "/long-chunked")]
    assert all(client.response(stream).body == body for stream in streams)
    assert [call.get("content-length") for call in origin.at("/digest")] == [None, str(len(body))]


def test_responses_without_content_have_none(client: Http3Client, origin: Origin) -> None:
    origin.on("/empty", raw(b"HTTP/1.1 204 No Content\r\n\r\n"))
    head = client.response(client.request("/fixed", method="HEAD"))
    assert (head.status, head.get("content-length"), head.body) == (200, "5", b"")
    assert (client.get("/empty").status, client.get("/empty").body) == (204, b"")


def test_interim_responses_are_passed_on(client: Http3Client, origin: Origin) -> None:
    gate = threading.Event()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    origin.on("/hints", gated(gate, hints, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    stream = client.request("/hints")
    client.until(lambda: client.responses[stream].interim == [103], "the hints, before the response is there")
    gate.set()
    response = client.response(stream)
    assert (response.interim, response.status, response.body) == ([103], 200, b"ok")


def test_client_that_waits_for_100_gets_it(client: Http3Client, origin: Origin) -> None:
    origin.on("/expects", lambda call: call.respond(call.read_body()))
    fields = [("expect", "100-continue"), ("content-length", "4")]
    stream = client.request("/expects", fields, method="POST", ends=False)
    client.until(lambda: client.responses[stream].interim == [100], "a 100")
    client.send_body(stream, b"body")
    assert client.response(stream).body == b"body"


def test_truncated_response_never_looks_whole(client: Http3Client, origin: Origin) -> None:
    origin.on("/cut", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", then="close"))
    response = client.get("/cut")
    assert (response.is_ended, response.reset) == (False, INTERNAL_ERROR)
    assert client.get("/fixed").body == b"fixed", "the connection goes on"


def test_request_that_is_given_up_is_cancelled_at_the_server(
    client: Http3Client, gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/hang", hang)
    stream = client.request("/hang")
    origin.wait_for("/hang")
    client.cancel(stream)
    assert gateway.access_record(target="/hang")["status"] == 499
    assert client.get("/fixed").body == b"fixed", "the connection goes on"


def test_other_versions_learn_of_it(
    gateway: RunningGateway, authority: Authority, client: Http3Client, origin: Origin
) -> None:
    port = gateway.address.rpartition(":")[2]
    told = f'h3=":{port}"; ma=3600'
    origin.on("/of-server", raw(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAlt-Svc: h3=":1"\r\n\r\nok'))
    with TlsClient(gateway.address, authority.client(), "gate.test") as other:
        for target in ("/fixed", "/seen", "/of-server"):
            assert other.get(target).all("alt-svc") == [told], target


def test_client_may_change_its_address(client: Http3Client) -> None:
    assert client.get("/fixed").body == b"fixed"
    client.move()
    assert client.get("/fixed").body == b"fixed"
    assert client.terminated is None


def test_clients_are_told_the_port_that_they_reach(serve: Serve, authority: Authority, leaf: Leaf) -> None:
    text = f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True, http3_port=443)
gate.http3(alt_svc_max_age="1m")
gate.route("/", respond="ok")

@gate.response
def own(request, response):
    if request.path == "/own":
        response.headers["alt-svc"] = "clear"
"""
    mapped, untold = serve(text), serve(text + "gate.http3(alt_svc_max_age=None)\n")
    with TlsClient(mapped.address, authority.client(), "gate.test") as client:
        assert client.get("/").all("alt-svc") == ['h3=":443"; ma=60']
        assert client.get("/own").all("alt-svc") == ["clear"]
    with TlsClient(untold.address, authority.client(), "gate.test") as client:
        assert client.get("/").all("alt-svc") == []


def test_connect_hooks_decide_about_connections(serve: Serve, authority: Authority, leaf: Leaf) -> None:
    gateway = serve(
        f"""
from headgate import Gateway
gate = Gateway()
listener = gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.access_log("json", flush="50ms")
gate.route("/", respond="ok")
allowed = [True]

@listener.connect
def once(connection):
    if not allowed:
        connection.refuse("once only")
    allowed.clear()
    connection.state.seen = True
""",
        is_ready=False,
    )
    gateway.wait_for_log("serving")
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get("/").body == b"ok"
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.terminated is not None
    assert gateway.access_record(error="refused_by_hook")


def test_client_certificates_are_judged(serve: Serve, authority: Authority, leaf: Leaf) -> None:
    gateway = serve(f"""
from headgate import Gateway, Response
gate = Gateway()
gate.listen(
    LISTEN, http3=True,
    tls={{"certificates": [{leaf.files!r}], "client_certificates": {{"mode": "required", "ca": [{authority.ca!r}]}}}},
)

@gate.route("/")
def who(request):
    return Response(200, request.client_certificate.subject)
""")
    known = authority.issue("alice", for_client=True)
    with Http3Client(gateway.address, authority.ca, certificate=known) as client:
        assert b"alice" in client.get("/").body
    with Http3Client(gateway.address, authority.ca) as client:
        client.until(lambda: client.terminated, "it is refused")
    assert gateway.counter("tls_handshakes_failed") >= 1


def test_websocket_comes_by_extended_connect(client: Http3Client, origin: Origin) -> None:
    origin.on("/chat", upgrade_echo)
    pseudo = [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "gate.test"),
        (":path", "/chat"),
    ]  # fmt: skip
    stream = client.request("/chat", [("sec-websocket-version", "13")], pseudo=pseudo, ends=False)
    assert client.head(stream).status == 200
    client.send_body(stream, b"hello", ends=False)
    client.until(lambda: client.responses[stream].body == b"hello", "the echo")
    client.send_body(stream, b"", ends=True)
    assert client.response(stream).is_ended


@pytest.mark.parametrize(("host", "status"), [("gate.test", 200), ("a.wild.test", 421), ("other.test", 421)])
def test_host_other_than_the_name_asked_for_is_misdirected(
    serve: Serve, authority: Authority, leaf: Leaf, host: str, status: int
) -> None:
    wild = authority.issue("*.wild.test")
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}, {wild.files!r}]}}, http3=True)
gate.route("/", respond="ok")
""")
    with Http3Client(gateway.address, authority.ca) as client:
        pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")]
        assert client.response(client.request("/", pseudo=pseudo)).status == status
