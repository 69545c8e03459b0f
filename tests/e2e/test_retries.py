"""Stale pooled connections and failed attempts: tried again only where that is safe."""

import socket

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import raw


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    """One server, so that every further attempt goes to it again."""
    return serve_module({"routes": [{"to": origin.address}], "access_log": {"flush": "50ms"}})


def cut_at_reuse(path: str, origin: Origin, *, reset: bool) -> None:
    """Responds to the first request of a connection, and cuts the connection when it gets a second one."""
    seen: set[int] = set()

    def behaviour(call: Call) -> None:
        if call.connection_number in seen:
            call.reset() if reset else call.close()
            return
        seen.add(call.connection_number)
        call.read_body()
        call.respond(b"fresh")

    origin.on(path, behaviour)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("reset", [False, True])
def test_idempotent_request_survives_a_stale_connection(
    gateway: RunningGateway, origin: Origin, method: str, reset: bool
) -> None:
    origin.drop_connections()
    path = f"/stale-{method}-{reset}"
    cut_at_reuse(path, origin, reset=reset)
    with gateway.client() as client:
        assert client.request(method, path).status == 200
        assert client.request(method, path).status == 200
    assert len(origin.at(path)) == 3


def test_post_that_was_sent_is_not_sent_again(gateway: RunningGateway, origin: Origin) -> None:
    origin.drop_connections()
    cut_at_reuse("/stale-post", origin, reset=True)
    with gateway.client() as client:
        assert client.request("POST", "/stale-post", body=b"once").status == 200
        assert client.request("POST", "/stale-post", body=b"twice").status == 502
    assert [call.get("content-length") for call in origin.at("/stale-post")] == ["4", "5"]
    assert gateway.access_record(target="/stale-post", status=502)["attempts"] == 1


def test_post_on_a_connection_closed_while_idle_succeeds(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.post("/idle-post", b"a").status == 200
    for _ in range(5):
        origin.drop_connections()
        assert gateway.post("/idle-post", b"b").status == 200


def test_requests_after_a_restart_of_the_server_succeed(serve: Serve) -> None:
    with Origin() as first:
        address = first.address
        gateway = serve(
            {"upstreams": {"u": {"servers": [f"{address} max_fails=0"]}}, "routes": [{"to": "u"}]}
        )
        with gateway.client() as client:
            assert client.get("/one").status == 200
            first.stop()
            with Origin(port=int(address.rpartition(":")[2])):
                assert client.get("/two").status == 200


def two_servers(serve: Serve, bad: str, good: Origin, **upstream: object) -> RunningGateway:
    servers = [f"{bad} weight=100 max_fails=0", f"{good.address} max_fails=0"]
    return serve(
        {
            "upstreams": {"u": {"servers": servers, **upstream}},
            "routes": [{"to": "u"}],
            "access_log": {"flush": "50ms"},
        }
    )


def test_refused_connection_is_tried_on_the_next_server_even_for_post(serve: Serve, origin: Origin) -> None:
    gateway = two_servers(serve, f"127.0.0.1:{free_port()}", origin)
    before = gateway.counter("retries")
    assert gateway.post("/next", b"body").json()["body"] == "body"
    record = gateway.access_record(target="/next")
    assert (record["attempts"], record["server"]) == (2, origin.address)
    assert gateway.counter("retries") == before + 1


def test_no_retries_means_none(serve: Serve, origin: Origin) -> None:
    gateway = two_servers(serve, f"127.0.0.1:{free_port()}", origin, retries=0)
    assert gateway.get("/none").status == 502
    assert not origin.at("/none")


def test_get_that_got_no_response_is_retried_on_the_next_server(serve: Serve, origin: Origin) -> None:
    with Origin() as bad:
        bad.on("/silent", lambda call: call.reset())
        gateway = two_servers(serve, bad.address, origin, keepalive={"max_idle": 0})
        assert gateway.get("/silent").json()["origin"] == origin.address
        assert len(bad.at("/silent")) == 1


def test_post_that_got_no_response_is_not_retried(serve: Serve, origin: Origin) -> None:
    with Origin() as bad:
        bad.on("/silent-post", raw(then="reset"))
        gateway = two_servers(serve, bad.address, origin)
        assert gateway.post("/silent-post", b"body").status == 502
        assert not origin.at("/silent-post")


def test_response_that_has_begun_is_not_retried(serve: Serve, origin: Origin) -> None:
    with Origin() as bad:
        bad.on("/begun", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then="close"))
        gateway = two_servers(serve, bad.address, origin)
        with gateway.client() as client:
            client.send(b"GET /begun HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            assert client.head().status == 200
            assert client.read_to_end() == b"half"
        assert not origin.at("/begun")


def test_server_that_resets_every_connection_gives_502(serve: Serve) -> None:
    with Origin() as bad:
        bad.on("/always", lambda call: call.reset())
        gateway = serve(
            {"upstreams": {"u": {"servers": f"{bad.address} max_fails=0"}}, "routes": [{"to": "u"}]}
        )
        response = gateway.get("/always")
        assert (response.status, response.get("content-type")) == (502, "application/problem+json")
        eventually(lambda: bad.at("/always"), "the server was asked")
        assert len(bad.at("/always")) <= 2


def test_listener_that_accepts_and_never_reads_does_not_block_others(serve: Serve, origin: Origin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        host, port = mute.getsockname()
        routes = [{"path": "/mute", "to": f"{host}:{port}"}, {"to": origin.address}]
        gateway = serve({"routes": routes, "timeouts": {"upstream_head": "500ms"}})
        with gateway.client() as waiting:
            waiting.send(b"GET /mute HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            assert gateway.get("/other").status == 200
            assert waiting.response().status == 504


def test_reason_of_a_failed_connection_is_in_the_error_log_and_not_on_the_page(
    serve: Serve, origin: Origin
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    gateway = two_servers(serve, nobody, origin, retries=0)
    responses = [gateway.get("/") for _ in range(2)]
    page = next(response for response in responses if response.status == 502)
    assert "os error" not in page.text and nobody not in page.text
    line = gateway.wait_for_log(r"cannot connect to the server: .*")[0]
    assert "connection refused" in line and nobody in line and "os error" not in line


def test_a_server_that_is_down_is_logged_once_and_not_for_each_request(serve: Serve) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    gateway = serve(
        {"upstreams": {"u": {"servers": f"{nobody} max_fails=0"}}, "routes": [{"to": "u"}]}, workers=1
    )
    with gateway.client() as client:
        assert [client.get("/").status for _ in range(20)] == [502] * 20
    gateway.stop()
    assert gateway.log().count("cannot connect to the server") <= 5  # the first, and one in five seconds
