"""What `retries` says: which responses are tried again, within which budget, and how long an attempt may take."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import format_request
from e2e.kit.gatekeeper import Gatekeeper
from e2e.kit.origin import Call


@pytest.fixture
def pair() -> Iterator[tuple[Origin, Origin]]:
    """Two servers."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(Origin()), stack.enter_context(Origin())


def in_order(serve: Serve, pair: tuple[Origin, Origin], **retries: object) -> RunningGateway:
    """A gateway that asks the first server first."""
    upstream = {
        "servers": [f"{one.address} max_fails=0" for one in pair],
        "balance": "first",
        "retries": retries,
    }
    return serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)


def test_response_with_a_named_status_is_tried_again(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, on=["connect", "503"])
    pair[0].on("/busy", reply(b"busy", status="503 Busy"))
    pair[1].on("/busy", reply(b"here"))
    pair[0].on("/broken", reply(b"broken", status="500 Broken"))
    with gateway.client() as client:
        response = client.get("/busy")
        assert (response.status, response.body) == (200, b"here")
        assert client.get("/broken").status == 500
        assert client.request("POST", "/busy", body=b"once").status == 503
    assert len(pair[1].at("/busy")) == 1
    assert gateway.counter("retries") == 1


def test_last_response_is_passed_on_where_no_server_is_left(
    serve: Serve, pair: tuple[Origin, Origin]
) -> None:
    gateway = in_order(serve, pair, attempts=5, on="5xx")
    for one in pair:
        one.on("/busy", reply(one.address.encode(), status="503 Busy"))
    response = gateway.get("/busy")
    assert (response.status, response.body) == (503, pair[1].address.encode())
    assert [len(one.at("/busy")) for one in pair] == [1, 1]


def test_body_that_can_be_sent_again_is(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, on="503")
    pair[0].on("/put", reply(b"busy", status="503 Busy"))
    pair[1].on("/put", reply(b"here"))
    with gateway.client() as client:
        assert client.request("PUT", "/put", body=b"content").body == b"here"
    assert pair[1].at("/put")[0].get("content-length") == "7"


def test_kinds_that_are_not_named_are_not_tried_again(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, on="503")
    pair[0].on("/reset", lambda call: call.reset())
    assert gateway.get("/reset").status == 502
    assert not pair[1].at("/reset")


def test_retries_at_a_time_are_within_the_budget(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, on="503", budget="20%")
    pair[0].on("/busy", reply(b"busy", status="503 Busy"))
    pair[1].on("/busy", hang)
    held = [RawClient(gateway.address) for _ in range(3)]
    for number, client in enumerate(held):
        client.send(format_request("GET", "/busy"))
        eventually(lambda number=number: len(pair[1].at("/busy")) == number + 1, "a retry waits")
    assert gateway.get("/busy").status == 503, "three retries are under way, a fifth of four is none"
    assert gateway.counter("limit_retries") == 1
    for client in held:
        client.close()
    pair[1].on("/busy", reply(b"here"))
    eventually(lambda: gateway.get("/busy").status == 200, "there is room again")


def test_attempt_that_takes_too_long_is_given_up_for_another(
    serve: Serve, pair: tuple[Origin, Origin]
) -> None:
    gateway = in_order(serve, pair, attempt_timeout="300ms")
    pair[0].on("/slow", hang)
    pair[1].on("/slow", reply(b"here"))
    with gateway.client() as client:
        assert client.get("/slow").body == b"here"
        assert client.request("POST", "/slow", body=b"once").status == 504
    assert len(pair[1].at("/slow")) == 1


def test_overload_of_another_gateway_is_not_tried_again(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, on="503")
    pair[0].on("/busy", reply(b"busy", status="503 Busy", fields=[("x-envoy-overloaded", "true")]))
    pair[1].on("/busy", reply(b"here"))
    response = gateway.get("/busy")
    assert (response.status, response.get("x-envoy-overloaded")) == (503, "true"), (
        "those before it see it too"
    )
    assert not pair[1].at("/busy")
    assert gateway.counter("retries") == 0


def test_requests_that_find_no_room_are_not_multiplied_by_layers(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    full = {"servers": f"{origin.address} max_connections=1", "queue": {"max_pending": 1}}
    whole = {"upstreams": {"u": full}, "routes": [{"to": "u"}]}
    inner = [serve(whole, workers=1) for _ in range(2)]
    outer = serve(
        {
            "upstreams": {
                "u": {"servers": [one.address for one in inner], "retries": {"attempts": 3, "on": "503"}}
            },
            "routes": [{"to": "u"}],
        },
        workers=1,
    )
    held = []
    for one in inner:
        for _ in range(2):
            held.append(one.client())
            held[-1].send(format_request("GET", "/hold"))
    eventually(lambda: [one.counter("queued_active") for one in inner] == [1, 1], "both are full")
    before = sum(one.counter("requests") for one in inner)
    response = outer.get("/hold")
    assert (response.status, response.get("x-envoy-overloaded")) == (503, "true")
    assert sum(one.counter("limit_pending") for one in inner) == 1
    assert sum(one.counter("requests") for one in inner) == before + 1
    keeper.let(len(held))
    for client in held:
        client.close()


def test_methods_say_what_may_be_sent_twice(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, on=["reset", "503"], methods=["get", "POST"])
    pair[0].on("/busy", reply(b"busy", status="503 Busy"))
    pair[0].on("/reset", lambda call: call.reset())
    for path in ("/busy", "/reset"):
        pair[1].on(path, reply(b"here"))
        with gateway.client() as client:
            assert client.get(path).body == b"here"
            assert client.request("POST", path, body=b"twice").body == b"here"
            assert client.request("PUT", path, body=b"once").status == (503 if path == "/busy" else 502)
        assert [call.method for call in pair[1].at(path)] == ["GET", "POST"]


def test_pauses_are_made_before_attempts_and_a_single_server_is_asked_again(
    serve: Serve, origin: Origin
) -> None:
    retries = {"attempts": 3, "on": "503", "backoff": {"base": "60ms", "max": "200ms"}}
    upstream = {"servers": f"{origin.address} max_fails=0", "retries": retries}
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
    left = []

    def recovers(call: Call) -> None:
        left.append(time.monotonic())
        behaviour = reply(b"here") if len(left) == 4 else reply(b"busy", status="503 Busy")
        behaviour(call)

    origin.on("/recovers", recovers)
    origin.on("/busy", reply(b"busy", status="503 Busy"))
    response = gateway.get("/recovers")
    assert (response.status, response.body, len(left)) == (200, b"here", 4)
    response = gateway.get("/busy")
    assert (response.status, response.body, len(origin.at("/busy"))) == (503, b"busy", 4)
    assert gateway.counter("retries") == 6


def test_a_server_that_says_when_it_may_be_asked_again_has_that_time(
    serve: Serve, pair: tuple[Origin, Origin]
) -> None:
    gateway = in_order(serve, pair, on="503", backoff={"base": "1ms", "max": "1s"})
    at: list[float] = []
    for one, path, seconds in ((pair[0], "/soon", "1"), (pair[0], "/late", "3600")):
        one.on(path, reply(b"busy", status="503 Busy", fields=[("Retry-After", seconds)]))
    for path in ("/soon", "/late"):
        pair[1].on(path, reply(b"here"))
        at.append(time.monotonic())
        assert gateway.get(path).body == b"here"
    at.append(time.monotonic())
    assert at[1] - at[0] >= 1
    assert at[2] - at[1] < 60, "more than `max` is not waited for"


def test_a_pause_that_the_deadline_would_end_is_not_begun(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    upstream = {
        "servers": [f"{one.address} max_fails=0" for one in pair],
        "balance": "first",
        "retries": {"on": ["reset", "503"], "backoff": {"base": "1ms", "max": "1h"}},
        "deadline": {"header": "x-limit"},
    }
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
    pair[0].on("/busy", reply(b"busy", status="503 Busy", fields=[("Retry-After", "600")]))
    began = time.monotonic()
    response = gateway.get("/busy", [("X-Limit", "60s")])
    assert (response.status, response.body) == (503, b"busy"), "its response is better than a 504"
    assert time.monotonic() - began < 60
    assert not pair[1].at("/busy")


def test_client_that_leaves_in_a_pause_is_not_served(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, on="503", budget="1%", backoff={"base": "1h", "max": "1h"})
    pair[0].on("/busy", reply(b"busy", status="503 Busy"))
    clients = [RawClient(gateway.address) for _ in range(4)]
    for client in clients:
        client.send(format_request("GET", "/busy"))
    eventually(
        lambda: gateway.counter("limit_retries") == 1, "three pauses are the budget, a fourth is not made"
    )
    for client in clients:
        client.close()
    eventually(lambda: gateway.counter("client_disconnects") >= 3, "the gateway has noticed")
    assert not pair[1].at("/busy")
