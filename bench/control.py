"""Admin write to effect: how long a PUT takes until every worker serves the change, with few routes and with many.

    python bench/control.py [--stores SQLite etcd ...] [--routes 0 10000] [--writes 200] [--workers 2]

Each write changes one route; the response comes when every worker has applied it, which kept connections to the
gateway then confirm. Times are those of the whole request, on one connection to a Unix socket. On a machine that does
other things too, the processors' time that the gateway's processes take for a write says more than the clock does.
The servers run beside it on the same disk, and wait for it at every write (`fsync`). *Store alone* is how long the same
write takes with nothing but the store, in the same run, after the gateway has stopped: no gateway can be faster.
"""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from e2e.kit.services import EtcdServer, PostgresServer, RedisServer  # noqa: E402
from options import parsed_options  # noqa: E402

from headgate.stores import Key, Resource, Transaction, Write, open_store  # noqa: E402

HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
CONNECTIONS = 8
STORES: dict[str, tuple[Any, str]] = {
    "files": (None, "files:{folder}/conf.d"),
    "SQLite": (None, "sqlite://{folder}/state/config.db"),
    "Redis": (RedisServer, "redis://127.0.0.1:{port}/0"),
    "etcd": (EtcdServer, "etcd://127.0.0.1:{port}/headgate"),
    "PostgreSQL": (
        lambda folder: PostgresServer(folder, is_durable=True),
        "postgresql://gate@127.0.0.1:{port}/postgres",
    ),
}


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self) -> None:
        """Connects to the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


def ask(line: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Status and body of one request."""
    data = None if body is None else json.dumps(body)
    line.request(method, path, data, {"content-type": "application/json"} if data else {})
    response = line.getresponse()
    return response.status, response.read()


def free_port() -> int:
    """A port that is free now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


def measure(store: str, routes: int, writes: int, workers: int) -> dict[str, float]:
    """Milliseconds of writes with that many routes in the store."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, port = Path(name), free_port()
        kind, url = STORES[store]
        server = stack.enter_context(kind(folder)) if kind else None
        (folder / "conf.d").mkdir()
        configuration = {
            "listeners": f"127.0.0.1:{port}",
            "admin": f"unix:{folder}/admin.sock",
            "state_folder": str(folder / "state"),
            "store": url.format(folder=folder, port=server and server.port),
            "routes": [{"path": "/", "respond": "here"}],
        }
        (folder / "gate.json").write_text(json.dumps(configuration))
        environment = {**os.environ, "HEADGATE_RUNTIME_DIR": str(folder)}
        command = [str(HEADGATE), "run", str(folder / "gate.json"), "--workers", str(workers)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            found = _measured(folder, port, routes, writes, process.pid)
        finally:
            process.terminate()
            process.wait()
        return found | {"store alone": asyncio.run(_store_alone(str(configuration["store"]), writes))}


async def _store_alone(url: str, writes: int) -> float:
    """Milliseconds of the same write without a gateway: the median."""
    taken = []
    async with open_store(url) as store:
        state = await store.load()
        for number in range(writes):
            write = Write(Key("routes", "one"), {"path": "/one", "respond": f"alone {number}"})
            transaction = Transaction((write,), expected_revision=state.revision, known=state)
            begun = time.perf_counter()
            revision = await store.apply(transaction)
            taken.append((time.perf_counter() - begun) * 1000)
            resource = Resource(write.key, write.document or {}, revision.number)
            state = state.changed(revision, {write.key: resource})
    return statistics.median(taken)


def _measured(folder: Path, port: int, routes: int, writes: int, supervisor: int) -> dict[str, float]:
    admin = Unix(f"{folder}/admin.sock")
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    if routes:
        many = {f"r{n}": {"path": f"/service-{n}/*", "respond": f"{n}"} for n in range(routes)}
        status, body = ask(admin, "POST", "/v1/import", {"resources": {"routes": many}})
        assert status == 200, body
    lines = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    # the first one after a start or an import of many tells workers of the whole
    assert ask(admin, "PUT", "/v1/routes/one", {"path": "/one", "respond": "first"})[0] in (200, 201)
    taken, used_before = [], processor_ms(supervisor)
    for number in range(writes):
        begun = time.perf_counter()
        status, body = ask(admin, "PUT", "/v1/routes/one", {"path": "/one", "respond": f"change {number}"})
        taken.append((time.perf_counter() - begun) * 1000)
        assert status in (200, 201), body
        for line in lines:
            assert ask(line, "GET", "/one") == (200, f"change {number}".encode())
    used = processor_ms(supervisor)
    per_write = {role: (used[role] - used_before.get(role, 0)) / writes for role in used}
    taken.sort()
    for line in (admin, *lines):
        line.close()
    found = {"median": statistics.median(taken), "p95": taken[int(len(taken) * 0.95)], "longest": taken[-1]}
    return found | per_write


ROLES = {"headgate.agent": "agent", "headgate.worker": "workers", "run": "supervisor"}


def processor_ms(supervisor: int) -> dict[str, float]:
    """The processors' time that the supervisor, its agent and its workers have taken so far, in milliseconds."""
    used = dict.fromkeys(("agent", "supervisor", "workers"), 0.0)
    for pid in (supervisor, *children(supervisor)):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        role = next((role for word, role in ROLES.items() if word in words), "workers")
        for task in Path(f"/proc/{pid}/task").iterdir():
            used[role] += int((task / "schedstat").read_text().split()[0]) / 1e6
    return used


def children(pid: int) -> list[int]:
    """The processes below one."""
    own = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*own, *(other for one in own for other in children(one))]


def main() -> None:
    """Prints a line of Markdown for each store and number of routes."""
    given = parsed_options(
        __doc__,
        choices={"stores": list(STORES)},
        stores=list(STORES),
        routes=[0, 10_000],
        writes=200,
        workers=2,
    )
    columns = ("median", "p95", "longest", "agent", "supervisor", "workers", "store alone")
    print(f"| store | routes | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}")
    for store in given.stores:
        for routes in given.routes:
            found = measure(store, routes, given.writes, given.workers)
            print(
                f"| {store} | {routes} | {' | '.join(f'{found[key]:.1f} ms' for key in columns)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
