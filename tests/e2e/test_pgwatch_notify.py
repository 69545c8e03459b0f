"""What pgwatch's notifications cost others on the same PostgreSQL: the lock of NOTIFY is the whole database's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg

from headgate import pgwatch

from .kit.services import PostgresServer

FOREIGN, TRANSACTIONS = 20, 5
TABLE = "CREATE TABLE plain(key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, value text)"
INSERT = "INSERT INTO plain(value) VALUES ('x')"
TXN = "SELECT pgwatch.txn('{}', '{}', '{a}', '{x}', '{null}')"
LOCK = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass"
    " AND objid = 0 AND mode = 'AccessExclusiveLock' AND granted"
)
"""Whether somebody holds what a transaction that notifies takes when it commits (PreCommit_Notify)."""


@contextlib.asynccontextmanager
async def session(url: str) -> AsyncIterator[Any]:
    """A plain connection, as a user of PostgreSQL has it."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def test_a_revision_is_one_notification_and_nothing_else_is_any(tmp_path: Path) -> None:
    heard: list[str] = []
    ended = asyncio.Event()

    def hear(_: object, __: int, ___: str, payload: str) -> None:
        heard.append(payload)
        if payload == "end":
            ended.set()

    with PostgresServer(tmp_path) as server:
        async with pgwatch.connect(server.url) as kv, session(server.url) as listening:
            await kv.install()
            await listening.add_listener("pgwatch", hear)
            async with session(server.url) as foreign:
                await foreign.execute(TABLE)
                made = [await kv.put("a", "1"), await kv.put("a", "2")]
                await kv.get("a")
                await kv.get_prefix()
                for _ in range(FOREIGN):
                    await foreign.execute(INSERT)
                async with (
                    foreign.transaction()
                ):  # many puts within a transaction of the user's are one revision
                    for number in range(FOREIGN):
                        await foreign.execute(INSERT)
                        await foreign.execute(f"SELECT pgwatch.put('k{number}', 'x')")
                made.append(await foreign.fetchval("SELECT max(revision) FROM pgwatch.revisions"))
                await foreign.execute("NOTIFY pgwatch, 'end'")
                async with asyncio.timeout(60):
                    await ended.wait()
    assert heard == [*(str(revision) for revision in made), "end"]
    assert made == [1, 2, 3]


async def test_transactions_of_others_never_wait_for_one_that_notifies(tmp_path: Path) -> None:
    """A synchronous standby that never comes holds the writer in its commit, with the lock."""

    async def write(url: str) -> None:
        async with session(url) as foreign:
            await foreign.execute("SET synchronous_commit = local")
            for _ in range(TRANSACTIONS):
                await foreign.execute(INSERT)

    with PostgresServer(tmp_path) as server:
        async with (
            pgwatch.connect(server.url) as kv,
            session(server.url) as looking,
            session(server.url) as writer,
        ):
            await kv.install()
            await looking.execute(TABLE)
            await looking.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            await looking.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(60):
                while await writer.fetchval("SHOW synchronous_standby_names") != "nobody":
                    pass
            committing = asyncio.ensure_future(writer.execute(TXN))
            async with asyncio.timeout(60):
                while not await looking.fetchval(LOCK):
                    pass
                await asyncio.gather(*(write(server.url) for _ in range(FOREIGN)))
            assert await looking.fetchval(LOCK) == 1
            assert not committing.done()
            assert await looking.fetchval("SELECT count(*) FROM plain") == FOREIGN * TRANSACTIONS
            committing.cancel()
            await asyncio.wait([committing])
