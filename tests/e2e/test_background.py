"""Timers, tasks, threads, job processes and services in real workers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.services import postgresql, redis

GATE = """
import asyncio, os, threading
from dataclasses import dataclass
from headgate import Gateway, Overloaded, Response
gate = Gateway()
gate.listen(LISTEN)
gate.timeouts(drain="20s")
gate.background_limits(processes=1, max_waiting_jobs=0)
seen = gate.shared("seen", "1m")

@gate.every("20ms")
def in_each():
    seen.incr(f"each {os.getpid()}")

@gate.every("20ms", once_per="node")
async def in_one():
    seen.incr(f"node {os.getpid()}")

gate.after("1ms", seen.incr, "once")

@gate.route("/keys")
def keys(request):
    return Response.json({key: seen.get(key) for key in seen.keys(None)})

@dataclass
class Order:
    amount: int

def compute(order):
    seen.incr("computed")  # the same memory, in the job process
    return Order(order.amount * 2), os.getpid()

def spin(name):
    seen.set(name, os.getpid())
    while True:
        pass

@gate.route("/job/{amount}")
async def job(request):
    order, pid = await gate.run_in_process(compute, Order(int(request.params["amount"])))
    return Response.json([order.amount, pid != os.getpid()])

@gate.route("/spin/{name}")
async def spinning(request):
    try:
        await gate.run_in_process(spin, request.params["name"], timeout=30)
    except Overloaded as error:
        return Response.text(str(error), 503)

@gate.route("/thread")
async def thread(request):
    return Response.text(await gate.run_in_thread(lambda: threading.current_thread().name))

async def wait(name):
    seen.set(name, "waits")
    try:
        await asyncio.sleep(60)
    finally:
        seen.set(name, "cancelled")

@gate.route("/tied/{name}")
async def tied(request):
    gate.spawn(wait(request.params["name"]), request=request)
    await asyncio.sleep(0)  # it begins
    if "hang" in request.params["name"]:
        await asyncio.sleep(60)
    return Response.text("responded")

@gate.route("/untied/{name}")
def untied(request):
    gate.spawn(wait(request.params["name"]))
    return Response.text("responded")

async def fails():
    raise OSError("nobody waits for this")

@gate.route("/fails")
def failing(request):
    gate.spawn(fails(), request=request)
    return Response.text("responded")
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(GATE, workers=2)


def seen(gateway: RunningGateway) -> dict[str, object]:
    told: dict[str, object] = gateway.get("/keys").json()
    return told


def test_timers_run_in_each_worker_or_in_one(gateway: RunningGateway) -> None:
    def counted(kind: str) -> list[object]:
        return [count for key, count in seen(gateway).items() if key.startswith(kind)]

    eventually(
        lambda: len(counted("each")) == 2 and counted("node"), "timers run in both workers and the node"
    )
    eventually(lambda: min(map(int, counted("each"))) > 5, "they go on")  # type: ignore[call-overload]
    assert len(counted("node")) == 1
    assert seen(gateway)["once"] == 2


def test_timers_of_the_node_go_on_when_their_worker_dies(serve: Serve) -> None:
    gateway = serve(GATE, workers=2)

    def by() -> set[int]:
        return {int(key.split()[1]) for key in seen(gateway) if key.startswith("node")}

    eventually(by, "they run in one worker")
    (first,) = by()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(by()) == 2, "they run in another one")


def test_jobs_know_the_users_file_and_its_dictionaries(gateway: RunningGateway) -> None:
    assert gateway.get("/job/21").json() == [42, True]
    assert seen(gateway)["computed"] == 1


def test_jobs_of_all_workers_share_their_bound(gateway: RunningGateway) -> None:
    with gateway.client(timeout=30) as client:
        client.send(b"GET /spin/first HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: "first" in seen(gateway), "it computes")
        for _ in range(8):  # whichever worker gets it
            response = gateway.get("/spin/refused")
            assert response.status == 503 and "max_waiting_jobs" in response.text
    process = int(str(seen(gateway)["first"]))
    eventually(lambda: not Path(f"/proc/{process}").exists(), "the job of a client that left is killed")
    assert gateway.counter("jobs_refused") >= 8
    assert gateway.get("/job/1").status == 200


def test_blocking_calls_run_in_threads(gateway: RunningGateway) -> None:
    assert gateway.get("/thread").text.startswith("headgate")


def test_a_tied_task_ends_with_its_request(gateway: RunningGateway) -> None:
    assert gateway.get("/tied/responded").text == "responded"
    eventually(lambda: seen(gateway).get("responded") == "cancelled", "it is cancelled after the response")
    with gateway.client() as client:
        client.send(b"GET /tied/hang HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: seen(gateway).get("hang") == "waits", "it has begun")
    eventually(lambda: seen(gateway)["hang"] == "cancelled", "it is cancelled when the client leaves")


def test_a_task_that_raises_is_logged_with_its_request(gateway: RunningGateway) -> None:
    assert gateway.get("/fails").text == "responded"
    gateway.wait_for_log("task failed task=fails request=[0-9a-f]")
    gateway.wait_for_log("OSError: nobody waits for this")
    assert gateway.counter("tasks_failed") == 1


def test_untied_tasks_are_cancelled_at_the_end(serve: Serve) -> None:
    gateway = serve(GATE, workers=1)
    assert gateway.get("/untied/left").text == "responded"
    eventually(lambda: seen(gateway).get("left") == "waits", "it runs after the response")
    gateway.write(GATE.replace('drain="20s"', 'drain="100ms"'))
    assert gateway.ask("reload")["ok"]
    assert seen(gateway)["left"] == "waits", "it may go on while the old worker drains"
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(20)
    assert "Task was destroyed" not in gateway.log()


def test_tasks_end_within_the_drain_limit(serve: Serve) -> None:
    gateway = serve(GATE.replace('drain="20s"', 'drain="200ms"'), workers=1)
    gateway.get("/untied/left")
    eventually(lambda: seen(gateway).get("left") == "waits", "it runs")
    gateway.write(GATE.replace('drain="20s"', 'drain="200ms"') + "# a change of code\n")
    assert gateway.ask("reload")["ok"]
    eventually(lambda: seen(gateway)["left"] == "cancelled", "it is cancelled at the drain limit")
    gateway.wait_for_log("drain timeout reached.*tasks=1")


def test_killed_worker_takes_its_job_processes_along(serve: Serve) -> None:
    gateway = serve(GATE, workers=1)
    with gateway.client() as client:
        client.send(b"GET /spin/lost HTTP/1.1\r\nHost: a\r\n\r\n")
        (worker,) = gateway.workers
        eventually(lambda: "lost" in seen(gateway), "it computes")
        process = int(str(seen(gateway)["lost"]))
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{process}").exists(), "its job process is gone")
    eventually(lambda: gateway.workers not in ([], [worker]), "it is replaced", within=20)
    assert gateway.get("/job/2").json() == [4, True]


SERVICES = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
cache = gate.redis(REDIS)
database = gate.postgres(POSTGRES, max_size=2)

@gate.startup
async def prepare():
    await cache.set("greeting", await database.fetchval("select 'hello'"))

@gate.shutdown
async def end():
    await cache.set("ended", "yes")

@gate.route("/")
async def both(request):
    return Response.json([(await cache.get("greeting")).decode(), await database.fetchval("select 6 * 7")])
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("services")
    with redis(folder) as redis_url, postgresql(folder) as postgres_url:
        yield {"REDIS": redis_url, "POSTGRES": postgres_url}


def test_services_are_open_from_startup_to_shutdown(serve: Serve, services: dict[str, str]) -> None:
    gateway = serve(SERVICES, names=services)
    assert gateway.get("/").json() == ["hello", 42]
    gateway.signal(signal.SIGQUIT)
    gateway.process.wait(20)
    assert "failed" not in gateway.log() and "cannot close" not in gateway.log()


def test_an_unreachable_service_stops_the_start_with_its_address(
    serve: Serve, services: dict[str, str]
) -> None:
    nowhere = f"redis://user:secret@127.0.0.1:{free_port()}"
    gateway = serve(SERVICES, names=services)
    gateway.names["REDIS"] = nowhere
    gateway.write(SERVICES)
    response = gateway.ask("reload")
    assert not response["ok"] and "Redis at `redis://user:***@127.0.0.1" in response["error"], response
    assert "secret" not in gateway.log()
    assert gateway.get("/").json() == ["hello", 42], "the old version goes on"
