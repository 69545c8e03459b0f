"""Shared dictionaries, locks and the lead, in gateways of several workers."""

import os
import signal
from collections import Counter

import pytest
from e2e.kit import RunningGateway, Serve, eventually, run_cli

GATE = """
import asyncio
import os
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
counters = gate.shared("counters", SIZE)

@gate.route("/count")
def count(request):
    return Response.json([os.getpid(), counters.incr("hits"), counters.incr(f"by {os.getpid()}")])

@gate.route("/get")
def get(request):
    return Response.json({"hits": counters.get("hits"), "repairs": counters.repairs})

@gate.route("/raise")
def wrong(request):
    counters.lpop("hits")

@gate.route("/late")
def late(request):
    gate.shared("another", "1m")

@gate.route("/leader")
def leader(request):
    return Response.json([os.getpid(), gate.is_leader])

@gate.route("/take/{name}")
async def take(request):
    await gate.lock(request.params["name"], timeout=5, ttl=60).acquire()  # and never gives it back
    return Response.json(os.getpid())

@gate.route("/try/{name}")
async def try_(request):
    lock = gate.lock(request.params["name"])
    if not lock.try_acquire():
        return Response.json("held", 423)
    lock.release()
    return Response.json("free")

@gate.route("/add")
async def add(request):
    # what a lock is for: read, wait, write
    async with counters.lock("sum", timeout=30):
        before = counters.get("sum", 0)
        await asyncio.sleep(0.001)
        counters.set("sum", before + 1)
    return Response.json(counters.get("sum"))
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(GATE, names={"SIZE": "1m"}, workers=2)


def both_workers(gateway: RunningGateway, target: str) -> dict[int, object]:
    """The last response of each worker."""
    told: dict[int, object] = {}

    def asked() -> bool:
        pid, response = gateway.get(target).json()
        told[pid] = response
        return len(told) == 2

    eventually(asked, "both workers responded")
    return told


def test_all_workers_count_in_one_dictionary(gateway: RunningGateway) -> None:
    before = gateway.get("/get").json()["hits"] or 0
    responses = [gateway.get("/count").json() for _ in range(40)]
    assert [hits for _, hits, _ in responses] == list(range(before + 1, before + 41))
    assert len({pid for pid, _, _ in responses}) == 2


def test_a_refused_operation_harms_its_own_request_only(gateway: RunningGateway) -> None:
    gateway.get("/count")
    assert gateway.get("/raise").status == 500
    gateway.wait_for_log("TypeError: `'hits'`: the value is no list")
    assert gateway.get("/count").status == 200


def test_a_dictionary_is_not_made_while_requests_wait(gateway: RunningGateway) -> None:
    assert gateway.get("/late").status == 500
    gateway.wait_for_log("`another` is created while the gateway is running")


def test_a_lock_keeps_others_out(gateway: RunningGateway) -> None:
    clients = [gateway.client(timeout=30) for _ in range(24)]
    for client in clients:
        client.send(b"GET /add HTTP/1.1\r\nHost: a\r\n\r\n")
    sums = [client.response().json() for client in clients]
    for client in clients:
        client.close()
    assert max(sums) == 24


def test_one_worker_leads(gateway: RunningGateway) -> None:
    def led() -> bool:
        return Counter(both_workers(gateway, "/leader").values()) == {True: 1, False: 1}

    eventually(led, "one of two leads")


def test_a_killed_worker_loses_its_locks_and_the_lead(serve: Serve) -> None:
    gateway = serve(GATE, names={"SIZE": "1m"}, workers=2)
    eventually(lambda: True in both_workers(gateway, "/leader").values(), "somebody leads")
    leader = next(pid for pid, leads in both_workers(gateway, "/leader").items() if leads)
    holder = gateway.get("/take/b").json()
    assert gateway.get("/try/b").status == 423
    os.kill(holder, signal.SIGKILL)
    eventually(lambda: gateway.get("/try/b").status == 200, "the lock of the dead is free")
    if holder != leader:
        os.kill(leader, signal.SIGKILL)

    def led_by_another() -> bool:
        return any(leads and pid != leader for pid, leads in both_workers(gateway, "/leader").items())

    eventually(led_by_another, "another one leads")


def test_it_survives_reloads_and_a_new_size_begins_empty(serve: Serve) -> None:
    gateway = serve(GATE, names={"SIZE": "1m"}, workers=2)
    for _ in range(10):
        gateway.get("/count")
    assert gateway.ask("reload")["ok"]
    assert gateway.get("/get").json()["hits"] == 10
    gateway.names["SIZE"] = "2m"
    gateway.write(GATE)
    assert gateway.ask("reload")["ok"]
    gateway.wait_for_log("has a new size and starts empty.*counters")
    assert gateway.get("/get").json()["hits"] is None
    gateway.get("/count")
    gateway.write(GATE + "\nraise OSError('no')\n")
    assert not gateway.ask("reload")["ok"]
    assert gateway.get("/get").json()["hits"] == 1


def test_it_survives_an_upgrade(serve: Serve) -> None:
    gateway = serve(GATE, names={"SIZE": "1m"})
    gateway.get("/count")
    response = gateway.ask("upgrade")
    assert response["ok"], response
    assert gateway.process.wait(timeout=40) == 0
    try:
        assert gateway.get("/get").json()["hits"] == 1
    finally:
        os.kill(response["pid"], signal.SIGTERM)


def test_killed_workers_leave_it_whole(serve: Serve) -> None:
    gateway = serve(GATE, names={"SIZE": "1m"}, workers=2)
    responded = 0
    for _ in range(5):
        victim = gateway.get("/leader").json()[0]
        for number in range(30):
            try:
                responded += gateway.get("/count").status == 200
            except OSError:
                continue  # its worker was the victim
            if number == 10:
                os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(gateway.workers) == 2, "the supervisor has replaced it", within=20)
    assert gateway.get("/get").json()["hits"] >= responded


def test_wrong_sizes_and_names_are_refused_at_load(serve: Serve) -> None:
    gateway = serve(GATE, names={"SIZE": "1m"})
    for call, told in (
        ('gate.shared("x", "1k")', "cannot have 1024 bytes"),
        ('gate.shared("x", "lots")', "`lots` is not a size"),
        ('gate.shared("a b")', "`a b` is not a valid name"),
        ('gate.shared("counters", "3m")', "is already defined with 1048576 bytes"),
    ):
        gateway.write(GATE + call + "\n")
        response = gateway.ask("reload")
        assert not response["ok"] and told in response["error"] and "gate.py:" in response["error"], response
        checked = run_cli("check", str(gateway.file), cwd=gateway.folder)
        assert checked.returncode == 2 and told in checked.stderr
    assert gateway.get("/count").status == 200
