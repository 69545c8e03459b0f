"""HTTP/2 over TLS, agreed on by ALPN: from clients and to servers, and hooks in between."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, TlsClient
from e2e.kit.http2 import Http2Client
from e2e.kit.pki import Authority

GATE = """
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN, tls=SERVER)
gate.access_log("json")

@gate.route("/seen")
def seen(request):
    return Response.json({"version": request.version, "alpn": request.tls and request.tls.alpn})

echo = gate.route("/echo", to=ORIGIN)
whole = gate.route("/whole", to=ORIGIN)

@echo.request_body
def louder(request, chunk, last):
    return chunk.upper()

@echo.response_body
def framed(request, response, chunk, last):
    return b"<" + chunk + b">" if chunk else None

@whole.request_body(mode="buffer")
def reverse(request, chunk, last):
    return chunk[::-1]

@whole.response_body(mode="buffer")
async def count(request, response, chunk, last):
    return chunk + b" " + str(len(chunk)).encode()

gate.route("/", respond="fixed")
"""

FRONT = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
for name, address in (("by-alpn", BACK), ("http1", OLD)):
    upstream = gate.upstream(name, "https://" + address, protocol="h2", retries=0,
                             tls={"ca": CA, "server_name": "gate.test"})
    gate.route("/" + name + "/*", to=upstream, strip_prefix="/" + name)

@gate.error
def tell(request, error):
    return Response(error.status, f"{error.kind}: {error.message}")
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, authority: Authority) -> RunningGateway:
    origin.on("/echo", lambda call: call.respond(call.read_body()))
    origin.on("/whole", lambda call: call.respond(call.read_body()))
    names = {"SERVER": authority.issue("gate.test").files, "ORIGIN": origin.address}
    return serve_module(GATE, names=names)


@pytest.fixture
def client(gateway: RunningGateway, authority: Authority) -> Iterator[Http2Client]:
    with Http2Client(gateway.address, tls=authority.client()) as connection:
        yield connection


def test_hooks_and_the_log_tell_http2(
    gateway: RunningGateway, client: Http2Client, authority: Authority
) -> None:
    assert json.loads(client.get("/seen").body) == {"version": "2", "alpn": "h2"}
    assert gateway.access_record(target="/seen", version="HTTP/2.0")["tls"]["alpn"] == "h2"
    with TlsClient(gateway.address, authority.client()) as plain:
        assert plain.get("/seen").json() == {"version": "1.1", "alpn": ""}


def test_body_hooks_see_streams(client: Http2Client) -> None:
    response = client.response(client.request("/echo", method="POST", body=b"hello"))
    assert (response.status, response.body) == (200, b"<HELLO>")
    response = client.response(client.request("/whole", method="POST", body=b"abc"))
    assert (response.status, response.body) == (200, b"cba 3")
    assert client.get("/").body == b"fixed", "the connection goes on"


def test_body_hooks_see_large_streams_side_by_side(client: Http2Client) -> None:
    size = 300_000
    streams = [client.request("/whole", method="POST", body=bytes([65 + n]) * size) for n in range(3)]
    for n, stream in enumerate(streams):
        assert client.response(stream).body == bytes([65 + n]) * size + b" %d" % size


def test_stream_for_another_host_is_misdirected(client: Http2Client) -> None:
    assert client.get("/").status == 200
    assert client.response(client.request("/", host="other.test")).status == 421
    assert client.get("/").status == 200, "its neighbours do not suffer"


@pytest.fixture(scope="module")
def front(serve_module: Serve, gateway: RunningGateway, authority: Authority) -> Iterator[RunningGateway]:
    with Origin(tls=authority.server(authority.issue("gate.test"))) as old:
        names: dict[str, Any] = {"BACK": gateway.address, "OLD": old.address, "CA": authority.ca}
        yield serve_module(FRONT, names=names)


def test_server_is_spoken_to_in_what_alpn_agrees_on(front: RunningGateway) -> None:
    response = front.get("/by-alpn/seen", host="gate.test")
    assert response.json() == {"version": "2", "alpn": "h2"}
    assert front.post("/by-alpn/echo", b"hello", host="gate.test").body == b"<HELLO>"


def test_server_that_does_not_agree_on_http2_is_a_502(front: RunningGateway) -> None:
    response = front.get("/http1/seen", host="gate.test")
    assert response.status == 502 and "upstream" in response.text, response.text
