"""Connections to servers that speak for one client: it has authenticated on them, or they told the server who it is."""

from collections.abc import Iterator

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.http2 import Http2Client
from e2e.kit.http2_server import Http2Server, Stream

GATE = """
from headgate import Gateway, Response, fetch
gate = Gateway()
gate.listen(LISTEN)
back = gate.upstream("back", *SERVERS)

@gate.route("/fetched/*")
async def fetched(request):
    told = request.headers.get("authorization")
    response = await back.fetch("/who", headers={"authorization": told} if told else {})
    return Response(response.status, await response.body())

gate.route("/", to=back)
"""


def by_connection(call: Call, users: dict[object, str]) -> None:
    """A server as IIS is one: who authenticates on a connection is who asks on it from then on."""
    offered = call.get("authorization") or ""
    scheme, _, token = offered.partition(" ")
    if scheme.lower() in ("ntlm", "negotiate") and token != "TYPE1":
        users[call.socket] = token
    user = users.get(call.socket)
    if user is None:
        challenge = "NTLM TYPE2" if token == "TYPE1" else "NTLM"
        call.respond(
            b"", status=401, fields=[("WWW-Authenticate", "Basic realm=a"), ("WWW-Authenticate", challenge)]
        )
    else:
        call.respond(user.encode())


@pytest.fixture(scope="module")
def origins() -> Iterator[list[Origin]]:
    with Origin() as one, Origin() as other:
        yield [one, other]


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origins: list[Origin]) -> RunningGateway:
    return serve_module(GATE, names={"SERVERS": [origin.address for origin in origins]})


@pytest.fixture(autouse=True)
def authenticating(origins: list[Origin]) -> None:
    users: dict[object, str] = {}
    for origin in origins:
        origin.drop_connections()
        origin.on("/who", lambda call: by_connection(call, users))


@pytest.mark.parametrize("scheme", ["NTLM", "negotiate"])
def test_who_has_authenticated_is_nobody_else(gateway: RunningGateway, scheme: str) -> None:
    with gateway.client() as alice, gateway.client() as mallory:
        assert alice.get("/who").status == 401
        assert alice.get("/who", [("Authorization", f"{scheme} TYPE1")]).get("www-authenticate") is not None
        assert alice.get("/who", [("Authorization", f"{scheme} alice")]).text == "alice"
        for _ in range(6):
            assert mallory.get("/who").status == 401
            response = alice.get("/who")
            assert (response.status, response.text) == (200, "alice"), "she stays on her connection"


def test_connection_of_a_client_that_left_is_closed(gateway: RunningGateway, origins: list[Origin]) -> None:
    with gateway.client() as alice:
        assert alice.get("/who", [("Authorization", "Negotiate alice")]).text == "alice"
    eventually(lambda: not any(origin.open_connections for origin in origins), "her connection is closed")
    for _ in range(4):
        assert gateway.get("/who").status == 401


def test_closed_connection_of_a_client_is_replaced(gateway: RunningGateway, origins: list[Origin]) -> None:
    with gateway.client() as alice:
        assert alice.get("/who", [("Authorization", "NTLM alice")]).text == "alice"
        for origin in origins:
            origin.drop_connections()
        assert alice.get("/who").status == 401
        assert alice.get("/who", [("Authorization", "NTLM alice")]).text == "alice"


def test_authenticated_fetch_and_streams_of_http2_leave_nothing_behind(gateway: RunningGateway) -> None:
    fields = [("authorization", "Negotiate alice")]
    for _ in range(3):
        assert gateway.get("/fetched/who", fields).text == "alice"
        assert gateway.get("/fetched/who").status == 401
    with Http2Client(gateway.address) as client:
        for _ in range(3):
            assert client.response(client.request("/who", fields=fields)).body == b"alice"
            assert client.response(client.request("/who")).status == 401


def test_other_schemes_share_connections(gateway: RunningGateway, origins: list[Origin]) -> None:
    for origin in origins:
        origin.on(
            "/basic", lambda call: call.respond(b"", status=401, fields=[("WWW-Authenticate", "Basic")])
        )
    before = gateway.counter("upstream_connects")
    for _ in range(8):
        assert gateway.get("/basic", [("Authorization", "Basic YTpi")]).status == 401
    assert gateway.counter("upstream_connects") - before <= 2


def numbered(stream: Stream) -> None:
    stream.respond(str(stream.connection.number).encode())


def test_stream_that_authenticates_has_its_connection_of_http2_alone(serve: Serve) -> None:
    with Http2Server(numbered) as server:
        servers = {"back": {"servers": [server.address], "protocol": "h2"}}
        gateway = serve({"upstreams": servers, "routes": [{"to": "back"}]})
        shared = gateway.get("/").text
        alone = [gateway.get("/", [("Authorization", "Negotiate abc")]).text for _ in range(2)]
        assert gateway.get("/").text == shared
        assert len({shared, *alone}) == 3


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_clients_that_a_server_is_told_of_share_no_connection_of_http2(serve: Serve, version: str) -> None:
    with Http2Server(numbered, proxy_header=True) as server:
        servers = {"back": {"servers": [server.address], "protocol": "h2", "proxy_protocol": version}}
        gateway = serve({"upstreams": servers, "routes": [{"to": "back"}]})
        with gateway.client() as one, gateway.client() as other, Http2Client(gateway.address) as third:
            streams = [third.request("/") for _ in range(3)]
            seen = {one.get("/").text, other.get("/").text}
            both = {third.response(stream).body.decode() for stream in streams}
            assert len(seen) == 2 and len(both) == 1 and not seen & both
            told = {connection.proxy_header for connection in server.connections}
            for client in (one, other):
                port = str(client.socket.getsockname()[1])
                assert any(
                    port.encode() in header or int(port).to_bytes(2, "big") in header for header in told
                )
