"""What clients get when no server of an upstream has served them."""

from e2e.kit import Call, Origin, RunningGateway, Serve
from e2e.kit.behaviours import reply
from e2e.kit.net import free_port

SORRY = {"respond": {"status": 503, "headers": {"Retry-After": "7"}, "body": "back soon"}}


def serve_with(
    serve: Serve, server: str, fallback: dict[str, object], *others: str, **upstream: object
) -> RunningGateway:
    """A gateway with a server that may fail, and what is done then; `others` are servers of the upstream `other`."""
    upstreams: dict[str, object] = {"u": {"servers": [server], "fallback": fallback, **upstream}}
    if others:
        upstreams["other"] = {"servers": list(others), "retries": 0}
    return serve({"upstreams": upstreams, "routes": [{"to": "u"}], "access_log": {}}, workers=1)


def test_fixed_response_is_given_in_place_of_an_error(serve: Serve, origin: Origin) -> None:
    origin.on("/reset", lambda call: call.reset())
    origin.on("/bad", reply(b"bad", status="500 Bad"))
    gateway = serve_with(serve, f"{origin.address} max_fails=0", SORRY)
    for method in ("GET", "POST"):
        response = gateway.get("/reset", method=method)
        assert (response.status, response.get("retry-after"), response.text) == (503, "7", "back soon")
    assert gateway.get("/bad").text == "bad", "a response is one"
    assert gateway.access_record(target="/reset")["error"] == "upstream_reset"
    assert gateway.counter("fallbacks") == 2


def test_another_upstream_serves_what_may_be_sent_again(serve: Serve, origin: Origin) -> None:
    with Origin() as other:
        origin.on("/reset", lambda call: call.reset())
        other.on("/reset", reply(b"other"))
        fallback = {"upstream": "other", **SORRY}
        gateway = serve_with(serve, f"{origin.address} max_fails=0", fallback, other.address)
        assert gateway.get("/reset").text == "other"
        assert gateway.get("/reset", method="PUT", body=b"content").text == "other"
        assert other.at("/reset")[1].body == b"content"
        # the server may have acted on it
        assert gateway.post("/reset", body=b"once").text == "back soon"
        assert len(other.at("/reset")) == 2


def test_request_that_reached_no_server_goes_to_the_other_upstream_whatever_it_is(serve: Serve) -> None:
    with Origin() as other:
        other.on("/", reply(b"other"))
        gateway = serve_with(serve, f"127.0.0.1:{free_port()}", {"upstream": "other"}, other.address)
        assert gateway.post("/", body=b"content" * 1000).text == "other"
        assert other.at("/")[0].body == b"content" * 1000
        assert gateway.access_record(method="POST")["status"] == 200


def test_fixed_response_comes_when_the_other_upstream_fails_too(serve: Serve) -> None:
    gateway = serve_with(
        serve,
        f"127.0.0.1:{free_port()}",
        {"upstream": "other", **SORRY},
        f"127.0.0.1:{free_port()}",
    )
    assert gateway.get("/").text == "back soon"
    without = serve_with(serve, f"127.0.0.1:{free_port()}", {"upstream": "other"}, f"127.0.0.1:{free_port()}")
    assert without.get("/").status == 502


def test_open_circuit_leads_to_the_fallback(serve: Serve, origin: Origin) -> None:
    origin.on("/bad", reply(b"bad", status="503 Bad"))
    breaker = {"min_requests": 1, "error_rate": "1%", "open": "1h", "max_open": "1h"}
    gateway = serve_with(serve, origin.address, SORRY, circuit_breaker=breaker)
    assert gateway.get("/bad").text == "bad"
    assert gateway.get("/bad").text == "back soon"
    assert len(origin.at("/bad")) == 1


def test_response_that_has_begun_is_not_replaced(serve: Serve, origin: Origin) -> None:
    def cut(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        call.close()

    origin.on("/cut", cut)
    gateway = serve_with(serve, origin.address, SORRY)
    with gateway.client() as client:
        client.send(b"GET /cut HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        received = client.read_to_end()
    assert received.endswith(b"half") and b"back soon" not in received
