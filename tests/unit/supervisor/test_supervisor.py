"""The supervisor with real workers: what operators do to it, and what happens to its processes."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headgate.control import runtime
from headgate.control.client import Client
from headgate.control.commands import Status

GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen("unix:{socket}")
gate.timeouts(drain="20s")
gate.route("/", respond="{response}")
"""


def eventually(holds: Callable[[], Any], within_s: float = 20.0) -> Any:
    """The first true value of `holds()`."""
    ends = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.01)
    return value


class Gate:
    """A gateway started from a file in `folder`, listening on a Unix socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "gate.sock"
        self.file, self.log = folder / "gate.py", folder / "log"
        self.environment = os.environ | {"HEADGATE_RUNTIME_DIR": str(folder / "run")}
        self.write()

    def write(self, response: str = "one", more: str = "") -> None:
        self.file.write_text(GATE.format(socket=self.socket, response=response) + more)

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "headgate", "run", str(self.file), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        eventually(lambda: runtime.running() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headgate", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("gate", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(str(self.socket))
        return connection

    def ask(self) -> str:
        connection = self.connect()
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def status(self) -> Status:
        return Client.find().status()

    def workers(self, phase: str = "ready") -> list[int]:
        return [worker.pid for worker in self.status().workers if worker.state == phase]

    def end(self) -> None:
        for pid in runtime.running():
            os.kill(pid, signal.SIGTERM)
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        eventually(lambda: not runtime.running())


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("HEADGATE_RUNTIME_DIR", str(tmp_path / "run"))
    gate = Gate(tmp_path)
    yield gate
    if hasattr(gate, "process"):
        gate.end()


def test_it_serves_and_stops_without_leftovers(gate: Gate) -> None:
    pid_file = gate.folder / "pid"
    gate.start("--workers", "2", "--pid-file", str(pid_file))
    assert gate.ask() == "one"
    assert pid_file.read_text() == f"{gate.process.pid}\n"
    workers = gate.workers()
    assert len(workers) == 2
    assert gate.command("stop").returncode == 0
    assert gate.process.wait(20) == 0
    assert not pid_file.exists() and not gate.socket.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_reload_brings_new_code_in_new_workers(gate: Gate) -> None:
    gate.start("--workers", "2")
    old = gate.workers()
    gate.write(response="two")
    assert gate.command("reload").returncode == 0
    assert gate.ask() == "two"
    assert not set(gate.workers()) & set(old)
    eventually(lambda: len(gate.status().workers) == 2)


def test_version_that_does_not_load_never_replaces_the_old_one(gate: Gate) -> None:
    gate.start("--workers", "1")
    old = gate.workers()
    gate.write(more="gate.listne(':1')\n")
    result = gate.command("reload")
    assert result.returncode == 1
    assert f"{gate.file}:7: " in result.stderr and "hint: did you mean `listen`?" in result.stderr
    assert gate.ask() == "one" and gate.workers() == old
    reload = gate.status().last_reload
    assert reload is not None and reload.error is not None and "listne" in reload.error


def test_version_whose_startup_fails_never_replaces_the_old_one(gate: Gate) -> None:
    gate.start("--workers", "1")
    gate.write(response="two", more="@gate.startup\nasync def pools():\n    raise OSError('no database')\n")
    result = gate.command("reload")
    assert result.returncode == 1 and "startup hook" in result.stderr and "no database" in result.stderr
    assert gate.ask() == "one"


def test_killed_worker_is_replaced(gate: Gate) -> None:
    gate.start("--workers", "2")
    (victim, *_) = gate.workers()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(gate.workers()) == 2 and victim not in gate.workers())
    assert gate.ask() == "one"
    assert "worker exited: killed by signal 9" in gate.log.read_text()


def test_request_in_flight_ends_before_the_old_worker_does(gate: Gate) -> None:
    slow = "import asyncio\n@gate.request\nasync def wait(request):\n    await asyncio.sleep(1)\n"
    gate.write(more=slow)
    gate.start("--workers", "1")
    connection = gate.connect()
    connection.request("GET", "/")
    eventually(lambda: any(worker.connections for worker in gate.status().workers))
    gate.write(response="two", more=slow)
    assert gate.command("reload").returncode == 0
    assert connection.getresponse().read() == b"one"
    connection.close()
    eventually(lambda: len(gate.status().workers) == 1)


def test_upgrade_hands_the_listeners_to_a_new_program(gate: Gate) -> None:
    gate.start("--workers", "1")
    inode = gate.socket.stat().st_ino
    gate.write(response="two")
    result = gate.command("upgrade")
    assert result.returncode == 0, result.stderr
    assert gate.process.wait(20) == 0
    assert Client.find().pid != gate.process.pid
    assert gate.ask() == "two" and gate.socket.stat().st_ino == inode


def test_upgrade_to_a_program_that_fails_changes_nothing(gate: Gate) -> None:
    gate.start("--workers", "1")
    gate.write(more="1 / 0\n")
    result = gate.command("upgrade")
    assert result.returncode == 1 and "before it served" in result.stderr
    assert Client.find().pid == gate.process.pid and gate.ask() == "one"


def test_workers_leave_when_the_supervisor_is_killed(gate: Gate) -> None:
    gate.start("--workers", "2")
    workers = gate.workers()
    gate.process.kill()
    gate.process.wait(20)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_second_signal_does_not_wait_for_the_drain(gate: Gate) -> None:
    gate.write(more="import asyncio\n@gate.request\nasync def wait(request):\n    await asyncio.sleep(60)\n")
    gate.start("--workers", "1")
    connection = gate.connect()
    connection.request("GET", "/")
    eventually(lambda: any(worker.connections for worker in gate.status().workers))
    gate.process.send_signal(signal.SIGQUIT)
    eventually(lambda: gate.status().stopping)
    started = time.monotonic()
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(20) == 0
    assert time.monotonic() - started < 5
    connection.close()


def test_hooks_start_up_and_shut_down_once_in_each_worker(gate: Gate) -> None:
    gate.write(
        more="import os\n@gate.startup\nasync def up():\n    os.write(1, f'up {os.getpid()}\\n'.encode())\n"
        "@gate.shutdown\ndef down():\n    os.write(1, f'down {os.getpid()}\\n'.encode())\n"
    )
    gate.start("--workers", "2")
    workers = gate.workers()
    gate.command("stop")
    gate.process.wait(20)
    lines = gate.log.read_text().splitlines()
    said = [line for line in lines if line.startswith(("up", "down"))]
    assert sorted(said) == sorted(f"{word} {pid}" for word in ("up", "down") for pid in workers)


def test_configuration_that_is_wrong_at_the_start_ends_with_2(gate: Gate) -> None:
    gate.write(more="gate.listne(':1')\n")
    result = gate.command("run", str(gate.file))
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {gate.file}:7: ")


def test_address_in_use_ends_with_1(gate: Gate) -> None:
    gate.start("--workers", "1")
    result = gate.command("run", str(gate.file))
    assert result.returncode == 1
    assert "address already in use" in result.stderr
