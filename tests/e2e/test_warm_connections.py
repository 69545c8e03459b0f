"""Connections to servers that are opened before requests need them."""

from pathlib import Path

from e2e.kit import Origin, Serve, eventually
from e2e.kit.behaviours import reply
from e2e.kit.http2_server import Http2Server
from e2e.kit.net import free_port
from e2e.kit.pki import Authority


def test_connections_are_there_before_the_first_request(serve: Serve, origin: Origin) -> None:
    with Origin() as unasked:
        upstream = {
            "servers": [origin.address, unasked.address],
            "balance": "first",
            "keepalive": {"min_idle": 3},
        }
        gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
        eventually(lambda: unasked.open_connections == 3, "there are as many as wanted, and no more")
        eventually(lambda: origin.open_connections >= 3, "here too")
        connects = gateway.counter("upstream_connects")
        assert gateway.get("/").status == 200
        assert gateway.counter("upstream_connects") == connects
        unasked.drop_connections()
        eventually(lambda: unasked.open_connections == 3, "those that the server closed are replaced")


def test_warm_connection_that_was_closed_is_replaced_without_a_failure(serve: Serve, origin: Origin) -> None:
    upstream = {"servers": [origin.address], "retries": 0, "keepalive": {"min_idle": 1}}
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
    eventually(lambda: origin.open_connections >= 1, "one is there")
    for _ in range(20):
        origin.drop_connections()
        assert gateway.get("/").status == 200
    assert gateway.counter("upstream_failures") == 0


def test_tls_handshakes_are_made_beforehand(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    context = authority.server(authority.issue("app.test"))
    with Origin() as plain, Origin(tls=context) as secure:
        plain.on("/", reply(b"plain"))
        upstream = {
            "servers": [f"https://{secure.address} backup", plain.address],
            "tls": {"ca": authority.ca, "server_name": "app.test"},
            "keepalive": {"min_idle": 2},
        }
        gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
        eventually(lambda: secure.open_connections == 2, "both are there")
        assert gateway.counter("upstream_failures") == 0


def test_one_connection_of_http2_is_there(serve: Serve) -> None:
    with Http2Server(lambda stream: stream.respond(b"here")) as server:
        with Http2Server(lambda stream: stream.respond(b"never")) as unasked:
            upstream = {
                "servers": [server.address, unasked.address],
                "balance": "first",
                "protocol": "h2",
                "keepalive": {"min_idle": 5},
            }
            gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
            eventually(lambda: len(unasked.connections) == 1, "it is there")
            assert gateway.get("/").text == "here"
            assert len(unasked.connections) == 1 and not unasked.requests


def test_server_that_cannot_be_reached_is_not_blamed(serve: Serve, origin: Origin) -> None:
    upstream = {
        "servers": [origin.address, f"127.0.0.1:{free_port()}"],
        "balance": "first",
        "keepalive": {"min_idle": 1},
    }
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
    eventually(lambda: gateway.counter("upstream_connects") >= 2, "it was tried")
    assert gateway.get("/").status == 200
    assert gateway.counter("upstream_failures") == 0
