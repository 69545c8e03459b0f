"""Requests that wait for a server with `max_connections`."""

import contextlib

import pytest
from e2e.kit import Origin, RawClient, Serve, eventually
from e2e.kit.behaviours import reply
from e2e.kit.client import format_request
from e2e.kit.gatekeeper import Gatekeeper
from e2e.kit.http2_server import Http2Server, Stream


def source(*servers: str, waits: dict[str, object] | None = None, **timeouts: str) -> dict[str, object]:
    upstream: dict[str, object] = {"servers": [f"{server} max_connections=1" for server in servers]}
    if waits:
        upstream["queue"] = waits
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
    waited = gateway.access_record(target="/hold?3")
    (queue,) = [step for step in waited["steps"] if step["step"] == "queue"]
    assert queue["us"] == waited["queue_us"] > 0 and queue["attempt"] == 1
    (head,) = [step for step in waited["steps"] if step["step"] == "head"]
    assert 0 <= queue["begin_us"] <= queue["begin_us"] + queue["us"] <= head["begin_us"]


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


def test_no_more_wait_than_may(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address, waits={"max_pending": 1}))
    with gateway.client() as first, gateway.client() as second:
        first.send(format_request("GET", "/hold?1"))
        eventually(lambda: keeper.held == ["/hold?1"], "the server is busy")
        second.send(format_request("GET", "/hold?2"))
        eventually(lambda: gateway.counter("queued_active") == 1, "the second waits")
        assert gateway.get("/hold?3").status == 503
        keeper.let(2)
        assert first.response().status == second.response().status == 200
    record = gateway.access_record(target="/hold?3")
    assert (record["error"], record["limit"]) == ("queue_full", "queue.max_pending")
    assert (gateway.counter("limit_pending"), gateway.counter("queued_active")) == (1, 0)


def test_overloaded_queue_sheds_and_serves_the_newest_first(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address, waits={"target": "20s", "interval": "1s"}), workers=1)
    clients = [gateway.client() for _ in range(4)]
    clients[0].send(format_request("GET", "/hold?0"))
    eventually(lambda: keeper.held == ["/hold?0"], "the server is busy")
    # one that stays in the queue for an interval is shed
    assert gateway.get("/hold?shed").status == 503
    record = gateway.access_record(target="/hold?shed")
    assert (record["error"], record["limit"]) == ("queue_shed", "queue.target")
    assert record["queue_us"] >= 1_000_000 and gateway.counter("queue_shed") == 1
    # one that comes while another one has been there for a while keeps the queue standing, until it is overloaded
    number = 0
    with contextlib.ExitStack() as stack:
        while gateway.counter("queued_active") < 2 or gateway.counter("queue_shed") < 3:
            number += 1
            waiting = stack.enter_context(gateway.client())
            waiting.send(format_request("GET", f"/hold?waits{number}"))
            eventually(lambda: gateway.counter("queued_active") > 0, "it waits")
        clients[1].send(format_request("GET", "/hold?newest"))
        eventually(lambda: gateway.counter("requests_active") >= 3, "it is there")
        keeper.let(1)
        eventually(lambda: keeper.held == ["/hold?newest"], "the newest goes first")
        keeper.let(1000)
        assert clients[0].response().status == clients[1].response().status == 200
    for client in clients:
        client.close()


def test_clients_take_turns_where_they_share_fairly(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    config = source(origin.address, waits={"fair": True})
    gateway = serve({**config, "trusted_proxies": ["127.0.0.1"]}, workers=1)
    sent = [("greedy", number) for number in range(5)] + [("modest", 0)]
    address = {"greedy": "192.0.2.1", "modest": "192.0.2.2"}
    clients = [gateway.client() for _ in sent]
    for at, (client, (who, number)) in enumerate(zip(clients, sent, strict=True)):
        fields = [("x-forwarded-for", address[who])]
        client.send(format_request("GET", f"/hold?{who}{number}", fields))
        eventually(lambda at=at: gateway.counter("queued_active") == at, "it waits behind the others")
    served = []
    for _ in sent:
        eventually(lambda: len(keeper.held) == 1, "the next one is served")
        served.append(keeper.held[0].partition("?")[2])
        before = keeper.served
        keeper.let(1)
        eventually(lambda before=before: keeper.served > before, "it is done")
    assert served == ["greedy0", "greedy1", "modest0", "greedy2", "greedy3", "greedy4"]
    for client in clients:
        assert client.response().status == 200
        client.close()


def test_urgent_requests_overtake_those_that_wait(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address, waits={"priority": "X-Urgency"}), workers=1)
    sent = ["", "7", "7", "u=5, i", "", "0", "u=0", "not valid"]
    clients = [gateway.client() for _ in sent]
    for at, (client, urgency) in enumerate(zip(clients, sent, strict=True)):
        fields = [("x-urgency", urgency)] if urgency else []
        client.send(format_request("GET", f"/hold?{at}", fields))
        eventually(lambda at=at: gateway.counter("queued_active") == at, "it waits behind the others")
    served = []
    for _ in sent:
        eventually(lambda: len(keeper.held) == 1, "the next one is served")
        served.append(int(keeper.held[0].partition("?")[2]))
        before = keeper.served
        keeper.let(1)
        eventually(lambda before=before: keeper.served > before, "it is done")
    assert served == [0, 5, 6, 4, 7, 3, 1, 2]
    for client in clients:
        assert client.response().status == 200
        client.close()


def test_waiters_of_a_removed_server_go_to_one_that_stays(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    with Origin() as other:
        other.on("/hold", reply(b"other"))
        gateway = serve(source(origin.address, other.address), workers=1)
        gateway.cli("server", "u", other.address, "maintenance")
        clients: list[RawClient] = []
        for number in range(11):
            clients.append(gateway.client())
            clients[-1].send(format_request("GET", f"/hold?{number}"))
        eventually(lambda: gateway.counter("queued_active") == 10, "ten wait for the first server")
        gateway.write(source(other.address))
        assert gateway.ask("reload")["in_place"]
        # the first server has room again
        keeper.let(11)
        assert clients[0].response().text == "/hold?0"
        gateway.cli("server", "u", other.address, "ready")
        assert [client.response().text for client in clients[1:]] == ["other"] * 10
        assert len(origin.at("/hold")) == 1
        for client in clients:
            client.close()


def test_waiters_see_a_server_that_is_new(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    with Origin() as other:
        other.on("/hold", reply(b"other"))
        gateway = serve(source(origin.address, queue="1m"), workers=1)
        clients: list[RawClient] = []
        for number in range(6):
            clients.append(gateway.client(timeout=60))
            clients[-1].send(format_request("GET", f"/hold?{number}"))
        eventually(lambda: gateway.counter("queued_active") == 5, "five wait for the only server")
        gateway.write(source(origin.address, other.address, queue="1m"))
        assert gateway.ask("reload")["in_place"]
        assert [client.response().text for client in clients[1:]] == ["other"] * 5
        assert [one.target for one in other.at("/hold")] == [f"/hold?{number}" for number in range(1, 6)]
        keeper.let(1)
        assert clients[0].response().text == "/hold?0"
        record = gateway.access_record(target="/hold?3")
        assert record["server"] == other.address and record["queue_us"] > 0
        assert gateway.counter("queued_active") == 0
        for client in clients:
            client.close()


def test_waiters_do_not_stay_with_servers_that_are_all_gone(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    with Origin() as other, Origin() as third:
        other.on("/hold", reply(b"other"))
        third.on("/hold", other_keeper := Gatekeeper())
        gateway = serve(source(origin.address, queue="1m"), workers=1)
        clients: list[RawClient] = []
        for number in range(4):
            clients.append(gateway.client(timeout=60))
            clients[-1].send(format_request("GET", f"/hold?{number}"))
        eventually(lambda: gateway.counter("queued_active") == 3, "three wait for the only server")
        gateway.write(source(third.address, queue="1m"))
        assert gateway.ask("reload")["in_place"]
        eventually(lambda: len(third.at("/hold")) == 1, "the first of them is at the new server")
        assert gateway.counter("queued_active") == 2
        gateway.write(source(other.address, queue="1m"))
        assert gateway.ask("reload")["in_place"]
        assert [client.response().text for client in clients[2:]] == ["other"] * 2, "and moves once more"
        keeper.let(1)
        other_keeper.let(1)
        assert [client.response().status for client in clients[:2]] == [200, 200]
        assert len(origin.at("/hold")) == 1
        for client in clients:
            client.close()


def test_wait_is_no_longer_for_sets_that_change(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address, queue="2s"), workers=1)
    with gateway.client() as first, gateway.client(timeout=20) as second:
        first.send(format_request("GET", "/hold"))
        eventually(lambda: keeper.held == ["/hold"], "the server is busy")
        second.send(format_request("GET", "/late"))
        eventually(lambda: gateway.counter("queued_active") == 1, "the second one waits")
        for number in range(1, 5):
            gateway.write(source(origin.address, waits={"max_pending": number}, queue="2s"))
            assert gateway.ask("reload")["in_place"]
        assert second.response().status == 503
        keeper.let(1)
        assert first.response().status == 200
        record = gateway.access_record(target="/late")
        assert record["error"] == "queue_timeout" and record["queue_us"] < 4_000_000, record["queue_us"]


def test_upstream_has_a_bound_for_all_its_servers(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    with Origin() as other:
        other.on("/hold", keeper)
        upstream = {"servers": [origin.address, other.address], "max_connections": 1}
        gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
        clients = [gateway.client() for _ in range(4)]
        for client in clients:
            client.send(format_request("GET", "/hold"))
        eventually(lambda: gateway.counter("queued_active") == 3, "three wait")
        keeper.let(len(clients))
        assert [client.response().status for client in clients] == [200] * 4
        assert keeper.most == 1
        assert len(origin.at("/hold")) == len(other.at("/hold")) == 2


def test_waiters_go_to_a_server_that_comes_back_when_their_own_leaves(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    with Origin() as other:
        other.on("/hold", reply(b"other"))
        gateway = serve(source(origin.address, other.address), workers=1)
        gateway.cli("server", "u", other.address, "maintenance")
        clients: list[RawClient] = []
        for number in range(11):
            clients.append(gateway.client())
            clients[-1].send(format_request("GET", f"/hold?{number}"))
        eventually(lambda: gateway.counter("queued_active") == 10, "ten wait for the first server")
        gateway.cli("server", "u", origin.address, "maintenance")
        gateway.cli("server", "u", other.address, "ready")
        responses = [client.response().text for client in clients[1:]]
        assert responses == ["other"] * 10
        keeper.let(1)
        assert clients[0].response().status == 200
        for client in clients:
            client.close()


def test_clients_that_left_hold_no_place(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(source(origin.address), workers=1)
    clients = [gateway.client() for _ in range(101)]
    for client in clients:
        client.send(format_request("GET", "/hold"))
    eventually(lambda: gateway.counter("queued_active") == 100, "all others wait")
    stay = clients[:11]
    for client in clients[11:]:
        client.close()
    eventually(lambda: gateway.counter("queued_active") <= 11, "who left has no place")
    keeper.let(101)
    assert {client.response().status for client in stay} == {200}
    assert len(origin.at("/hold")) <= 12


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_bound_means_the_same_for_both_protocols(serve: Serve, origin: Origin, protocol: str) -> None:
    origin.on("/", keeper := Gatekeeper())
    held: list[Stream] = []
    with Http2Server(held.append) as server:
        address = server.address if protocol == "h2" else origin.address
        upstream = {"servers": f"{address} max_connections=3", "protocol": protocol}
        gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
        clients = [gateway.client() for _ in range(6)]
        for client in clients:
            client.send(format_request("GET", "/"))
        eventually(lambda: gateway.counter("queued_active") == 3, "three wait")
        eventually(lambda: len(held if protocol == "h2" else keeper.held) == 3, "three are served")
        keeper.let(6)
        for number in range(6):
            if protocol == "h2":
                eventually(lambda number=number: len(held) > number, "it has come")
                held[number].respond(b"here")
        assert [client.response().status for client in clients] == [200] * 6
        assert keeper.most <= 3
