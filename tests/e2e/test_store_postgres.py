"""What the store in PostgreSQL has to itself: others' keys beside it, and a failover that lost writes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from headgate import pgwatch
from headgate.pgwatch import reading
from headgate.stores import (
    Changes,
    Key,
    Revision,
    Snapshot,
    StoreUnavailable,
    Transaction,
    Update,
    Write,
    open_store,
)

from .kit.services import PostgresServer
from .kit.stores import QUICK, Place, StoreServers

A = Key("routes", "a")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    with servers.place("postgres", tmp_path) as made:
        yield made


async def next_of(watch: AsyncIterator[Update]) -> Update:
    async with asyncio.timeout(30):
        return await anext(watch)


async def test_others_keys_and_compaction_make_nobody_read_everything(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Queue[int]()

    async def recorded(*arguments: Any) -> pgwatch.Batch:
        found = await batch(*arguments)
        reached.put_nowait(found.position.revision)
        return found

    batch = reading.batch
    monkeypatch.setattr(reading, "batch", recorded)
    async with place.open() as store, pgwatch.connect(place.direct_url) as others:
        first = await store.apply(Transaction((Write(A, {"n": 1}),)))
        watch = store.watch(first)
        waiting = asyncio.ensure_future(next_of(watch))
        for number in range(100):
            await others.put_many({f"others/{number}-{one}": "x" for one in range(100)})
        head = (await others.get_prefix("others/")).position
        async with asyncio.timeout(20):  # a watch keeps up with what it has nothing of
            while await reached.get() < head.revision:
                pass
        await others.compact(before=head.revision)
        assert not waiting.done()
        second = await store.apply(Transaction((Write(A, {"n": 2}),)))
        update = await waiting
        assert isinstance(update, Changes)
        assert (update.revision, len(update.changes)) == (second, 1)


async def test_a_failover_that_lost_writes_is_read_anew_and_goes_on(tmp_path: Path) -> None:
    """The standby had not got the last three: the store is older than what was told, and counts them up again."""
    for name in ("primary", "standby"):
        (tmp_path / name).mkdir()
    with PostgresServer(tmp_path / "primary") as primary:
        name = primary.new_database(1)
        async with open_store(f"postgresql://gate@127.0.0.1:{primary.port}/{name}", timing=QUICK) as made:
            kept = await made.apply(Transaction((Write(A, {"n": 1}),)))
        with PostgresServer.standby_of(primary, tmp_path / "standby") as standby:
            hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            async with open_store(f"postgresql://gate@{hosts}/{name}", timing=QUICK) as store:
                await no_longer_replicated(standby)
                watch = store.watch(kept)
                for number in range(2, 5):
                    lost = await store.apply(Transaction((Write(A, {"n": number}),)))
                update = await next_of(watch)
                while update.revision != lost:
                    update = await next_of(watch)
                waiting = asyncio.ensure_future(next_of(watch))
                primary.kill()
                await asyncio.to_thread(standby.run, "pg_ctl", "promote")
                update = await waiting
                assert isinstance(update, Snapshot)
                assert (update.revision, update.resources[A].document) == (kept, {"n": 1})
                later = Transaction((Write(A, {"n": 9}),))
                revision: Revision | None = None
                async with asyncio.timeout(30):
                    while revision is None:
                        try:
                            revision = await store.apply(later)
                        except StoreUnavailable:
                            await asyncio.sleep(0.05)
                assert revision.number > kept.number
                update = await next_of(watch)
                assert isinstance(update, Changes)
                assert (update.revision, update.changes[0].document) == (revision, {"n": 9})


async def no_longer_replicated(standby: PostgresServer) -> None:
    """Cuts a standby off from its primary, for good."""
    admin = await asyncpg.connect(standby.url)
    try:
        await admin.execute("ALTER SYSTEM SET primary_conninfo = ''")
        await admin.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(30):
            while await admin.fetchval("SELECT count(*) FROM pg_stat_wal_receiver"):
                pass
    finally:
        await admin.close()
