"""Servers beyond a real network, in namespaces of their own: its link goes down without a word, and comes back.

With `tc netem` (module sch_netem) it is slow and lossy as well; where the system has it not, see `test_toxic_network`.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.metrics import scrape

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="namespaces need root and `ip`"
    ),
]

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0"))) or sys.argv[1].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass

ThreadingHTTPServer((sys.argv[1], 9000), Handler).serve_forever()
"""


class Island:
    """A namespace with a server, and one link to it."""

    def __init__(self, number: int, folder: Path) -> None:
        mark = f"hgi{os.getpid() % 100000}{number}"
        self.name, self.link = mark, f"{mark}v"
        self.here, self.there = f"10.97.{number}.1", f"10.97.{number}.2"
        self.address = f"{self.there}:9000"
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Island":
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth", "netns", self.name)
            run("ip", "address", "add", f"{self.here}/24", "dev", self.link)
            run("ip", "link", "set", self.link, "up")
            self.inside("address", "add", f"{self.there}/24", "dev", "eth")
            self.inside("link", "set", "eth", "up")
            words = ["ip", "netns", "exec", self.name, sys.executable, "-c", SERVER, self.there]
            self._server = subprocess.Popen(words, cwd=self._folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.terminate()
            self._server.wait(timeout=10)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
        subprocess.run(["ip", "link", "del", self.link], capture_output=True)

    def inside(self, *words: str) -> None:
        """`ip` in the namespace."""
        run("ip", "-n", self.name, *words)

    def cut_off(self) -> None:
        """What is sent there is lost, and nobody is told."""
        self.inside("link", "set", "eth", "down")

    def mend(self) -> None:
        """It is there again."""
        self.inside("link", "set", "eth", "up")

    def is_slow(self) -> bool:
        """Makes it slow and lossy; false where the system cannot."""
        words = ["ip", "netns", "exec", self.name, "tc", "qdisc", "add", "dev", "eth", "root"]
        netem = ["netem", "delay", "40ms", "20ms", "loss", "3%", "reorder", "10%"]
        return subprocess.run([*words, *netem], capture_output=True).returncode == 0


def run(*words: str) -> None:
    """Fails with what the command says."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def islands(tmp_path: Path) -> Iterator[list[Island]]:
    with contextlib.ExitStack() as stack:
        try:
            made = [stack.enter_context(Island(number, tmp_path)) for number in (1, 2)]
        except OSError as error:
            pytest.skip(f"no namespaces here: {error}")
        yield made


RETRIES = {"attempts": 1, "attempt_timeout": "500ms"}
HEALTH = {"path": "/healthz", "interval": "300ms", "timeout": "200ms", "rise": 2, "fall": 2}


def before(serve: Serve, islands: list[Island], metrics: str, **upstream: object) -> RunningGateway:
    servers = [f"{one.address} max_fails=0" for one in islands]
    gateway = serve(
        {
            "upstreams": {"u": {"servers": servers, "retries": RETRIES, **upstream}},
            "routes": [{"to": "u"}],
            "metrics": {"listen": metrics},
            "timeouts": {"connect": "500ms", "upstream_head": "2s"},
        }
    )
    eventually(lambda: set(asked(gateway, "/start", 8)) == {200}, "both serve", within=30)
    return gateway


def asked(gateway: RunningGateway, target: str, count: int, method: str = "GET") -> Counter[int]:
    with RawClient(gateway.address, timeout=30) as client:
        return Counter(client.request(method, target).status for _ in range(count))


def state(gateway: RunningGateway, metrics: str, island: Island) -> float:
    return scrape(gateway, metrics).value("headgate_upstream_server_up", server=island.address)


def checks(gateway: RunningGateway, metrics: str, island: Island, outcome: str) -> float:
    labels = {"upstream": "u", "server": island.address, "outcome": outcome}
    return scrape(gateway, metrics).value("headgate_health_checks_total", **labels)


def test_partition_fails_no_idempotent_request_and_recovery_takes_as_many_checks_as_are_set(
    serve: Serve, islands: list[Island]
) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = before(serve, islands, metrics, health=HEALTH)
    lost, other = islands
    eventually(lambda: checks(gateway, metrics, lost, "passed") >= 2, "it is checked")
    lost.cut_off()
    assert asked(gateway, "/during", 20) == {200: 20}
    eventually(lambda: state(gateway, metrics, lost) == 0, "it is noticed", within=20)
    assert state(gateway, metrics, other) == 1
    passed = checks(gateway, metrics, lost, "passed")
    assert asked(gateway, "/without", 10) == {200: 10}
    lost.mend()
    eventually(lambda: state(gateway, metrics, lost) == 1, "it is used again", within=20)
    # the page is at most a second old: a few more may have passed since
    taken = checks(gateway, metrics, lost, "passed") - passed
    assert 2 <= taken <= 2 + 5, taken


def test_partition_of_all_servers_is_one_name_for_each_request(serve: Serve, islands: list[Island]) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = before(serve, islands, metrics)
    for one in islands:
        one.cut_off()
    statuses = asked(gateway, "/nobody", 4)
    assert statuses.total() == 4 and set(statuses) <= {502, 504}

    def failures() -> Counter[str]:
        found = scrape(gateway, metrics).all("headgate_failures_total")
        return Counter(
            {one.labels["kind"]: int(one.value) for one in found if one.labels["source"] == "upstream"}
        )

    eventually(lambda: failures().total() == 4, lambda: f"each is counted once: {failures()}")
    for one in islands:
        one.mend()
    eventually(lambda: asked(gateway, "/again", 4) == {200: 4}, "they serve again", within=20)


def test_slow_and_lossy_network_changes_no_byte(serve: Serve, islands: list[Island]) -> None:
    metrics, body = f"127.0.0.1:{free_port()}", os.urandom(300_000)
    gateway = before(serve, islands, metrics, retries=0, timeouts={"connect": "10s", "upstream_head": "20s"})
    if not all(one.is_slow() for one in islands):
        pytest.skip("no `tc netem` here")
    with RawClient(gateway.address, timeout=60) as client:
        for _ in range(4):
            assert client.request("POST", "/echo", body=body).body == body
