"""Requests that wait for a server with `max_connections`."""

import threading

from e2e.kit import Call, Origin, Serve, eventually
from e2e.kit.client import format_request


class Gatekeeper:
    """An origin's behaviour that responds only when told to, and knows how many it holds."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.most = 0
        self._lock = threading.Lock()
        self._tickets = threading.Semaphore(0)

    def __call__(self, call: Call) -> None:
        with self._lock:
            self.held.append(call.target)
            self.most = max(self.most, len(self.held))
        self._tickets.acquire(timeout=20)
        with self._lock:
            self.held.remove(call.target)
        call.respond(body=call.target.encode())

    def let(self, count: int) -> None:
        self._tickets.release(count)


def source(*servers: str, **timeouts: str) -> dict[str, object]:
    upstream = {"servers": [f"{server} max_connections=1" for server in servers]}
    return {"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "timeouts": timeouts, "access_log": {}}


def test_requests_wait_in_the_order_they_came(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address))
    clients = [gateway.client() for _ in range(4)]
    for number, client in enumerate(clients):
        client.send(format_request("GET", f"/hold?{number}"))
        eventually(lambda at=number: gateway.counter("requests_active") > at, "the request is there")
    for number, client in enumerate(clients):
        eventually(lambda at=number: keeper.held == [f"/hold?{at}"], "its turn has come")
        keeper.let(1)
        assert client.response().text == f"/hold?{number}"
        client.close()
    assert keeper.most == 1
    assert gateway.access_record(target="/hold?0")["queue_us"] == 0
    assert gateway.access_record(target="/hold?3")["queue_us"] > 0


def test_bound_holds_over_workers(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address), workers=2)
    clients = [gateway.client() for _ in range(8)]
    for client in clients:
        client.send(format_request("GET", "/hold"))
    keeper.let(len(clients))
    assert [client.response().status for client in clients] == [200] * len(clients)
    # two workers that look at the same moment may both see the room for one
    assert keeper.most <= 2


def test_wait_has_a_limit(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address, queue="300ms"))
    with gateway.client() as first, gateway.client() as second:
        first.send(format_request("GET", "/hold"))
        eventually(lambda: keeper.held == ["/hold"], "the server is busy")
        assert second.get("/late").status == 503
        keeper.let(1)
        assert first.response().status == 200
        assert second.get("/now").status == 200
    record = gateway.access_record(target="/late")
    assert (record["error"], record["limit"]) == ("queue_timeout", "timeouts.queue")
    assert gateway.counter("timeout_queue") == 1


def test_client_that_leaves_the_queue_does_not_hold_it_up(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address))
    with gateway.client() as first, gateway.client() as third:
        first.send(format_request("GET", "/hold"))
        eventually(lambda: keeper.held == ["/hold"], "the server is busy")
        with gateway.client() as second:
            second.send(format_request("GET", "/never"))
            eventually(lambda: gateway.counter("requests_active") == 2, "the second waits")
            third.send(format_request("GET", "/third"))
            eventually(lambda: gateway.counter("requests_active") == 3, "the third waits")
        eventually(lambda: gateway.counter("client_disconnects") == 1, "the second disconnect is noticed")
        keeper.let(1)
        assert first.response().status == 200
        assert third.response().status == 200
    assert not origin.at("/never")
