"""A setting that is accepted has an effect: paths, places of timeouts, bounds for one client of a stream, ALPN."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, TlsClient, eventually, free_port
from e2e.kit.behaviours import reply
from e2e.kit.net import split_address
from e2e.kit.pki import Authority
from e2e.kit.streams import StreamServer, echo

SHORT = "300ms"
LESS_THAN_THE_DEFAULT = 4.5
PLACES = ("gateway", "upstream", "route")


@pytest.mark.parametrize(
    ("setting", "status", "target"),
    [("keep", 200, "/a%2Fb%5Cc"), ("refuse", 400, None), ("decode", 200, "/a/b%5Cc")],
)
def test_encoded_slashes(serve: Serve, origin: Origin, setting: str, status: int, target: str | None) -> None:
    gateway = serve({"path": {"encoded_slashes": setting}, "routes": [{"to": origin.address}]})
    response = gateway.get("/a%2Fb%5Cc")
    assert response.status == status
    if target:
        assert response.json()["target"] == target


@pytest.mark.parametrize(("setting", "target"), [(False, "/a//b///c"), (True, "/a/b/c")])
def test_merge_slashes(serve: Serve, origin: Origin, setting: bool, target: str) -> None:
    routes = [{"path": "/a/b/c", "to": origin.address}, {"path": "/a//b///c", "to": origin.address}]
    gateway = serve({"path": {"merge_slashes": setting}, "routes": routes})
    assert gateway.get("/a//b///c").json()["target"] == target


@contextmanager
def full_server() -> Iterator[str]:
    """A server whose backlog is full, so that connecting to it takes for ever."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield "{}:{}".format(*full.getsockname())


def waiting(serve: Serve, place: str, server: str, setting: str) -> RunningGateway:
    """A gateway that has a wait in one of its places."""
    waits = {"timeouts": {setting: SHORT}}
    upstream = {"servers": f"{server} max_fails=0", "retries": 0}
    return serve(
        {
            "upstreams": {"u": upstream | (waits if place == "upstream" else {})},
            "routes": [{"to": "u"} | (waits if place == "route" else {})],
            **(waits if place == "gateway" else {}),
        }
    )


@pytest.mark.parametrize("place", PLACES)
def test_wait_for_a_connection_is_bounded_where_it_is_said(serve: Serve, place: str) -> None:
    with full_server() as server:
        gateway = waiting(serve, place, server, "connect")
        with gateway.client(timeout=LESS_THAN_THE_DEFAULT) as client:
            assert client.get("/").status == 504
    assert gateway.counter("timeout_connect") >= 1


@pytest.mark.parametrize("place", ["gateway", "route"])
def test_wait_for_a_client_to_read_is_bounded_where_it_is_said(
    serve: Serve, origin: Origin, place: str
) -> None:
    gateway = waiting(serve, place, origin.address, "send")
    origin.on("/huge", reply(b"h" * 30_000_000))
    with RawClient(gateway.address, receive_buffer=4096) as client:
        client.send(b"GET /huge HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        eventually(lambda: gateway.counter("timeout_send") == 1, "the client was given up")
        assert len(client.read_to_end()) < 30_000_000


def test_name_of_a_tcp_listener_is_in_its_logs(serve: Serve) -> None:
    place = f"127.0.0.1:{free_port()}"
    with StreamServer(echo) as server:
        gateway = serve(
            {
                "tcp": {"address": place, "name": "bytes", "to": server.address},
                "routes": [{"respond": "http"}],
                "access_log": {"flush": "50ms"},
            }
        )
        with RawClient(place) as client:
            client.send(b"x")
            assert client.read_exactly(1) == b"x"
        assert gateway.access_record(route="bytes")


def test_tcp_connections_of_one_client_are_bounded(serve: Serve) -> None:
    place = f"127.0.0.1:{free_port()}"
    with StreamServer(echo) as server:
        listener = {"address": place, "to": server.address, "max_connections_per_client": 1}
        serve({"tcp": listener, "routes": [{"respond": "http"}]})
        with RawClient(place) as first:
            first.send(b"x")
            assert first.read_exactly(1) == b"x"
            with RawClient(place) as second:
                assert second.is_closed()
            with other_client(place) as third:
                third.sendall(b"y")
                assert third.recv(1) == b"y"


@contextmanager
def other_client(place: str, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """A connection from another address of this machine."""
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(10)
        client.bind(("127.0.0.2", 0))
        client.connect(split_address(place)[1])
        yield client


def test_udp_sessions_of_one_client_are_bounded(serve: Serve) -> None:
    place = f"127.0.0.1:{free_port()}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        listener = {
            "address": place,
            "to": "{}:{}".format(*server.getsockname()),
            "max_connections_per_client": 1,
        }
        gateway = serve({"udp": listener, "routes": [{"respond": "http"}]})
        with ExitStack() as stack:
            for text in (b"first", b"second"):
                client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                client.sendto(text, split_address(place)[1])
            eventually(lambda: gateway.counter("udp_dropped") == 1, "one session of the address was dropped")
            with other_client(place, socket.SOCK_DGRAM) as other:
                other.send(b"third")
                assert {server.recv(10), server.recv(10)} == {b"first", b"third"}


@pytest.mark.parametrize(("offered", "agreed"), [(["http/1.1"], "http/1.1"), (["h2"], "h2")])
def test_protocols_that_a_listener_offers(
    serve: Serve, authority: Authority, offered: list[str], agreed: str
) -> None:
    place = f"127.0.0.1:{free_port()}"
    tls = {"certificates": [authority.issue("gate.test").files], "alpn": offered}
    serve(
        {"listeners": {"address": place, "tls": tls}, "routes": [{"respond": "in"}]},
        listen=None,
        is_ready=False,
    )
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])

    def protocol() -> str | None:
        try:
            with TlsClient(place, context, "gate.test") as client:
                return client.socket.selected_alpn_protocol()
        except OSError:
            return None

    assert eventually(protocol, "the gateway serves") == agreed
