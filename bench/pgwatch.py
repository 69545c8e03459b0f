"""pgwatch beside etcd on the same machine: puts a second, and how long a watch takes to tell.

    bench/pgwatch.py                      10,000 keys; 1, 5 and 20 connections; three rounds, in turn
    bench/pgwatch.py --seconds 2 --rounds 1 --keys 1000

Both servers write to the same disk and wait for it (`fsync` on, as they come). The third row is an upsert of one row in
a transaction of its own, what PostgreSQL can do at most. The first and the last line say how quiet the machine was.
Writers are processes of their own beside the one that watches, all of Python; etcd is spoken to over gRPC by `aetcd`
(pip install aetcd), which the gateway's own store does not use. A value is 200 bytes and begins with the moment of the
put, so the delay is from before the put to the event in another process. A second table is of the gateway's stores:
from before `apply` in one process to the change in the watch of another, with 10,000 resources there.
"""

import argparse
import asyncio
import contextlib
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import asyncpg  # noqa: E402
from e2e.kit.services import EtcdServer, PostgresServer, RedisServer  # noqa: E402
from options import parsed_options  # noqa: E402

from headgate import pgwatch  # noqa: E402
from headgate.stores import Changes, Key, Transaction, Write, open_store  # noqa: E402

VALUE_BYTES = 200
CONNECTIONS = (1, 5, 20)

Put = Callable[[str, bytes], Awaitable[Any]]


@contextlib.asynccontextmanager
async def pgwatch_put(url: str) -> AsyncIterator[Put]:
    """Puts by pgwatch, on a connection of its own."""
    async with pgwatch.connect(url) as client:
        yield client.put


@contextlib.asynccontextmanager
async def row_put(url: str) -> AsyncIterator[Put]:
    """Upserts of a row, on a connection of its own."""
    connection = await asyncpg.connect(url)
    sql = "INSERT INTO plain VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    statement = await connection.prepare(sql)
    try:
        yield statement.fetch
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def etcd_put(url: str) -> AsyncIterator[Put]:
    """Puts into etcd, on a connection of its own."""
    import aetcd

    host, _, port = url.rpartition(":")
    async with aetcd.Client(host=host, port=int(port)) as client:

        async def put(key: str, value: bytes) -> None:
            await client.put(key.encode(), value)

        yield put


async def pgwatch_values(url: str) -> AsyncIterator[bytes]:
    """What a watch of pgwatch tells."""
    async with pgwatch.connect(url) as client:
        async for event in client.watch("bench/"):
            yield event.value or b""


async def etcd_values(url: str) -> AsyncIterator[bytes]:
    """What a watch of etcd tells."""
    import aetcd

    host, _, port = url.rpartition(":")
    async with aetcd.Client(host=host, port=int(port)) as client:
        async for event in await client.watch_prefix(b"bench/"):
            yield event.kv.value


PEERS: dict[str, tuple[Any, Any]] = {
    "pgwatch": (pgwatch_put, pgwatch_values),
    "etcd": (etcd_put, etcd_values),
    "PostgreSQL, one row": (row_put, None),
}


def value() -> bytes:
    """A value that says when it was put."""
    return f"{time.monotonic():.6f} ".encode().ljust(VALUE_BYTES, b"x")


def write(peer: str, url: str, connections: int, seconds: float, keys: int, results: Any) -> None:
    """A process with writers, which begin when all are connected and have put once."""

    async def one(number: int, connected: asyncio.Barrier) -> int:
        count = 0
        async with PEERS[peer][0](url) as put:
            await put(f"bench/{number:06}", value())
            await connected.wait()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await put(f"bench/{(number * 7919 + count) % keys:06}", value())
                count += 1
        return count

    async def all_of_them() -> int:
        connected = asyncio.Barrier(connections)
        return sum(await asyncio.gather(*(one(number, connected) for number in range(connections))))

    results.put(asyncio.run(all_of_them()))


async def measured(
    peer: str, url: str, connections: int, options: argparse.Namespace
) -> tuple[float, float, float]:
    """Puts a second, and the median and the 99th percentile of the delay in milliseconds, if there is a watch."""
    delays: list[float] = []
    values = PEERS[peer][1]

    async def watch() -> None:
        if values is not None:
            async for told in values(url):
                delays.append(time.monotonic() - float(told.split(b" ", 1)[0]))

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.5)  # until it stands
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (peer, url, connections, options.seconds, options.keys, results)
    writer = context.Process(target=write, args=arguments)
    writer.start()
    count = await asyncio.to_thread(results.get)
    await asyncio.to_thread(writer.join)
    if values is None:
        return count / options.seconds, math.nan, math.nan
    await asyncio.wait_for(all_told(delays, count + connections), 60)
    watching.cancel()
    delays.sort()
    return count / options.seconds, statistics.median(delays) * 1000, delays[int(len(delays) * 0.99)] * 1000


async def all_told(delays: list[float], count: int) -> None:
    """Waits until the watch has told of every put."""
    while len(delays) < count:  # noqa: ASYNC110 - nothing says when it is so
        await asyncio.sleep(0.01)


async def fill(peer: str, url: str, keys: int) -> None:
    """Writes every key once."""
    if peer == "pgwatch":
        async with pgwatch.connect(url) as client:
            await client.install()
            begun = time.monotonic()
            await client.put_many({f"bench/{n:06}": value() for n in range(keys)})
            print(f"put_many: {keys / (time.monotonic() - begun):.0f} keys/s")
        return
    if PEERS[peer][1] is None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE plain(key text PRIMARY KEY, value bytea)")
        await connection.close()
        return
    async with contextlib.AsyncExitStack() as stack:
        puts = [await stack.enter_async_context(etcd_put(url)) for _ in range(20)]

        async def some(number: int) -> None:
            for key in range(number, keys, len(puts)):
                await puts[number](f"bench/{key:06}", value())

        await asyncio.gather(*map(some, range(len(puts))))


def conditions(folder: Path) -> str:
    """How long an `fsync` and a wake-up take here, and the load."""
    synced, woken = [], []
    with (folder / "synced").open("wb") as file:
        for _ in range(50):
            begun = time.monotonic()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            synced.append(time.monotonic() - begun)
            begun = time.monotonic()
            time.sleep(0.001)
            woken.append(time.monotonic() - begun - 0.001)
    told = [f"{statistics.median(times) * 1000:.2f} ms" for times in (synced, woken)]
    return f"fdatasync {told[0]}, late wake-up {told[1]}, load {os.getloadavg()[0]:.1f}"


def apply_changes(url: str, count: int, results: Any) -> None:
    """A process that changes a resource of a store, one after another."""

    async def run() -> None:
        async with open_store(url) as store:
            await store.load()
            for number in range(count):
                document = {"at": time.monotonic(), "n": number}
                await store.apply(Transaction((Write(Key("routes", "r5"), document),)))
                await asyncio.sleep(0.02)

    asyncio.run(run())
    results.put(count)


async def store_delay(url: str, resources: int, count: int) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds, from before `apply` to the change in another process."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    delays: list[float] = []
    async with open_store(url) as store:
        many = (Write(Key("routes", f"r{n}"), {"path": f"/{n}", "to": "api"}) for n in range(resources))
        revision = await store.apply(Transaction(tuple(many)))
        watch = store.watch(revision)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(1)
        writer = context.Process(target=apply_changes, args=(url, count, results))
        writer.start()
        while True:
            update = await waiting
            assert isinstance(update, Changes)
            document = update.changes[-1].document
            assert document is not None
            delays.append(time.monotonic() - document["at"])
            if document["n"] == count - 1:
                break
            waiting = asyncio.ensure_future(anext(watch))
        await asyncio.to_thread(writer.join)
    delays.sort()
    return statistics.median(delays) * 1000, delays[int(len(delays) * 0.99)] * 1000


async def run(options: argparse.Namespace, folder: Path) -> None:
    """All of it."""
    with contextlib.ExitStack() as stack:
        places = {name: folder / name for name in ("postgres", "etcd", "redis", "conf.d")}
        for place in places.values():
            place.mkdir()
        postgres = stack.enter_context(PostgresServer(places["postgres"], is_durable=True))
        etcd = stack.enter_context(EtcdServer(places["etcd"]))
        urls = {"pgwatch": postgres.url, "etcd": f"127.0.0.1:{etcd.port}"}
        urls["PostgreSQL, one row"] = f"{postgres.url.rpartition('/')[0]}/{postgres.new_database(2)}"
        print(conditions(folder))
        for peer, url in urls.items():
            await fill(peer, url, options.keys)
        print("| connections | | puts/s | delay, median ms | delay, p99 ms |\n|---|---|---|---|---|")
        for connections in CONNECTIONS:
            found: dict[str, list[tuple[float, float, float]]] = {peer: [] for peer in urls}
            for _ in range(options.rounds):
                for peer, url in urls.items():
                    found[peer].append(await measured(peer, url, connections, options))
            for peer, rows in found.items():
                puts, median, last = (statistics.median(column) for column in zip(*rows, strict=True))
                delays = f"{median:.1f} | {last:.1f}" if median == median else "- | -"
                print(f"| {connections} | {peer} | {puts:.0f} | {delays} |", flush=True)
        print(conditions(folder))
        redis = stack.enter_context(RedisServer(places["redis"]))
        stores = {
            "files": f"files:{places['conf.d']}",
            "SQLite": f"sqlite://{folder}/config.db",
            "PostgreSQL": f"{urls['pgwatch'].rpartition('/')[0]}/{postgres.new_database(1)}",
            "etcd": f"etcd://{urls['etcd']}/headgate",
            "Redis": f"redis://127.0.0.1:{redis.port}/0",
        }
        print(f"\n| store, {options.keys} resources | median ms | p99 ms |\n|---|---|---|")
        for name, url in stores.items():
            median, last = await store_delay(url, options.keys, options.changes)
            print(f"| {name} | {median:.1f} | {last:.1f} |", flush=True)


def main() -> None:
    """The program."""
    given = parsed_options(__doc__, keys=10_000, seconds=4.0, rounds=3, changes=200)
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        asyncio.run(run(given, Path(folder)))


if __name__ == "__main__":
    main()
