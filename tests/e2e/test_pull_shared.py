"""Idle workers that two gateways share through a list in a real Redis: none is given twice, and nothing is lost."""

import contextlib
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.cuttable import CuttableProxy
from e2e.kit.metrics import scrape
from e2e.kit.pull import TOKEN, PullWorker, figures
from e2e.kit.services import redis

from headgate.pull.announcing import Shared

LEASE_S = 1.0
HANDLERS = """
import os, time
from headgate import Response
from headgate.pull import Job

def note(text: str) -> None:
    with open("jobs.log", "a") as log:
        log.write(f"{os.getpid()} {text}\\n")

def serve(job: Job) -> Response:
    note(f"begins {job.target}")
    while (wait := job.query.get("wait")) and not os.path.exists(wait):
        time.sleep(0.01)
    time.sleep(0.02)
    note(f"ends {job.target}")
    return Response(200, job.body or str(os.getpid()))
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis(folder) as made:
        yield made


def gated(serve: Serve, url: str, **more: Any) -> RunningGateway:
    shared = {"redis": url, "list": "jobs", "lease": LEASE_S}
    pull = {"tokens": TOKEN, "status_path": "/_queue", "shared": shared, "wait": 20, **more.pop("pull", {})}
    upstream = {"balance": "pull", "pull": pull, **more.pop("upstream", {})}
    gateway = serve({"upstreams": {"jobs": upstream}, "routes": [{"path": "/*", "to": "jobs"}], **more})
    eventually(lambda: gateway.get("/_queue").status == 200, "the dispatcher listens")
    return gateway


class SharedWorker(PullWorker):
    """A worker of all `gateways`, started in the folder of the first."""

    handlers = HANDLERS

    def __init__(self, url: str, *gateways: RunningGateway) -> None:
        self._count = len(gateways)
        words = [word for one in gateways[1:] for word in ("--to", f"http://{one.address}/_workers")]
        more = ("--redis", url, "--list", "jobs", "--lease", str(LEASE_S))
        super().__init__(gateways[0], *words, *more)

    def __enter__(self) -> "SharedWorker":
        try:
            self.wait_connected(self._count)
        except BaseException:
            self.stop()
            raise
        return self


class Asking:
    """Requests in threads, and their statuses."""

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self._threads: list[threading.Thread] = []

    def ask(self, gateway: RunningGateway, target: str, method: str = "GET") -> None:
        def run() -> None:
            body = b"x" if method == "POST" else b""
            response = gateway.post(target, body, timeout=40) if body else gateway.get(target, timeout=40)
            self.statuses[target] = response.status

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def all(self) -> dict[str, int]:
        """Waits for them."""
        for thread in self._threads:
            thread.join(60)
        return self.statuses


def noted(gateway: RunningGateway) -> list[tuple[str, str, str]]:
    """What workers have noted: process, `begins` or `ends`, target."""
    file = gateway.folder / "jobs.log"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(words[0], words[1], words[2]) for words in (line.split() for line in lines)]


def begun(gateway: RunningGateway) -> Counter[str]:
    return Counter(target for _, what, target in noted(gateway) if what == "begins")


def pid_of(gateway: RunningGateway, target: str) -> int:
    return next(int(pid) for pid, what, name in noted(gateway) if what == "begins" and name == target)


def test_each_worker_has_one_request_at_a_time_of_all_gateways_together(serve: Serve, url: str) -> None:
    first, second = gated(serve, url), gated(serve, url)
    asking = Asking()
    with SharedWorker(url, first, second), SharedWorker(url, first, second):
        for number in range(30):
            asking.ask(first, f"/a{number}")
            asking.ask(second, f"/b{number}", "POST")
        assert set(asking.all().values()) == {200}
    at_work: set[str] = set()
    for pid, what, _ in noted(first):
        assert (pid in at_work) == (what == "ends"), noted(first)
        (at_work.add if what == "begins" else at_work.discard)(pid)
    assert set(begun(first).values()) == {1} and len(begun(first)) == 60
    assert len({pid for pid, _, _ in noted(first)}) == 2


def test_killed_workers_lose_no_idempotent_request_and_no_other_runs_twice(serve: Serve, url: str) -> None:
    first, second = gated(serve, url), gated(serve, url)
    asking = Asking()
    with contextlib.ExitStack() as stack:
        doomed = [stack.enter_context(SharedWorker(url, first, second)) for _ in range(2)]
        asking.ask(first, "/a?wait=never")
        asking.ask(second, "/b?wait=never", "POST")
        eventually(lambda: len(begun(first)) == 2, "both have begun")
        for number in range(10):
            asking.ask(first, f"/more{number}", "POST")
        eventually(lambda: figures(first)["waiting"] == 10, "they wait")
        for target in ("/a?wait=never", "/b?wait=never"):
            os.kill(pid_of(first, target), signal.SIGKILL)
        (first.folder / "never").touch()
        for one in doomed:
            one.process.wait(timeout=10)
        stack.enter_context(SharedWorker(url, first, second))
        statuses = asking.all()
    assert statuses.pop("/b?wait=never") == 502
    assert set(statuses.values()) == {200} and len(statuses) == 11
    counts = begun(first)
    assert counts.pop("/a?wait=never") == 2
    assert set(counts.values()) == {1}


def test_at_least_once_is_only_where_it_is_asked_for(serve: Serve, url: str) -> None:
    gateway = gated(serve, url, pull={"at_least_once": True})
    asking = Asking()
    with SharedWorker(url, gateway) as doomed, SharedWorker(url, gateway):
        asking.ask(gateway, "/x?wait=go", "POST")
        eventually(lambda: len(begun(gateway)) == 1, "it has begun")
        os.kill(pid_of(gateway, "/x?wait=go"), signal.SIGKILL)
        (gateway.folder / "go").touch()
        assert asking.all() == {"/x?wait=go": 200}
    assert begun(gateway)["/x?wait=go"] == 2
    assert doomed is not None


def test_announcements_that_a_dead_gateway_has_taken_are_used_by_the_other(serve: Serve, url: str) -> None:
    first = gated(serve, url)
    with CuttableProxy(("127.0.0.1", int(url.rpartition(":")[2]))) as network:
        cut_off = gated(serve, f"redis://127.0.0.1:{network.port}")
        asking = Asking()
        asking.ask(cut_off, "/never", "POST")
        eventually(lambda: figures(cut_off)["waiting"] == 1, "it takes what comes")
        network.swallow()  # Redis writes announcements to a socket that nobody reads any more
        with SharedWorker(url, first, cut_off):
            for number in range(10):
                asking.ask(first, f"/x{number}")
            eventually(lambda: sum(begun(first).values()) >= 10, "all are served", within=30)
            network.drop()
            statuses = asking.all()
        assert set(statuses.values()) == {200}


def test_gateway_that_is_killed_keeps_no_worker_from_the_other(serve: Serve, url: str) -> None:
    first, killed = gated(serve, url), gated(serve, url)
    asking = Asking()
    with SharedWorker(url, first, killed):
        asking.ask(first, "/long?wait=go")
        eventually(lambda: len(begun(first)) == 1, "it has begun")
        for number in range(5):
            threading.Thread(target=quietly, args=(killed, f"/lost{number}"), daemon=True).start()
        eventually(lambda: figures(killed)["waiting"] == 5, "they wait")
        killed.kill()
        (first.folder / "go").touch()
        for number in range(5):
            asking.ask(first, f"/x{number}", "POST")
        assert set(asking.all().values()) == {200}
        assert max(begun(first).values()) == 1


def quietly(gateway: RunningGateway, target: str) -> None:
    """A request whose gateway is killed."""
    with contextlib.suppress(OSError, ValueError, AssertionError):
        gateway.get(target, timeout=40)


def test_announcement_of_a_worker_that_is_gone_is_noticed_and_counted(serve: Serve, url: str) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = gated(serve, url, metrics={"listen": metrics})
    with SharedWorker(url, gateway) as lost:
        eventually(lambda: figures(gateway)["idle"] == 1, "it is announced")
        lost.signal(signal.SIGKILL)
        lost.process.wait(timeout=10)
    asking = Asking()
    asking.ask(gateway, "/x", "POST")

    def counted(outcome: str) -> float:
        page = scrape(gateway, metrics)
        return page.value("headgate_pull_announcements_total", upstream="jobs", outcome=outcome)

    eventually(lambda: counted("lost") == 1, "it is noticed", within=20)
    with SharedWorker(url, gateway):
        assert asking.all() == {"/x": 200}
    eventually(lambda: counted("used") >= 1, "it is counted", within=20)


def test_what_others_put_into_the_list_does_not_stop_the_workers(serve: Serve, url: str) -> None:
    gateway = gated(serve, url)
    program = ["redis-cli", "-u", url, "RPUSH", Shared(url, "jobs").idle]
    for text in ("no text", "", "a worker 1"):
        subprocess.run([*program, text], check=True, capture_output=True)
    subprocess.run(["redis-cli", "-u", url, "-x", *program[3:]], input=b"\xff\xfe 1", check=True)
    with SharedWorker(url, gateway):
        for number in range(3):
            assert gateway.get(f"/{number}", timeout=40).status == 200
    gateway.wait_for_log("worker \\\\udcff\\\\udcfe has announced itself and is gone")


def test_redis_that_has_forgotten_all_is_told_again(serve: Serve, url: str) -> None:
    gateway = gated(serve, url)
    with SharedWorker(url, gateway):
        assert gateway.get("/before", timeout=40).status == 200
        program = ["redis-cli", "-u", url]
        subprocess.run([*program, "FLUSHALL"], check=True, capture_output=True)
        subprocess.run([*program, "CLIENT", "KILL", "TYPE", "normal"], check=False, capture_output=True)
        assert gateway.get("/after", timeout=40).status == 200


def test_redis_that_is_away_is_a_long_wait_with_a_name(serve: Serve, tmp_path: Path) -> None:
    gateway = gated(
        serve, f"redis://127.0.0.1:{free_port()}", pull={"wait": 1}, access_log={"format": "json"}
    )
    assert gateway.get("/x").status == 503
    assert gateway.access_record(target="/x")["error"] == "pull_wait_timeout"
    gateway.wait_for_log("Redis gives no announcements")


def test_stop_serves_what_waits_and_shared_workers_do_not_hold_it_up(serve: Serve, url: str) -> None:
    first, stopping = gated(serve, url), gated(serve, url)
    asking = Asking()
    with SharedWorker(url, first, stopping):
        asking.ask(stopping, "/a?wait=go")
        eventually(lambda: len(begun(first)) == 1, "it has begun")
        asking.ask(stopping, "/b", "POST")
        eventually(lambda: figures(stopping)["waiting"] == 1, "the other waits")
        stopping.signal(signal.SIGQUIT)
        (first.folder / "go").touch()
        assert asking.all() == {"/a?wait=go": 200, "/b": 200}
        stopping.process.wait(timeout=20)
        assert first.get("/still", timeout=40).status == 200


def test_worker_that_stops_loses_nothing(serve: Serve, url: str) -> None:
    first, second = gated(serve, url), gated(serve, url)
    asking = Asking()
    with SharedWorker(url, first, second), SharedWorker(url, first, second) as leaving:
        for number in range(20):
            asking.ask(first, f"/a{number}", "POST")
            asking.ask(second, f"/b{number}", "POST")
        eventually(lambda: len(begun(first)) > 3, "some have begun")
        leaving.stop()
        assert leaving.process.returncode == 0
        assert set(asking.all().values()) == {200}
    assert set(begun(first).values()) == {1} and len(begun(first)) == 40
