"""Requests whose clients say how long they wait."""

import threading

from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import format_request
from e2e.kit.http2 import Http2Client
from e2e.kit.http2_server import Http2Server, Stream


def serve_one(serve: Serve, origin: Origin, **deadline: object) -> RunningGateway:
    upstream = {"servers": f"{origin.address} max_fails=0", "deadline": {"header": "X-Timeout", **deadline}}
    return serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "access_log": {}}, workers=1)


def test_client_says_how_long_it_waits_and_servers_are_told_what_is_left(
    serve: Serve, origin: Origin
) -> None:
    gateway = serve_one(serve, origin)
    origin.on("/slow", hang)
    origin.on("/fast", reply())
    assert gateway.get("/fast", [("x-timeout", "20000")]).status == 200
    assert gateway.get("/fast", [("x-timeout", "20s")]).status == 200
    assert gateway.get("/fast", [("x-timeout", "soon")]).status == 200
    plain, unit, other = (call.get("x-timeout") or "" for call in origin.at("/fast"))
    assert 10_000 < int(plain) <= 20_000
    assert 10_000 < int(unit.removesuffix("ms")) <= 20_000 and unit.endswith("ms")
    assert other == "soon"
    assert gateway.get("/slow", [("x-timeout", "200")]).status == 504
    record = gateway.access_record(target="/slow")
    assert (record["error"], record["limit"]) == ("deadline_exceeded", "deadline")
    assert gateway.counter("timeout_deadline") == 1


def test_deadline_that_has_passed_never_reaches_the_server(serve: Serve, origin: Origin) -> None:
    gateway = serve_one(serve, origin)
    origin.on("/", reply())
    assert gateway.get("/", [("x-timeout", "0")]).status == 504
    assert gateway.get("/", [("x-timeout", "1m")]).status == 200
    assert len(origin.at("/")) == 1


def test_what_a_client_says_has_a_maximum(serve: Serve, origin: Origin) -> None:
    gateway = serve_one(serve, origin, max="300ms")
    origin.on("/", hang)
    for value in ("99999999999999999999999999", "60m"):
        assert gateway.get("/", [("x-timeout", value)]).status == 504
    told = [int((call.get("x-timeout") or "").removesuffix("ms")) for call in origin.at("/")]
    assert len(told) == 2 and max(told) <= 300


def test_request_that_says_nothing_has_the_default(serve: Serve, origin: Origin) -> None:
    gateway = serve_one(serve, origin, default="300ms")
    origin.on("/", hang)
    assert gateway.get("/").status == 504
    assert 0 < int(origin.at("/")[0].get("x-timeout") or "") <= 300


def test_time_in_the_queue_and_of_a_retry_is_deducted(serve: Serve, origin: Origin) -> None:
    freed = threading.Event()

    def held(call: Call) -> None:
        freed.wait(20)
        call.respond()

    upstream = {
        "servers": f"{origin.address} max_connections=1",
        "deadline": {"header": "X-Timeout"},
    }
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
    origin.on("/held", held)
    origin.on("/next", reply())
    with gateway.client() as first, gateway.client() as second:
        first.send(format_request("GET", "/held"))
        eventually(lambda: len(origin.at("/held")) == 1, "the server is busy")
        assert second.get("/next", [("x-timeout", "200")]).status == 504
        second.send(format_request("GET", "/next", [("x-timeout", "60000")]))
        eventually(lambda: gateway.counter("requests_active") == 2, "it waits")
        freed.set()
        assert first.response().status == second.response().status == 200
    assert int(origin.at("/next")[0].get("x-timeout") or "") < 60_000


def test_timeouts_of_grpc_are_bounded_and_passed_on(serve: Serve) -> None:
    seen: list[Stream] = []

    def served(stream: Stream) -> None:
        seen.append(stream)
        stream.respond(fields=[("content-type", "application/grpc"), ("grpc-status", "0")])

    fields = [("content-type", "application/grpc"), ("te", "trailers")]
    with Http2Server(served) as server:
        upstream = {"servers": [server.address], "protocol": "h2", "deadline": {"max": "20s"}}
        gateway = serve({"upstreams": {"grpc": upstream}, "routes": [{"to": "grpc"}]})
        with Http2Client(gateway.address) as client:
            for value in ("99999999H", "10S", "123456789S"):
                response = client.get("/a.S/M", [*fields, ("grpc-timeout", value)])
                assert dict(response.fields)["grpc-status"] == "0"
            response = client.get("/a.S/M", [*fields, ("grpc-timeout", "0m")])
            assert dict(response.fields)["grpc-status"] == "4"
    most, ten, invalid = (stream.get("grpc-timeout") or "" for stream in seen)
    assert 10_000 < int(most.removesuffix("m")) <= 20_000
    assert 5_000 < int(ten.removesuffix("m")) <= 10_000
    assert invalid == "123456789S"
