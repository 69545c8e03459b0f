"""Requests with a client's first packet (0-RTT, RFC 8470): what is served before the handshake is complete."""

import socket
from typing import TypedDict

import pytest
from aioquic.tls import CipherSuite, SessionTicket
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import raw
from e2e.kit.http3 import Http3Client
from e2e.kit.pki import Authority, Leaf


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return authority.issue("gate.test")


@pytest.fixture(scope="module")
def text(leaf: Leaf, origin: Origin) -> str:
    return f"""
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True, http3_early_data=True)
gate.access_log("json", flush="50ms")
gate.route("/fixed", respond="fixed")

@gate.route("/tls")
def tls(request):
    return Response(200, f"{{request.tls.cipher}} {{request.tls.server_name}} {{request.tls.is_resumed}}")

@gate.route("/late", to={origin.address!r})
def late(request):
    if request.headers.get("early-data"):
        return Response(425)

gate.route("/", to={origin.address!r})
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, text: str) -> RunningGateway:
    return serve_module(text)


class Known(TypedDict):
    session: SessionTicket
    token: bytes


def known(gateway: RunningGateway, authority: Authority) -> Known:
    """What a client keeps of a connection: a session and a proof of its address, each to be used once."""
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get("/fixed").body == b"fixed"
        client.until(lambda: client.tickets and client.tokens, "a session and a token")
        return {"session": client.tickets[0], "token": client.tokens[0]}


def test_what_the_handshake_agreed_on_is_told(gateway: RunningGateway, authority: Authority) -> None:
    """Of the cipher suites the client decides, which knows what costs it least."""
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get("/tls").body == b"TLS13_AES_256_GCM_SHA384 gate.test False"
    of_one = known(gateway, authority)
    with Http3Client(gateway.address, authority.ca, **of_one) as client:
        assert client.get("/tls").body == b"TLS13_AES_256_GCM_SHA384 gate.test True"
    suites = [CipherSuite.AES_128_GCM_SHA256, CipherSuite.AES_256_GCM_SHA384]
    with Http3Client(gateway.address, authority.ca, cipher_suites=suites) as client:
        assert client.get("/tls").body == b"TLS13_AES_128_GCM_SHA256 gate.test False"


@pytest.fixture
def early(gateway: RunningGateway, authority: Authority):
    """A client whose requests leave with its first packets."""
    with Http3Client(gateway.address, authority.ca, **known(gateway, authority)) as client:
        yield client


def test_safe_request_of_a_known_client_comes_with_its_first_packet(
    early: Http3Client, gateway: RunningGateway, origin: Origin
) -> None:
    before = gateway.counter("http3_early_requests")
    stream = early.request("/early", [("early-data", "0")])
    assert not any(one for one in early.events), "nothing has come back yet"
    assert early.response(stream).status == 200
    assert early.handshake.early_data_accepted
    assert origin.wait_for("/early").all("early-data") == ["1"]
    assert gateway.counter("http3_early_requests") == before + 1
    early.until(lambda: early.quic._handshake_confirmed, "the end of the handshake")
    assert early.get("/behind").status == 200
    assert origin.wait_for("/behind").get("early-data") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OWN"])
def test_request_that_changes_something_is_too_early(
    early: Http3Client, gateway: RunningGateway, origin: Origin, method: str
) -> None:
    before = gateway.counter("http3_too_early")
    target = f"/change-{method}"
    stream = early.request(target, method=method, body=b"body")
    assert early.response(stream).status == 425
    assert early.handshake.early_data_accepted
    assert origin.at(target) == []
    assert gateway.access_record(error="too_early")["client"] == "127.0.0.1"
    early.until(lambda: early.quic._handshake_confirmed, "the end of the handshake")
    again = early.request(target, method=method, body=b"body")
    assert early.response(again).status == 200
    call = origin.wait_for(target)
    assert (call.method, call.get("early-data")) == (method, None)
    assert gateway.counter("http3_too_early") == before + 1


def test_client_that_may_be_somebody_else_completes_its_handshake_first(
    gateway: RunningGateway, authority: Authority, origin: Origin
) -> None:
    before = gateway.counter("http3_early_requests")
    ticket = known(gateway, authority)["session"]
    with Http3Client(gateway.address, authority.ca, session=ticket) as client:
        stream = client.request("/unproved", method="POST", body=b"body")
        assert client.response(stream).status == 200
        assert client.handshake.early_data_accepted, "it is read early, and served later"
    assert origin.wait_for("/unproved").get("early-data") is None
    assert gateway.counter("http3_early_requests") == before


def test_websocket_is_too_early(early: Http3Client, origin: Origin) -> None:
    pseudo = [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "gate.test"),
        (":path", "/chat"),
    ]  # fmt: skip
    stream = early.request("/chat", [("sec-websocket-version", "13")], pseudo=pseudo, ends=False)
    assert early.response(stream).status == 425
    assert origin.at("/chat") == []


def test_hook_or_server_may_want_it_later(early: Http3Client, origin: Origin) -> None:
    origin.on("/server", raw(b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n"))
    streams = [early.request(target) for target in ("/late", "/server")]
    assert [early.response(stream).status for stream in streams] == [425, 425]
    assert origin.at("/late") == []
    early.until(lambda: early.quic._handshake_confirmed, "the end of the handshake")
    assert early.get("/late").status == 200


def test_what_is_sent_again_by_others_is_not_served_again(
    gateway: RunningGateway, authority: Authority, origin: Origin
) -> None:
    with Http3Client(gateway.address, authority.ca, **known(gateway, authority)) as client:
        stream = client.request("/once")
        flight = list(client.sent)
        assert client.response(stream).status == 200
    eventually(lambda: gateway.counter("connections_active") == 0, "its connection is gone")
    accepted, early = gateway.counter("connections_accepted"), gateway.counter("http3_early_requests")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:

        def begins_anew() -> bool:
            # for a moment more, packets with these ids belong to the connection that has ended
            for datagram in flight:
                other.sendto(datagram, client.peer)
            return gateway.counter("connections_accepted") > accepted

        eventually(begins_anew, "it is a new connection")
        assert other.recv(65535), "which begins a whole handshake"
        with Http3Client(gateway.address, authority.ca) as behind:
            assert behind.get("/fixed").body == b"fixed"
    assert gateway.counter("http3_early_requests") == early
    assert len(origin.at("/once")) == 1


def test_session_is_used_once(gateway: RunningGateway, authority: Authority, origin: Origin) -> None:
    kept = known(gateway, authority)
    accepted = []
    for target in ("/first", "/second"):
        with Http3Client(gateway.address, authority.ca, **kept) as client:
            stream = client.request(target)
            accepted.append(client.handshake.early_data_accepted)
            if accepted[-1]:
                assert client.response(stream).status == 200
    assert accepted == [True, False]
    assert origin.at("/second") == []


def test_handshake_that_is_not_completed_ends(serve: Serve, text: str, authority: Authority) -> None:
    gateway = serve(text + 'gate.timeouts(tls_handshake="500ms")\n')
    client = Http3Client(gateway.address, authority.ca, **known(gateway, authority))
    failed = gateway.counter("tls_handshakes_failed")
    client.request("/fixed")
    eventually(lambda: gateway.counter("http3_early_requests") == 1, "the request is there")
    client.socket.close()  # and nothing more comes
    eventually(lambda: gateway.counter("timeout_tls_handshake") == 1, "its handshake counts as failed")
    eventually(lambda: gateway.counter("connections_active") == 0, "its connection is gone")
    assert gateway.counter("tls_handshakes_failed") == failed + 1


def test_it_is_off_unless_asked_for(serve: Serve, text: str, authority: Authority) -> None:
    gateway = serve(text.replace("http3_early_data=True", "http3_early_data=False"))
    ticket = known(gateway, authority)["session"]
    assert not ticket.max_early_data_size
