"""`headgate proxy`: what it loads, and that its workers, which run without asyncio, do what all workers do."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, eventually
from e2e.kit.behaviours import gated
from e2e.kit.client import RawClient, format_request
from e2e.kit.gateway import group_members

Start = Callable[..., RunningGateway]

HEAVY = {
    "asyncio",
    "click",
    "concurrent",
    "dataclasses",
    "difflib",
    "email",
    "http",
    "inspect",
    "multiprocessing",
    "pathlib",
    "pydantic",
    "pydantic_core",
    "rich",
    "ssl",
    "subprocess",
    "typer",
    "urllib",
    "yaml",
}
"""What takes long to load, and is needed neither by the supervisor nor by a worker of `proxy`."""
OURS = {"headgate._tasks", "headgate.config.model", "headgate.gateway", "headgate.worker.loop"}
"""What the gateways of files need."""


@pytest.fixture
def start(tmp_path: Path, origin: Origin) -> Iterator[Start]:
    started: list[RunningGateway] = []

    def start(workers: int = 1, **environment: str) -> RunningGateway:
        gateway = RunningGateway(tmp_path, {}, workers=workers, environment=environment)
        gateway.command = ["proxy", gateway.address, "--to", origin.address, "--access-log", "json"]
        started.append(gateway)
        return gateway.start()

    yield start
    for gateway in started:
        gateway.stop()


def begin_slowly(client: RawClient, origin: Origin, path: str) -> threading.Event:
    """Asks for a path that the origin responds to only in part until the event is set."""
    gate = threading.Event()
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
    origin.on(path, gated(gate, head + b"slow ", b"done"))
    client.send(format_request("GET", path))
    assert client.read_until(b"slow ")
    return gate


def imported(log: str) -> set[str]:
    """The modules that a program told of which ran with `PYTHONPROFILEIMPORTTIME`."""
    return set(re.findall(r"^import time: .*\| +([\w.]+)$", log, re.M))


def test_nothing_heavy_is_loaded_before_the_first_response(start: Start, origin: Origin) -> None:
    # what the environment has Python load in any case is not ours
    command = [sys.executable, "-X", "importtime", "-c", ""]
    before = imported(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stderr)
    gateway = start(PYTHONPROFILEIMPORTTIME="1")
    assert gateway.get("/hello").status == 200
    origin.wait_for("/hello")
    loaded = imported(gateway.log()) - before
    assert {"headgate.supervisor.supervisor", "headgate.worker.controls"} <= loaded, (
        "both processes have told"
    )
    assert sorted(loaded & HEAVY) == []
    assert sorted(loaded & OURS) == []


def test_fast_stop_does_not_wait_for_requests(start: Start, origin: Origin) -> None:
    gateway = start()
    with gateway.client() as client:
        gate = begin_slowly(client, origin, "/cut-off")
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(timeout=15) == 0
        assert client.read_to_end() == b""
        assert gateway.access_record(target="/cut-off")["status"] == 200
    gate.set()


def test_graceful_stop_finishes_requests_in_flight(start: Start, origin: Origin) -> None:
    gateway = start()
    with gateway.client() as client, gateway.client() as idle:
        assert idle.get("/").status == 200
        gate = begin_slowly(client, origin, "/in-flight")
        gateway.signal(signal.SIGQUIT)
        assert idle.is_closed()
        gate.set()
        assert client.read_exactly(4) == b"done"
    assert gateway.process.wait(timeout=15) == 0


def test_reload_goes_into_the_workers_that_run(start: Start, origin: Origin) -> None:
    gateway = start(workers=2)
    old = gateway.workers
    with gateway.client() as client:
        gate = begin_slowly(client, origin, "/long")
        assert gateway.ask("reload")["in_place"]
        assert gateway.workers == old
        assert gateway.get("/after").status == 200
        gate.set()
        assert client.read_exactly(4) == b"done"
    eventually(lambda: len(gateway.ask()["workers"]) == 2, "the one that only loaded has ended")


def test_worker_ends_after_its_requests_when_the_supervisor_is_gone(start: Start, origin: Origin) -> None:
    gateway = start()
    with gateway.client() as client:
        gate = begin_slowly(client, origin, "/orphaned")
        gateway.signal(signal.SIGKILL)
        gateway.wait_for_log("the supervisor has exited: draining")
        gate.set()
        assert client.read_exactly(4) == b"done"
    eventually(lambda: not group_members(gateway.process.pid), "the worker has ended")


def test_worker_leaves_the_terminals_signals_to_the_supervisor(start: Start) -> None:
    gateway = start()
    (worker,) = gateway.workers
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        os.kill(worker, number)
    assert gateway.get("/still-there").status == 200
    assert gateway.workers == [worker]


def test_killed_worker_is_replaced(start: Start) -> None:
    gateway = start(workers=2)
    victim, other = gateway.workers
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(gateway.workers) == 2 and victim not in gateway.workers, "a new worker serves")
    assert other in gateway.workers
    assert gateway.get("/").status == 200


def test_status_tells_of_workers_and_counters(start: Start) -> None:
    gateway = start()
    with gateway.client() as client:
        assert client.get("/").status == 200
        told = gateway.ask()
        (worker,) = told["workers"]
        assert worker["connections"] == 1 and worker["rss_bytes"] > 1_000_000 and worker["cpu_s"] >= 0
        assert told["counters"]["requests"] >= 1
    assert gateway.ask("hooks") == {"ok": True, "hooks": []}
    assert gateway.ask("reopen-logs")["ok"]


def test_there_is_no_code_to_inspect(start: Start) -> None:
    gateway = start()
    result = gateway.cli("inspect", "gate.py:1")
    assert result.returncode == 1
    assert "runs no Python code" in result.stderr
