"""Upstreams: who is asked, who is left out, and what happens when nobody is left."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import format_request


@pytest.fixture
def trio() -> Iterator[list[Origin]]:
    """Three servers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(3)]


def balanced(serve: Serve, servers: Sequence[str], *, workers: int = 1, **upstream: Any) -> RunningGateway:
    source = {
        "upstreams": {"u": {"servers": list(servers), **upstream}},
        "routes": [{"to": "u"}],
        "access_log": {"flush": "50ms"},
    }
    return serve(source, workers=workers)


def asked(gateway: RunningGateway, count: int) -> Counter[str]:
    """Which servers respond to so many requests, one after the other."""
    with gateway.client() as client:
        return Counter(client.get("/who").json()["origin"] for _ in range(count))


def wait_held(servers: Sequence[Origin], count: int) -> None:
    """Waits until so many requests are held by all servers together."""
    eventually(lambda: sum(len(one.at("/hold")) for one in servers) == count, f"{count} requests are held")


def test_round_robin_shares_alike(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [one.address for one in trio])
    assert asked(gateway, 30) == {one.address: 10 for one in trio}


def test_weights_decide_the_shares_smoothly(serve: Serve, trio: list[Origin]) -> None:
    a, b, c = (one.address for one in trio)
    gateway = balanced(serve, [f"{a} weight=5", b, c])
    with gateway.client() as client:
        client.get("/who")  # the probe of the kit took the first turn of an unknown number
        order = [client.get("/who").json()["origin"] for _ in range(70)]
    assert Counter(order) == {a: 50, b: 10, c: 10}
    longest = max(len(run) for run in "".join("a" if one == a else "." for one in order).split("."))
    assert longest <= 4, "nginx's smooth order never asks the heavy one five times in a row"


def test_least_conn_prefers_the_server_with_fewer_requests(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [one.address for one in trio], balance="least_conn")
    for one in trio:
        one.on("/hold", hang)
    held = [RawClient(gateway.address) for _ in range(2)]
    for number, client in enumerate(held):
        client.send(format_request("GET", "/hold"))
        wait_held(trio, number + 1)
    busy = {one.address for one in trio if one.at("/hold")}
    assert len(busy) == 2
    assert set(asked(gateway, 10)) == {one.address for one in trio} - busy
    for client in held:
        client.close()


def test_least_conn_counts_across_workers(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [one.address for one in trio[:2]], balance="least_conn", workers=2)
    for one in trio:
        one.on("/hold", hang)
    held = []
    for number in range(8):
        client = RawClient(gateway.address)
        client.send(format_request("GET", "/hold"))
        wait_held(trio, number + 1)
        held.append(client)
    assert [len(one.at("/hold")) for one in trio[:2]] == [4, 4]
    for client in held:
        client.close()


def test_backup_is_asked_only_when_the_others_are_out(serve: Serve, trio: list[Origin]) -> None:
    main, backup = trio[0], trio[1]
    gateway = balanced(serve, [f"{main.address} fail_timeout=60s", f"{backup.address} backup"])
    assert set(asked(gateway, 10)) == {main.address}
    main.stop()
    assert set(asked(gateway, 10)) == {backup.address}


def test_failing_server_is_left_out_and_comes_back(serve: Serve, trio: list[Origin]) -> None:
    good, bad = trio[0], trio[1]
    gateway = balanced(serve, [good.address, f"{bad.address} max_fails=2 fail_timeout=1s"])
    port = int(bad.address.rpartition(":")[2])
    bad.stop()
    with gateway.client() as client:
        assert [client.get("/who").status for _ in range(10)] == [200] * 10
        eventually(lambda: len(gateway.access_records()) == 10, "all are logged")
        tried = [record for record in gateway.access_records() if record["attempts"] == 2]
        assert 1 <= len(tried) <= 2, "max_fails=2 leaves it out after two failures"
        with Origin(port=port):
            eventually(
                lambda: asked(gateway, 4)[bad.address], "it is asked again after fail_timeout", within=5
            )


def test_max_fails_zero_is_never_left_out(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [trio[0].address, f"127.0.0.1:{free_port()} max_fails=0"])
    with gateway.client() as client:
        assert [client.get("/who").status for _ in range(20)] == [200] * 20
    eventually(lambda: len(gateway.access_records()) == 20, "all are logged")
    assert sum(record["attempts"] == 2 for record in gateway.access_records()) >= 9


def test_all_servers_down_gives_502(serve: Serve) -> None:
    gateway = balanced(serve, [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"])
    for _ in range(5):
        assert gateway.get("/down").status in (502, 503)
    record = gateway.access_record(target="/down")
    assert record["attempts"] == 2
    assert record["error"]


def test_all_down_then_one_up_is_found_at_once(serve: Serve) -> None:
    port = free_port()
    gateway = balanced(
        serve, [f"127.0.0.1:{port} fail_timeout=60s", f"127.0.0.1:{free_port()} fail_timeout=60s"]
    )
    for _ in range(4):
        assert gateway.get("/down").status in (502, 503)
    with Origin(port=port):
        eventually(
            lambda: gateway.get("/up").status == 200, "with all out of rotation, all are tried", within=5
        )


def test_more_retries_reach_the_one_that_lives(serve: Serve, trio: list[Origin]) -> None:
    dead = [f"127.0.0.1:{free_port()} max_fails=0 weight=100" for _ in range(3)]
    gateway = balanced(serve, [*dead, trio[0].address], retries=3)
    assert gateway.get("/who").status == 200


def test_ip_hash_keeps_a_client_at_its_server(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [one.address for one in trio], balance="ip_hash")
    assert len(asked(gateway, 10)) == 1


def test_random_asks_all(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [one.address for one in trio], balance="random")
    assert len(asked(gateway, 60)) == 3


def test_keepalive_off_opens_a_connection_for_each_request(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [trio[0].address], keepalive={"max_idle": 0})
    asked(gateway, 5)
    assert len({call.connection_number for call in trio[0].at("/who")}) == 5
    eventually(lambda: trio[0].open_connections == 0, "none is kept")


def test_server_connection_is_closed_after_its_number_of_requests(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [trio[0].address], keepalive={"max_requests": 3})
    asked(gateway, 9)
    used = Counter(call.connection_number for call in trio[0].at("/who"))
    assert max(used.values()) <= 3


def test_response_of_5xx_is_a_response(serve: Serve, trio: list[Origin]) -> None:
    trio[0].on("/error", reply(b"mine", status="503 Service Unavailable"))
    gateway = balanced(serve, [trio[0].address, trio[1].address])
    bodies = {gateway.get("/error").body for _ in range(4)}
    assert b"mine" in bodies
