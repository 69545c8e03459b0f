"""Tunnels: servers behind NAT dial in, and are servers of upstreams as others are."""

import contextlib
import hashlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.cuttable import CuttableProxy
from e2e.kit.metrics import scrape
from e2e.kit.pki import Authority
from e2e.kit.streams import StreamServer, echo
from e2e.kit.tunnel import TOKEN, TunnelClient, sockets

TOKENS = {"token": f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}", "expose": ["home", "music"]}

STATE: dict[str, str] = {}


def gated(serve: Serve, *, workers: int = 1, listen: str | None = None, **more: Any) -> RunningGateway:
    """A gateway with a tunnel endpoint; all other requests go to `tunnel:home`."""
    whole = {
        "tunnels": {"tokens": TOKENS, **more.pop("tunnels", {})},
        "upstreams": {"home": {"servers": "tunnel:home", "retries": 2}},
        "routes": [{"path": "/_tunnel", "to": "tunnel:endpoint"}, {"path": "/*", "to": "home"}],
        **more,
    }
    gateway = serve(whole, workers=workers, listen=listen, environment=STATE)
    eventually(lambda: "endpoint" in sockets(gateway), "the broker listens")
    return gateway


@pytest.fixture(autouse=True)
def state() -> Iterator[dict[str, str]]:
    """A folder whose path is short enough for sockets, for every gateway of a test."""
    with tempfile.TemporaryDirectory(prefix="headgate-", dir="/tmp") as folder:
        STATE["HEADGATE_STATE_DIR"] = folder
        yield STATE


@pytest.fixture
def other() -> Iterator[Origin]:
    with Origin() as made:
        yield made


def to(origin: Origin, name: str = "home") -> str:
    return f"{name}={origin.address}"


def test_requests_and_bodies_go_through_it_both_ways(serve: Serve, origin: Origin) -> None:
    def returned(call: Call) -> None:
        call.respond(call.read_body())

    origin.on("/echo", returned)
    gateway = gated(serve)
    body = os.urandom(3_000_000)
    with TunnelClient(gateway, to(origin)), RawClient(gateway.address, timeout=30) as client:
        assert client.get("/plain").status == 200
        assert client.request("POST", "/echo", body=body).body == body
    assert origin.wait_for("/plain").get("host") == "gate.test"


def test_many_tunnels_of_a_name_share_the_requests_and_one_that_is_killed_costs_none(
    serve: Serve, origin: Origin, other: Origin
) -> None:
    gateway = gated(
        serve, upstreams={"home": {"servers": "tunnel:home", "keepalive": {"max_idle": 0}, "retries": 2}}
    )
    with TunnelClient(gateway, to(origin)) as first, TunnelClient(gateway, to(other)):
        assert {gateway.get("/").status for _ in range(20)} == {200}
        # in turn, but for a connection that ends a moment later than its request
        assert len(origin.at("/")) + len(other.at("/")) == 20
        assert min(len(origin.at("/")), len(other.at("/"))) >= 8
        first.signal(signal.SIGKILL)
        assert {gateway.get("/after").status for _ in range(20)} == {200}
        assert len(other.at("/after")) + len(origin.at("/after")) == 20
        assert len(other.at("/after")) >= 19


def test_a_tunnel_that_has_fallen_silent_fails_no_idempotent_request(
    serve: Serve, origin: Origin, other: Origin
) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = gated(serve, metrics={"listen": metrics})
    with TunnelClient(gateway, to(origin)) as silent, TunnelClient(gateway, to(other)):
        eventually(
            lambda: scrape(gateway, metrics).value("headgate_tunnels", name="home") == 2, "two tunnels"
        )
        silent.signal(signal.SIGSTOP)
        statuses: list[int] = []

        def ask() -> None:
            with RawClient(gateway.address, timeout=30) as client:
                statuses.extend(client.get("/").status for _ in range(5))

        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert statuses == [200] * 40
        assert len(other.at("/")) == 40 and not origin.at("/")
        eventually(
            lambda: scrape(gateway, metrics).value("headgate_tunnels", name="home") == 1, "one tunnel is left"
        )
        streams = {"name": "home", "outcome": "moved"}
        assert scrape(gateway, metrics).value("headgate_tunnel_streams_total", **streams) >= 1
        silent.signal(signal.SIGCONT)
        silent.wait_open(2)  # it notices, and dials again


def test_a_tunnel_whose_network_is_gone_is_left_for_another_and_dialled_again(
    serve: Serve, origin: Origin, other: Origin
) -> None:
    gateway = gated(serve)
    with CuttableProxy(("127.0.0.1", int(gateway.address.rpartition(":")[2]))) as network:
        lost = TunnelClient(gateway, to(origin), to=f"http://127.0.0.1:{network.port}/_tunnel")
        with lost, TunnelClient(gateway, to(other)):
            network.swallow()  # neither side hears of it
            with RawClient(gateway.address, timeout=30) as client:
                assert [client.get("/").status for _ in range(20)] == [200] * 20
            gateway.wait_for_log("tunnel closed: no response within 5 s")
            network.drop()
            lost.wait_open(2)


def test_a_client_that_nothing_is_heard_of_any_more_is_dialled_again(serve: Serve, origin: Origin) -> None:
    gateway = gated(serve)
    with TunnelClient(gateway, to(origin)) as client:
        os.kill(gateway.ask()["tunnel"], signal.SIGKILL)
        client.wait_open(2)
        eventually(lambda: gateway.get("/").status == 200, "requests go through the new tunnel")


def test_a_server_that_refuses_is_asked_through_another_tunnel(serve: Serve, origin: Origin) -> None:
    gateway = gated(serve)
    with TunnelClient(gateway, f"home=127.0.0.1:{free_port()}") as dead:
        assert gateway.get("/none").status == 502
        with TunnelClient(gateway, to(origin)):
            assert {gateway.get("/").status for _ in range(6)} == {200}
        assert "is not reachable" in dead.log()
    assert len(origin.at("/")) == 6


def test_names_are_there_while_they_are_exposed_and_backups_serve_meanwhile(
    serve: Serve, origin: Origin, other: Origin
) -> None:
    gateway = gated(
        serve,
        tunnels={"wait": "50ms"},
        upstreams={"home": {"servers": ["tunnel:home", f"{other.address} backup"]}},
    )
    assert sockets(gateway) == {"endpoint"}
    assert gateway.get("/first").status == 200
    assert other.at("/first")
    with TunnelClient(gateway, to(origin), to(origin, "music")):
        assert sockets(gateway) == {"endpoint", "home", "music"}
    eventually(lambda: sockets(gateway) == {"endpoint"}, "the names have gone")


def test_requests_wait_for_a_tunnel_that_has_just_been_lost(serve: Serve, origin: Origin) -> None:
    gateway = gated(serve, tunnels={"wait": "20s"})
    client = TunnelClient(gateway, to(origin))
    with client:
        assert gateway.get("/").status == 200
    statuses: list[int] = []
    asker = threading.Thread(target=lambda: statuses.append(gateway.get("/late").status))
    asker.start()
    with client:
        asker.join()
    assert statuses == [200]


@pytest.mark.parametrize(
    ("exposed", "token", "said"),
    [("home", "wrong" * 8, "the token is not valid"), ("admin", TOKEN, "may not expose `admin`")],
)
def test_a_client_without_the_right_is_told_so(
    serve: Serve, origin: Origin, exposed: str, token: str, said: str
) -> None:
    gateway = gated(serve)
    client = TunnelClient(gateway, to(origin, exposed), token=token).start(is_ready=False)
    assert client.process.wait(timeout=30) == 1
    assert said in gateway.log() and "the gateway refuses the tunnel: 40" in client.log()
    assert "hint: the" in client.log() and "`tunnels.tokens`" in client.log()
    assert sockets(gateway) == {"endpoint"}


def test_a_token_that_is_taken_back_ends_its_tunnels(serve: Serve, origin: Origin) -> None:
    gateway = gated(serve)
    with TunnelClient(gateway, to(origin)) as client:
        assert gateway.get("/").status == 200
        text = gateway.file.read_text().replace('"music"', '"radio"')
        gateway.file.write_text(text.replace(TOKENS["token"], "f" * 40))
        assert gateway.ask("reload")["ok"]
        eventually(lambda: "the token is not valid" in gateway.log(), gateway.log)
        eventually(lambda: "the gateway refuses the tunnel" in client.log(), client.log)


def test_more_tunnels_than_allowed_are_refused(serve: Serve, origin: Origin) -> None:
    gateway = gated(serve, tunnels={"max_tunnels": 1})
    with TunnelClient(gateway, to(origin)):
        second = TunnelClient(gateway, to(origin)).start(is_ready=False)
        try:
            eventually(lambda: "refuses the tunnel: 503" in second.log(), second.log)
        finally:
            second.stop()


def test_one_token_cannot_take_the_tunnels_of_others(serve: Serve, origin: Origin) -> None:
    other = {"token": "f" * 40, "expose": "music"}
    gateway = gated(serve, tunnels={"tokens": [{**TOKENS, "expose": "home", "max_tunnels": 1}, other]})
    with TunnelClient(gateway, to(origin)):
        second = TunnelClient(gateway, to(origin)).start(is_ready=False)
        try:
            eventually(lambda: "refuses the tunnel: 503" in second.log(), second.log)
        finally:
            second.stop()
        assert "there are too many tunnels with this token" in gateway.log()
        with TunnelClient(gateway, to(origin, "music"), token=other["token"]):
            pass


def test_two_gateways_in_one_folder_of_states_say_so(serve: Serve, origin: Origin) -> None:
    gateway = gated(serve)
    other = gated(serve)
    found = other.wait_for_log("another gateway has its tunnels in `([^`]+)`", within=30)
    assert found[1] == str(Path(STATE["HEADGATE_STATE_DIR"]) / "tunnels")
    assert "HEADGATE_STATE_DIR" in other.log()
    with TunnelClient(gateway, to(origin)):
        assert gateway.get("/").status == 200


def test_stop_does_not_wait_for_idle_tunnels(serve: Serve, origin: Origin) -> None:
    gateway = gated(serve, timeouts={"drain": "60s"})
    with TunnelClient(gateway, to(origin)) as client:
        assert gateway.get("/").status == 200
        gateway.signal(signal.SIGQUIT)
        gateway.process.wait(timeout=25)
        assert "tunnel closed" in client.log()


def test_stop_lets_requests_through_tunnels_end(serve: Serve, origin: Origin) -> None:
    gateway, go = gated(serve), threading.Event()

    def late(call: Call) -> None:
        assert go.wait(30)
        call.respond(b"late")

    origin.on("/late", late)
    with TunnelClient(gateway, to(origin)), RawClient(gateway.address, timeout=40) as client:
        client.send(b"GET /late HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        eventually(lambda: len(origin.at("/late")) == 1, "it is at the server")
        gateway.signal(signal.SIGQUIT)
        gateway.wait_for_log("stopping")
        go.set()
        assert client.response().body == b"late"
        gateway.process.wait(timeout=25)


def reversed_connections(gateway: RunningGateway, metrics: str) -> float:
    return scrape(gateway, metrics).value("headgate_tunnel_reversed_connections", name="home")


def streams(gateway: RunningGateway, metrics: str) -> float:
    labels = {"name": "home", "outcome": "opened"}
    return scrape(gateway, metrics).value("headgate_tunnel_streams_total", **labels)


def test_requests_go_on_connections_that_the_client_has_dialled(serve: Serve, origin: Origin) -> None:
    def returned(call: Call) -> None:
        call.respond(call.read_body())

    origin.on("/echo", returned)
    metrics = f"127.0.0.1:{free_port()}"
    gateway = gated(serve, metrics={"listen": metrics})
    body = os.urandom(3_000_000)
    with TunnelClient(gateway, to(origin)), RawClient(gateway.address, timeout=30) as client:
        assert client.get("/first").status == 200
        eventually(lambda: reversed_connections(gateway, metrics) >= 1, "one is beside the tunnel")
        assert client.get("/second").status == 200  # and its own connection is not kept
        before = streams(gateway, metrics)
        for _ in range(20):
            assert client.request("POST", "/echo", body=body[:1000]).body == body[:1000]
        assert client.request("POST", "/echo", body=body).body == body
        assert streams(gateway, metrics) == before


def test_connections_beside_a_tunnel_end_with_its_token(serve: Serve, origin: Origin) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = gated(serve, metrics={"listen": metrics})
    with TunnelClient(gateway, to(origin)) as client:
        assert gateway.get("/first").status == 200
        eventually(lambda: reversed_connections(gateway, metrics) >= 1, "one is beside the tunnel")
        text = gateway.file.read_text()
        gateway.file.write_text(text.replace(TOKENS["token"], "f" * 40))
        assert gateway.ask("reload")["ok"]
        eventually(lambda: reversed_connections(gateway, metrics) == 0, "it is gone")
        assert gateway.get("/later", timeout=30).status == 502
        assert client.process.poll() is None


@pytest.mark.parametrize("hedge", [None, "10m"])
def test_what_is_under_way_beside_a_tunnel_is_cut_with_its_token(
    serve: Serve, origin: Origin, other: Origin, hedge: str | None
) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    release = threading.Event()
    home: dict[str, Any] = {"servers": ["tunnel:home max_fails=0", f"{other.address} backup"], "retries": 0}
    if hedge:
        home["hedge"] = hedge  # attempts are made beside each other then
    gateway = gated(serve, metrics={"listen": metrics}, upstreams={"home": home})
    origin.on("/long", in_pieces(release))
    origin.on("/wait", lambda call: call.hang())
    with TunnelClient(gateway, to(origin)):
        assert gateway.get("/first").status == 200
        eventually(lambda: reversed_connections(gateway, metrics) >= 1, "one is beside the tunnel")
        before = streams(gateway, metrics)
        with gateway.client(timeout=30) as one, gateway.client(timeout=30) as another:
            one.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
            one.head()
            assert streams(gateway, metrics) == before, "it goes beside the tunnel"
            eventually(lambda: reversed_connections(gateway, metrics) >= 1, "one is under way")
            another.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            origin.wait_for("/wait")
            text = gateway.file.read_text()
            gateway.file.write_text(text.replace(TOKENS["token"], "f" * 40))
            assert gateway.ask("reload")["ok"]
            assert b"0\r\n\r\n" not in one.read_to_end(), "a response that is cut does not look complete"
            assert another.response().status == 502
    release.set()


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nhello"
SWITCH = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"


def talk(call: Call) -> None:
    call.send(SWITCHED)
    call.hang()


@pytest.mark.parametrize("ends_by", ["token", "idle"])
def test_upgraded_connection_beside_a_tunnel_ends_with_its_token_or_when_it_is_idle(
    serve: Serve, origin: Origin, ends_by: str
) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    limit = {"timeouts": {"upstream_idle": "400ms"}} if ends_by == "idle" else {}
    home = {"servers": "tunnel:home max_fails=0", **limit}
    gateway = gated(serve, metrics={"listen": metrics}, upstreams={"home": home})
    origin.on("/chat", talk)
    with TunnelClient(gateway, to(origin)):
        assert gateway.get("/first").status == 200
        eventually(lambda: reversed_connections(gateway, metrics) >= 1, "one is beside the tunnel")
        before = streams(gateway, metrics)
        with gateway.client(timeout=30) as client:
            client.send(SWITCH)
            assert client.head().status == 101
            assert streams(gateway, metrics) == before, "it goes beside the tunnel"
            if ends_by == "token":
                text = gateway.file.read_text()
                gateway.file.write_text(text.replace(TOKENS["token"], "f" * 40))
                assert gateway.ask("reload")["ok"]
            assert client.read_to_end() == b"hello"
        assert gateway.counter("timeout_upstream_idle") == (ends_by == "idle")


def in_pieces(release: threading.Event) -> Any:
    def behaviour(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while not release.wait(0.05):
                call.send(b"1\r\nx\r\n")

    return behaviour


def test_connection_beside_a_tunnel_needs_the_tunnel(serve: Serve) -> None:
    gateway = gated(serve)
    with RawClient(gateway.address) as client:
        client.send(
            b"GET /_tunnel HTTP/1.1\r\nHost: gate.test\r\nConnection: upgrade\r\nUpgrade: headgate-reversed/1\r\n"
            b"Authorization: Bearer "
            + TOKEN.encode()
            + b"\r\nHeadgate-Expose: home\r\nHeadgate-Tunnel: x\r\n\r\n"
        )
        response = client.response()
        assert (response.status, response.body) == (400, b"there is no such tunnel\n")


def test_no_connection_is_put_where_only_frames_can_go(serve: Serve) -> None:
    port, metrics = free_port(), f"127.0.0.1:{free_port()}"
    tcp = {"address": f"127.0.0.1:{port}", "to": "tunnel:music"}
    gateway = gated(serve, tcp=tcp, metrics={"listen": metrics})
    with StreamServer(echo) as server, TunnelClient(gateway, f"music={server.address}"):
        for _ in range(3):
            with RawClient(f"127.0.0.1:{port}") as client:
                client.send(b"hello")
                assert client.read_exactly(5) == b"hello"
        page = scrape(gateway, metrics)
        eventually(
            lambda: scrape(gateway, metrics).value("headgate_tunnel_reversed_connections", name="music") == 0,
            "none is kept",
        )
        assert page.value("headgate_tunnel_streams_total", name="music", outcome="opened") == 3


def test_tcp_goes_through_it(serve: Serve) -> None:
    port = free_port()
    gateway = gated(serve, tcp={"address": f"127.0.0.1:{port}", "to": "tunnel:music"})
    with StreamServer(echo) as server, TunnelClient(gateway, f"music={server.address}"):
        with RawClient(f"127.0.0.1:{port}") as client:
            client.send(b"hello")
            assert client.read_exactly(5) == b"hello"
            client.half_close()
            assert client.read_to_end() == b"bye"


def test_a_client_that_does_not_read_holds_nobody_else(serve: Serve, origin: Origin) -> None:
    size = 40_000_000
    origin.on("/big", lambda call: call.respond(bytes(size)))
    gateway = gated(serve)
    with TunnelClient(gateway, to(origin)), RawClient(gateway.address, 60, receive_buffer=4096) as slow:
        slow.send(b"GET /big HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        slow.head()
        assert {gateway.get("/").status for _ in range(10)} == {200}
        assert len(slow.read_exactly(size)) == size


CODE = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.tunnels(tokens={"token": TOKEN, "expose": "home"})
gate.route("/_tunnel", to="tunnel:endpoint")
home = gate.upstream("home", "tunnel:home", retries=2)


@gate.route("/*", to=home)
def stamp(request):
    request.headers["x-version"] = VERSION
"""


@pytest.mark.parametrize("command", ["reload", "upgrade"])
def test_new_code_and_a_new_program_serve_through_new_tunnels(
    serve: Serve, origin: Origin, command: str
) -> None:
    gateway = serve(CODE, names={"TOKEN": TOKEN, "VERSION": "1"}, environment=STATE)
    with TunnelClient(gateway, to(origin)) as client:
        assert gateway.get("/").status == 200
        gateway.names["VERSION"] = "2"
        gateway.write(CODE)
        response = gateway.ask(command)
        assert response["ok"], response
        try:
            client.wait_open(2)
            assert {gateway.get("/new").status for _ in range(5)} == {200}
            assert origin.wait_for("/new").get("x-version") == "2"
        finally:
            if command == "upgrade":
                os.kill(response["pid"], signal.SIGTERM)


def test_it_is_dialled_over_tls(serve: Serve, origin: Origin, authority: Authority) -> None:
    leaf = authority.issue("localhost")
    port = free_port()
    tls = {"address": f"127.0.0.1:{port}", "tls": {"certificates": leaf.files}}
    plain = f"127.0.0.1:{free_port()}"
    gateway = gated(serve, listen=plain, listeners=[plain, tls])
    url = f"https://localhost:{port}/_tunnel"
    stranger = TunnelClient(gateway, to(origin), to=url).start(is_ready=False)
    try:
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in stranger.log(), stranger.log)
    finally:
        stranger.stop()
    client = TunnelClient(gateway, to(origin), to=url).start("--ca", str(authority.ca))
    try:
        assert gateway.get("/").status == 200
    finally:
        client.stop()
