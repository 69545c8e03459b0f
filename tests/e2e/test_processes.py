"""Processes: signals, restarts, the pid file, the upgrade."""

import os
import pwd
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.client import format_request
from e2e.kit.gateway import group_members

SLOW = """
import asyncio, os
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.timeouts(drain=DRAIN)

@gate.shutdown
def bye():
    print("shutdown hook ran", flush=True)

@gate.route("/slow/{ms}")
async def slow(request):
    await asyncio.sleep(int(request.params["ms"]) / 1000)
    return Response(200, "slow but done")

@gate.route("/pid")
def pid(request):
    return Response(200, str(os.getpid()))
"""


def slow_gateway(serve: Serve, drain: str = "20s", workers: int = 1, **options: Any) -> RunningGateway:
    return serve(SLOW, names={"DRAIN": drain}, workers=workers, **options)


def ended(gateway: RunningGateway, within: float = 15) -> int:
    return gateway.process.wait(timeout=within)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fast_stop_does_not_wait_for_requests(serve: Serve, number: signal.Signals) -> None:
    gateway = slow_gateway(serve)
    with gateway.client() as client:
        client.send(format_request("GET", "/slow/60000"))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        started = time.monotonic()
        gateway.signal(number)
        assert ended(gateway) == 0
        assert time.monotonic() - started < 8
        response = client.response()
        assert (response.status, response.get("retry-after"), response.get("connection")) == (
            503,
            "1",
            "close",
        )
    assert "shutdown hook ran" in gateway.output()


def test_graceful_stop_finishes_requests_in_flight(serve: Serve) -> None:
    gateway = slow_gateway(serve)
    with gateway.client() as client, gateway.client() as idle:
        assert idle.get("/pid").status == 200
        client.send(format_request("GET", "/slow/1000"))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        gateway.signal(signal.SIGQUIT)
        assert idle.is_closed()
        response = client.response()
        assert (response.text, response.get("connection")) == ("slow but done", "close")
        assert client.is_closed()
    assert ended(gateway) == 0
    assert "shutdown hook ran" in gateway.output()


def test_graceful_stop_ends_at_the_drain_limit(serve: Serve) -> None:
    gateway = slow_gateway(serve, drain="300ms")
    with gateway.client() as client:
        client.send(format_request("GET", "/slow/60000"))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        gateway.signal(signal.SIGQUIT)
        assert ended(gateway) == 0


def test_listener_is_closed_while_draining(serve: Serve) -> None:
    gateway = slow_gateway(serve)
    with gateway.client() as client:
        client.send(format_request("GET", "/slow/1500"))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        gateway.signal(signal.SIGQUIT)

        def is_refused() -> bool:
            try:
                with gateway.client(timeout=1) as other:
                    return other.is_closed(within=0.2)
            except OSError:
                return True

        eventually(is_refused, "nobody is let in any more", within=1.4)
        assert client.response().text == "slow but done"


def test_killed_worker_is_replaced_and_others_serve_on(serve: Serve) -> None:
    gateway = slow_gateway(serve, workers=2)
    first = gateway.workers
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    eventually(
        lambda: len(set(gateway.workers) - set(first)) == 1 and len(gateway.workers) == 2,
        "a new worker serves",
    )
    assert first[1] in gateway.workers
    for _ in range(10):
        assert gateway.get("/pid").status == 200
    gateway.wait_for_log("worker exited: killed by signal 9")


def test_worker_that_keeps_dying_is_restarted_with_back_off(serve: Serve) -> None:
    gateway = slow_gateway(serve)
    for round_ in range(3):
        (pid,) = eventually(lambda: gateway.workers, "a worker serves")
        os.kill(pid, signal.SIGKILL)
        gateway.wait_for_log(f"exits={round_ + 1}")
    gateway.wait_ready()
    delays = [
        float(line.split("restart_in_s=")[1].split()[0])
        for line in gateway.log().splitlines()
        if "restart_in_s=" in line
    ]
    assert delays == sorted(delays)
    assert delays[-1] > delays[0]


def test_share_of_a_killed_worker_vanishes_from_the_counts(serve: Serve, origin: Origin) -> None:
    source = {"upstreams": {"u": {"servers": origin.address}}, "routes": [{"to": "u"}]}
    gateway = serve(source, workers=2)
    origin.on("/hold", lambda call: call.hang())
    clients = [gateway.client() for _ in range(8)]
    for client in clients:
        client.send(format_request("GET", "/hold"))
    eventually(lambda: gateway.counter("requests_active") == 8, "all are held")
    for pid in gateway.workers:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: gateway.counter("requests_active") == 0, "their share is gone")
    eventually(lambda: gateway.counter("connections_active") == 0, "their share is gone")
    for client in clients:
        client.close()


def test_supervisor_that_is_killed_takes_its_workers_with_it(serve: Serve) -> None:
    gateway = slow_gateway(serve)
    assert gateway.workers
    os.kill(gateway.process.pid, signal.SIGKILL)
    ended(gateway)
    eventually(lambda: not group_members(gateway.process.pid), "no worker is left alone", within=10)


def test_workers_share_the_load(serve: Serve) -> None:
    gateway = slow_gateway(serve, workers=2)
    pids = {gateway.get("/pid").text for _ in range(60)}
    assert pids == {str(pid) for pid in gateway.workers}


def test_pid_file_names_the_supervisor_and_is_removed(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "gate.pid"
    gateway = slow_gateway(serve, arguments=["--pid-file", str(file)])
    assert file.read_text() == f"{gateway.process.pid}\n"
    gateway.stop()
    assert not file.exists()


def test_upgrade_hands_the_listener_over_without_a_gap(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "gate.pid"
    gateway = slow_gateway(serve, arguments=["--pid-file", str(file)])
    old = gateway.process.pid
    with gateway.client() as client:
        client.send(format_request("GET", "/slow/1500"))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        gateway.signal(signal.SIGUSR2)

        def has_successor() -> bool:
            assert gateway.get("/pid").status == 200
            return file.read_text().strip() not in ("", str(old))

        eventually(has_successor, "a new supervisor has written the pid file", within=30)
        assert client.response().text == "slow but done"
    assert ended(gateway) == 0
    new = int(file.read_text())
    assert gateway.get("/pid").status == 200
    os.kill(new, signal.SIGTERM)
    eventually(lambda: not group_members(old), "the successor has ended", within=10)


def test_upgrade_that_fails_leaves_the_old_program(serve: Serve) -> None:
    gateway = slow_gateway(serve)
    gateway.write("this is no Python")
    gateway.signal(signal.SIGUSR2)
    gateway.wait_for_log("upgrade failed", within=30)
    assert gateway.get("/pid").status == 200


def test_systemd_is_told_when_the_gateway_is_ready(serve: Serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(20)
        gateway = slow_gateway(serve, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert b"READY=1" in notified.recv(4096)
        gateway.stop()
        messages = notified.recv(4096)
        assert b"STOPPING=1" in messages


def is_open_to_others(folder: Path) -> bool:
    """Whether every user may enter a folder."""
    return all(one.stat().st_mode & 0o001 for one in (folder, *folder.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_workers_run_as_the_user_that_is_named() -> None:
    if not is_open_to_others(Path(sys.base_prefix).resolve()):
        pytest.skip(f"`nobody` may not read this interpreter in {sys.base_prefix}")
    # pytest's folders are closed to others, and a worker must be able to read its file.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        gateway = RunningGateway(Path(folder), SLOW, names={"DRAIN": "1s"}, arguments=["--user", "nobody"])
        try:
            gateway.start()
            (pid,) = gateway.workers
            assert os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam("nobody").pw_uid
            assert os.stat(f"/proc/{gateway.process.pid}").st_uid == 0
        finally:
            gateway.stop()
