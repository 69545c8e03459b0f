"""Hedged requests: a slow one goes to another server as well, and whatever came second leaves no trace."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import format_request
from e2e.kit.http2_server import Http2Server, Stream
from e2e.kit.metrics import scrape

SOON = "20ms"


@pytest.fixture
def pair() -> Iterator[tuple[Origin, Origin]]:
    """Two servers."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(Origin()), stack.enter_context(Origin())


def in_order(
    serve: Serve, origins: tuple[Origin, ...], *, metrics: str = "", **upstream: object
) -> RunningGateway:
    """A gateway that asks the first server first."""
    settings = {
        "servers": [f"{one.address} max_fails=0" for one in origins],
        "balance": "first",
        "hedge": SOON,
        **upstream,
    }
    config = {"upstreams": {"u": settings}, "routes": [{"to": "u"}], "access_log": {"flush": "50ms"}}
    return serve({**config, **({"metrics": metrics} if metrics else {})}, workers=1)


def gone(origin: Origin, path: str) -> threading.Event:
    """Has the server say nothing on a path; set once the connection of such a request was closed."""
    left = threading.Event()

    def behaviour(call: Call) -> None:
        hang(call)
        left.set()

    origin.on(path, behaviour)
    return left


def test_request_that_waits_goes_to_another_server_and_the_first_response_wins(
    serve: Serve, pair: tuple[Origin, Origin]
) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = in_order(serve, pair, metrics=metrics)
    left = gone(pair[0], "/slow")
    pair[1].on("/slow", reply(b"second"))
    with gateway.client() as client:
        assert client.get("/slow").body == b"second"
        assert left.wait(10), "the other one's connection is closed"
        assert client.get("/quick").json()["origin"] == pair[0].address
    record = gateway.access_record(target="/slow")
    assert (record["server"], record["attempts"], record["status"]) == (pair[1].address, 2, 200)
    assert gateway.access_record(target="/quick")["attempts"] == 1
    counts = {name: gateway.counter(name) for name in ("hedges", "attempts_cancelled", "retries")}
    assert counts == {"hedges": 1, "attempts_cancelled": 1, "retries": 0}
    assert gateway.counter("upstream_failures") == 0
    found = scrape(gateway, metrics)
    for name in ("headgate_upstream_hedges_total", "headgate_upstream_hedges_won_total"):
        assert found.value(name, server=pair[1].address) == 1
        assert found.value(name, server=pair[0].address) == 0
    # nothing is in flight any more
    eventually(lambda: gateway.counter("requests_active") == 0, "all requests are over")


def test_first_server_may_still_win(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = in_order(serve, pair, metrics=metrics)
    is_asked = threading.Event()
    left = threading.Event()

    def waits(call: Call) -> None:
        assert is_asked.wait(10)
        call.respond(b"first")

    def never(call: Call) -> None:
        is_asked.set()
        hang(call)
        left.set()

    pair[0].on("/race", waits)
    pair[1].on("/race", never)
    with gateway.client() as client:
        assert client.get("/race").body == b"first"
        assert left.wait(10), "the hedge's connection is closed"
        # that of the winner is kept
        assert client.get("/after").status == 200
    assert pair[0].at("/race")[0].connection_number == pair[0].at("/after")[0].connection_number
    assert gateway.access_record(target="/race")["server"] == pair[0].address
    found = scrape(gateway, metrics)
    counts = [found.value(f"headgate_upstream_hedges_{what}total") for what in ("", "won_")]
    assert counts == [1, 0]


def test_only_what_may_be_sent_twice_is_hedged(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair)
    for path in ("/post", "/streamed", "/upgrade"):
        pair[0].on(path, gate := _Gate())
        with gateway.client() as client:
            if path == "/post":
                client.send(format_request("POST", path, body=b"once"))
            elif path == "/streamed":
                client.send(b"PUT /streamed HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 8\r\n\r\nhalf")
                eventually(lambda at=path: pair[0].at(at), "the first half has come")
                client.send(b"half")
            else:
                fields = [("connection", "upgrade"), ("upgrade", "other")]
                client.send(format_request("GET", path, fields))
            eventually(lambda at=path: pair[0].at(at), "the server was asked")
            # a request that may be hedged is, meanwhile
            gone(pair[0], f"{path}-twin")
            assert gateway.get(f"{path}-twin").json()["origin"] == pair[1].address
            gate.open.set()
            assert client.response().status == 200
        assert not pair[1].at(path)
    assert gateway.counter("hedges") == 3


class _Gate:
    """Responds when told to."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, call: Call) -> None:
        call.read_body()
        assert self.open.wait(20)
        call.respond(b"ok")


def test_body_that_is_here_is_sent_to_both(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair)
    gone(pair[0], "/put")
    with gateway.client() as client:
        assert client.request("PUT", "/put", body=b"content").json()["body"] == "content"
    assert [one.at("/put")[0].get("content-length") for one in pair] == ["7", "7"]


def test_stream_of_the_other_server_is_reset(serve: Serve) -> None:
    held: list[Stream] = []
    with Http2Server(held.append) as slow, Http2Server(lambda stream: stream.respond(b"quick")) as quick:
        upstream = {
            "servers": [slow.address, quick.address],
            "balance": "first",
            "protocol": "h2",
            "hedge": SOON,
        }
        gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
        for number in range(2):
            assert gateway.get("/").body == b"quick"
            eventually(lambda at=number: held[at].reset == 8, "CANCEL (RFC 9113 section 7)")
        assert len(slow.connections) == 1, "the connection goes on"


def test_attempt_that_fails_is_noted_while_the_other_goes_on(
    serve: Serve, pair: tuple[Origin, Origin]
) -> None:
    gateway = in_order(serve, pair)
    is_asked = threading.Event()

    def breaks(call: Call) -> None:
        assert is_asked.wait(10)
        call.reset()

    def responds(call: Call) -> None:
        is_asked.set()
        eventually(lambda: gateway.counter("upstream_failures") == 1, "the first one has failed")
        call.respond(b"second")

    pair[0].on("/broken", breaks)
    pair[1].on("/broken", responds)
    assert gateway.get("/broken").body == b"second"
    assert (gateway.counter("retries"), gateway.counter("attempts_cancelled")) == (0, 0)
    assert gateway.wait_for_log("the server closed the connection before it responded")


def test_attempts_of_a_request_are_bounded_over_hedges_and_retries(serve: Serve) -> None:
    with contextlib.ExitStack() as stack:
        servers = tuple(stack.enter_context(Origin()) for _ in range(8))

        def breaks(call: Call) -> None:
            # the first three are asked beside each other
            eventually(lambda: sum(len(one.at("/down")) for one in servers) >= 3, "there are three")
            call.reset()

        for one in servers:
            one.on("/down", breaks)
        # no connection is left of the probe, which would be replaced by a fresh one
        more: dict[str, Any] = {"retries": 3, "keepalive": {"max_idle": 0}}
        gateway = in_order(serve, servers, hedge={"after": SOON, "max": 2}, **more)
        assert gateway.get("/down").status == 502
        assert sum(len(one.at("/down")) for one in servers) == 4
        assert gateway.counter("hedges") >= 2
        assert gateway.access_record(target="/down")["attempts"] == 4


def test_hedges_are_within_the_budget_and_the_first_attempt_goes_on(
    serve: Serve, pair: tuple[Origin, Origin]
) -> None:
    gateway = in_order(serve, pair, retries={"budget": "20%"})
    pair[0].on("/busy", busy := _Gate())
    pair[1].on("/busy", hang)
    held = [RawClient(gateway.address) for _ in range(3)]
    for number, client in enumerate(held):
        client.send(format_request("GET", "/busy"))
        eventually(lambda at=number: len(pair[1].at("/busy")) == at + 1, "a hedge waits")
    pair[0].on("/fourth", gate := _Gate())
    with gateway.client() as client:
        client.send(format_request("GET", "/fourth"))
        eventually(lambda: gateway.counter("limit_retries") == 1, "there is no fourth hedge")
        gate.open.set()
        assert client.response().body == b"ok"
    assert not pair[1].at("/fourth")
    for client in held:
        client.close()
    eventually(lambda: gateway.counter("client_disconnects") == 3, "all have left")
    busy.open.set()


def test_client_that_has_left_is_not_hedged(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, hedge="2s")
    left = gone(pair[0], "/left")
    with gateway.client() as client:
        client.send(format_request("GET", "/left"))
        eventually(lambda: pair[0].at("/left"), "the server was asked")
    eventually(lambda: gateway.counter("client_disconnects") == 1, "its client has left")
    assert left.wait(10)
    assert gateway.counter("hedges") == 0 and not pair[1].at("/left")


def test_hedges_do_not_wait_for_servers_that_are_busy(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    servers = [f"{one.address} max_connections=1" for one in pair]
    gateway = in_order(serve, pair, servers=servers, hedge="1s", timeouts={"queue": "3s"})
    gate = _Gate()
    for one in pair:
        one.on("/held", gate)
    clients = [gateway.client() for _ in range(2)]
    for client in clients:
        client.send(format_request("GET", "/held"))
    eventually(lambda: all(one.at("/held") for one in pair), "both servers are busy")
    # longer than the delay of those two
    assert gateway.get("/third").status == 503
    assert gateway.counter("hedges") == gateway.counter("queued_active") == 0
    gate.open.set()
    for client in clients:
        assert client.response().status == 200
        client.close()


def test_percentile_of_what_requests_took_is_the_delay(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = in_order(serve, pair, hedge="p90")
    pair[0].on("/held", gate := _Gate())
    with gateway.client() as waiting, gateway.client() as client:
        # nothing is known yet
        waiting.send(format_request("GET", "/held"))
        eventually(lambda: pair[0].at("/held"), "it is held")
        for _ in range(30):
            assert client.get("/").status == 200
        gate.open.set()
        assert waiting.response().status == 200
    assert not pair[1].at("/held"), "no delay was known when it began"
    gone(pair[0], "/slow")
    assert gateway.get("/slow").json()["origin"] == pair[1].address


GATE = """
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
api = gate.upstream("api", f"{FIRST} max_fails=0", f"{SECOND} max_fails=0", balance="first", hedge="20ms")
route = gate.route("/", to=api)

@route.upstream_request
def number(request, attempt):
    if request.path == "/own" and attempt.number == 2:
        return Response(418, attempt.server)
    request.headers["x-attempt"] = f"{attempt.number} {attempt.server}"

@route.response
def who(request, response):
    response.headers["x-attempts"] = str(request.attempt)
"""


def test_hooks_see_each_attempt_and_then_the_winner(serve: Serve, pair: tuple[Origin, Origin]) -> None:
    gateway = serve(GATE, names={"FIRST": pair[0].address, "SECOND": pair[1].address}, workers=1)
    is_asked = threading.Event()

    def waits(call: Call) -> None:
        assert is_asked.wait(10)
        call.respond(b"first")

    def never(call: Call) -> None:
        is_asked.set()
        hang(call)

    pair[0].on("/", waits)
    pair[1].on("/", never)
    response = gateway.get("/")
    assert (response.body, response.get("x-attempts")) == (b"first", "2")
    assert gateway.access_record(target="/")["server"] == pair[0].address
    told = [one.at("/")[0].get("x-attempt") for one in pair]
    assert told == [f"1 {pair[0].address}", f"2 {pair[1].address}"]
    left = gone(pair[0], "/own")
    response = gateway.get("/own")
    assert (response.status, response.text) == (418, pair[1].address)
    assert left.wait(10), "the attempt under way is given up"
    assert not pair[1].at("/own")
