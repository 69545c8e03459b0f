"""Real Redis servers of the end-to-end tests: single ones that restart, clusters, primaries watched by Sentinels."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from .net import eventually, free_port


class Server:
    """A redis-server that can be stopped and started again on its port."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir(parents=True)
        found = shutil.which("redis-server")
        assert found, "no redis-server here; hint: `make services` installs what the tests talk to"
        self._command = [found, *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, tls: bool = False) -> "Server":
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        eventually(self._accepts, lambda: (self.folder / "log").read_text(errors="replace"), within=40)
        return self

    def _accepts(self) -> bool:
        assert self.process and self.process.poll() is None
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(timeout=20)
            self.process = None

    def client(self) -> "redis.Redis[str]":
        return redis.Redis(port=self.port, decode_responses=True)


Start = Callable[..., Server]


@contextlib.contextmanager
def redis_servers(folder: Path) -> Iterator[Start]:
    """Starts servers in a folder, and stops them at the end."""
    servers: list[Server] = []

    def start(*arguments: str, port: int | None = None, listens: bool = True) -> Server:
        server = Server(folder, port=port)
        plain = ["--port", str(server.port)] if listens else []
        usual = ["--bind", "127.0.0.1", "--save", "", "--dir", str(server.folder)]
        server._command += [*arguments, *plain, *usual]
        servers.append(server)
        return server.start()

    try:
        yield start
    finally:
        for server in servers:
            server.stop()


def cluster(start: Start) -> list[Server]:
    """Three nodes that serve all slots together, also when one of them is gone."""
    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    nodes = [start(*options, "--cluster-port", str(free_port())) for _ in range(3)]
    addresses = [f"127.0.0.1:{node.port}" for node in nodes]
    created = subprocess.run(
        ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], capture_output=True, timeout=120
    )
    assert created.returncode == 0, created.stdout

    def is_up(node: Server) -> bool:
        with node.client() as client:
            return "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))

    eventually(lambda: all(map(is_up, nodes)), "the cluster is up", within=60)
    return nodes


def sentinels(start: Start, primary: Server, folder: Path, *, down_after_ms: int) -> list[Server]:
    """Three Sentinels that watch a primary and its replicas as `main`; two of them agree on a failover."""
    watching = []
    for number in range(3):
        file = folder / f"sentinel-{number}.conf"
        file.write_text(
            f"sentinel monitor main 127.0.0.1 {primary.port} 2\n"
            f"sentinel down-after-milliseconds main {down_after_ms}\nsentinel failover-timeout main 5000\n"
        )
        watching.append(start(str(file), "--sentinel"))

    def knows_all(sentinel: Server) -> bool:
        with sentinel.client() as client:
            (known,) = client.sentinel_masters().values()
            return bool(known["num-other-sentinels"] == 2 and known["num-slaves"] == 1)

    for sentinel in watching:
        eventually(lambda one=sentinel: knows_all(one), "the Sentinels know each other", within=60)
    return watching
