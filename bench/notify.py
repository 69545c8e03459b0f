"""What NOTIFY costs others: foreign transactions on the same PostgreSQL, beside writers of pgwatch with and without it.

    bench/notify.py [--seconds 5] [--rounds 3] [--connections 20] [--rate 200]

PostgreSQL takes a lock of the whole database when a transaction that has notified commits. Twenty connections write a
row each in a transaction of their own, in a table that pgwatch does not know, while twenty others put keys by pgwatch,
as many a second in every slice. In every other slice pgwatch's functions are the same but do not notify: the ratio of
the two is what the lock costs the foreign ones, on a busy machine as well if the rounds are many.
"""

import asyncio
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import asyncpg  # noqa: E402
from e2e.kit.services import PostgresServer  # noqa: E402
from options import parsed_options  # noqa: E402

from headgate import pgwatch  # noqa: E402
from headgate.pgwatch import schema  # noqa: E402

FOREIGN = "INSERT INTO plain VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def functions(*, notify: bool) -> str:
    """The SQL of pgwatch's functions, as they are, or without the call of `pg_notify`."""
    if notify:
        return schema.WRITING
    found, count = re.subn(r"PERFORM pg_notify\([^;]*\);", "NULL;", schema.WRITING)
    assert count == 1, "one notification a transaction"
    return found


async def foreign(url: str, seconds: float, connections: int) -> int:
    """Transactions that others have done in that time."""

    async def write(number: int) -> int:
        connection = await asyncpg.connect(url)
        statement = await connection.prepare(FOREIGN)
        done, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            await statement.fetch(f"foreign/{number}", b"x" * 200)
            done += 1
        await connection.close()
        return done

    return sum(await asyncio.gather(*(write(number) for number in range(connections))))


async def puts(url: str, seconds: float, connections: int, rate: float) -> int:
    """Puts by pgwatch in that time, evenly as many a second as `rate` says, if it can."""

    async def write(number: int) -> int:
        async with pgwatch.connect(url) as client:
            begun, done = time.monotonic() + number / rate, 0
            while (at := begun + done * connections / rate) < begun + seconds:
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                await client.put(f"bench/{number}", b"x" * 200)
                done += 1
        return done

    return sum(await asyncio.gather(*(write(number) for number in range(connections))))


def run(call: Any, *arguments: Any) -> int:
    """In a process of a pool."""
    found: int = asyncio.run(call(*arguments))
    return found


async def replace(url: str, sql: str) -> None:
    """Other functions from now on."""
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


async def prepare(url: str) -> None:
    """The tables of both."""
    async with pgwatch.connect(url) as client:
        await client.install()
    await replace(url, "CREATE TABLE plain(key text PRIMARY KEY, value bytea NOT NULL)")


def main() -> None:
    """Prints a line of Markdown for each slice, and the ratio."""
    given = parsed_options(__doc__, seconds=5.0, rounds=3, connections=20, rate=200.0)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, PostgresServer(Path(name), is_durable=True) as server:
        url = f"postgresql://gate@127.0.0.1:{server.port}/postgres"
        asyncio.run(prepare(url))
        rates: dict[bool, list[float]] = {True: [], False: []}
        print("| | foreign transactions a second | puts a second |\n|---|---|---|")
        with context.Pool(2) as pool:
            for number in range(2 * given.rounds):
                notify = number % 2 == 0
                asyncio.run(replace(url, functions(notify=notify)))
                load = (url, given.seconds, given.connections)
                beside = pool.apply_async(run, (puts, *load, given.rate))
                rates[notify].append(pool.apply(run, (foreign, *load)) / given.seconds)
                shown = f"{rates[notify][-1]:.0f} | {beside.get() / given.seconds:.0f}"
                print(f"| {'with' if notify else 'without'} NOTIFY | {shown} |", flush=True)
    ratio = statistics.median(rates[True]) / statistics.median(rates[False])
    print(f"\nforeign transactions with NOTIFY: {ratio:.2f} of those without")


if __name__ == "__main__":
    main()
