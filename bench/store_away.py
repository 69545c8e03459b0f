"""A store that is down for a minute under load: how many requests fail, and how soon changes are taken again.

    bench/store_away.py [--stores PostgreSQL etcd Redis] [--seconds 60] [--rate 300] [--connections 30] [--workers 2]

A gateway serves a route of its store to kept connections, each of which asks at its own pace. The store's server is
killed, the agent is killed as well in the middle of it, and the server is started again; then a change is put until it
is taken. Every response has to have status 200 and the right body.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from e2e.kit.admin import Admin  # noqa: E402
from e2e.kit.gateway import RunningGateway  # noqa: E402
from e2e.kit.services import EtcdServer, PostgresServer, RedisServer  # noqa: E402
from options import parsed_options  # noqa: E402

SERVERS: dict[str, tuple[Any, str]] = {
    "PostgreSQL": (PostgresServer, "postgresql://gate@127.0.0.1:{port}/postgres"),
    "etcd": (EtcdServer, "etcd://127.0.0.1:{port}/headgate"),
    "Redis": (RedisServer, "redis://127.0.0.1:{port}/0"),
}
REQUEST = b"GET /kept HTTP/1.1\r\nhost: bench\r\n\r\n"


@dataclass
class Counts:
    """What became of the requests."""

    asked: int = 0
    failed: int = 0
    longest_s: float = 0


async def ask(port: int, pause_s: float, counts: Counts, ended: asyncio.Event) -> None:
    """Asks on one connection, at its pace."""
    while not ended.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                while not ended.is_set():
                    counts.asked += 1
                    begun = time.monotonic()
                    writer.write(REQUEST)
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                    body = await asyncio.wait_for(reader.readexactly(4), 10)
                    counts.longest_s = max(counts.longest_s, time.monotonic() - begun)
                    counts.failed += not (head.startswith(b"HTTP/1.1 200 ") and body == b"kept")
                    await asyncio.sleep(pause_s)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            counts.failed += 1


async def until_taken(admin: Admin, name: str) -> float:
    """Puts a change until it is taken; gives how long that took, in seconds."""
    begun = time.monotonic()
    while True:
        put = await asyncio.to_thread(admin.put, f"/v1/routes/{name}", {"path": f"/{name}", "respond": name})
        if put.status in (200, 201):
            return time.monotonic() - begun
        await asyncio.sleep(0.05)


async def measured(name: str, options: argparse.Namespace, folder: Path) -> str:
    """A row of the table."""
    kind, url = SERVERS[name]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(kind(folder))
        description = {
            "admin": f"unix:{folder}/admin.sock",
            "state_folder": str(folder / "state"),
            "store": url.format(port=server.port),
            "routes": [{"path": "/", "respond": "here"}],
        }
        gateway = RunningGateway(folder, description, workers=options.workers)
        await asyncio.to_thread(gateway.start)
        stack.callback(gateway.kill)
        admin = Admin(f"unix:{folder}/admin.sock")
        await until_taken(admin, "kept")
        counts, ended = Counts(), asyncio.Event()
        port = int(str(gateway.address).rpartition(":")[2])
        pause_s = options.connections / options.rate
        clients = [asyncio.create_task(ask(port, pause_s, counts, ended)) for _ in range(options.connections)]
        await asyncio.sleep(2)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(options.seconds / 2)
        os.kill((await asyncio.to_thread(gateway.ask))["agent"], signal.SIGKILL)
        await asyncio.sleep(options.seconds / 2)
        await asyncio.to_thread(server.start)
        taken_s = await until_taken(admin, "after")
        ended.set()
        await asyncio.gather(*clients)
        await asyncio.to_thread(gateway.stop)
    return f"| {name} | {counts.asked} | {counts.failed} | {counts.longest_s * 1000:.0f} | {taken_s:.1f} |"


def main() -> None:
    """The program."""
    given = parsed_options(
        __doc__,
        choices={"stores": list(SERVERS)},
        stores=list(SERVERS),
        seconds=60.0,
        rate=300.0,
        connections=30,
        workers=2,
    )
    print("| store | requests | failed | longest response, ms | change taken after the restart, s |")
    print("|---|---|---|---|---|")
    for name in given.stores:
        with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
            print(asyncio.run(measured(name, given, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
