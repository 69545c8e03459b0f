"""pgwatch on a real PostgreSQL: order with concurrent writers, cuts at bad moments, poolers, standbys, leases."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from headgate import pgwatch
from headgate.pgwatch.records import prefix_end
from headgate.stores import open_store

from .kit.cuttable import CuttableProxy
from .kit.net import eventually, free_port
from .kit.services import PostgresServer, wait_for_port

QUICK = pgwatch.Timing(
    response_s=5, keepalive_s=0.3, poll_s=60, pooled_poll_s=0.05, spread_s=0.02, longest_s=0.1
)

GUIDE = Path(__file__).resolve().parents[2] / "docs/guide/pgwatch.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as made:
        yield made


numbers = iter(range(1, 1000))


@pytest.fixture
async def dsn(server: PostgresServer) -> AsyncIterator[str]:
    name = server.new_database(next(numbers))
    url = f"postgresql://gate@127.0.0.1:{server.port}/{name}"
    async with pgwatch.connect(url) as kv:
        await kv.install()
    yield url


@pytest.fixture
async def kv(dsn: str) -> AsyncIterator[pgwatch.Client]:
    async with pgwatch.connect(dsn, timing=QUICK) as client:
        yield client


@contextlib.asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Any]:
    """A plain connection, as a user of PostgreSQL has it."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


async def taken(events: AsyncIterator[pgwatch.Event], count: int) -> list[pgwatch.Event]:
    async with asyncio.timeout(30):
        return [await anext(events) for _ in range(count)]


def texts(events: list[pgwatch.Event]) -> list[tuple[str, bytes | None]]:
    return [(event.key, event.value) for event in events]


async def test_keys_values_versions_and_revisions_are_as_in_etcd(kv: pgwatch.Client) -> None:
    first = await kv.put("a/1", "x")
    second = await kv.put("a/1", b"\x00\xff")
    item = await kv.get("a/1")
    assert item == pgwatch.Item("a/1", b"\x00\xff", created=first, modified=second, version=2)
    await kv.put("b", "y")
    assert [item.key for item in (await kv.get_prefix("a/")).items] == ["a/1"]
    assert await kv.delete("a/1") == second + 2
    assert await kv.delete("a/1") == second + 2  # there is none: no new revision
    assert await kv.get("a/1") is None
    again = await kv.put("a/1", "z")
    assert await kv.get("a/1") == pgwatch.Item("a/1", b"z", created=again, modified=again, version=1)
    assert [item.value for item in (await kv.get_prefix("a/", at=second)).items] == [b"\x00\xff"]
    assert [one.before for one in await kv.history("a/")] == [None, b"\x00\xff", b"x", None]


async def test_a_transaction_is_one_revision_or_none(kv: pgwatch.Client) -> None:
    first = await kv.put("a", "1")
    revision = await kv.txn(put={"b": "2", "c": "3"}, delete=["a"], compare={"a": first, "d": 0})
    assert {(one.event.key, one.event.revision) for one in await kv.history(limit=1)} == {
        ("a", revision),
        ("b", revision),
        ("c", revision),
    }
    with pytest.raises(pgwatch.Conflict) as refused:
        await kv.txn(put={"e": "5"}, compare={"a": first})
    assert (refused.value.key, refused.value.found) == ("a", 0)
    assert await kv.get("e") is None
    with pytest.raises(pgwatch.Conflict):
        await kv.txn(put={"e": "5"}, unchanged=("b", revision - 1))
    assert await kv.delete_prefix("") == revision + 1
    assert (await kv.get_prefix()).items == []


async def test_many_keys_are_put_in_few_revisions(kv: pgwatch.Client) -> None:
    assert await kv.put_many({f"k{n:02}": str(n) for n in range(25)}, at_once=10) == 3
    found = (await kv.get_prefix("k")).items
    assert [(item.key, item.modified) for item in found] == [(f"k{n:02}", n // 10 + 1) for n in range(25)]
    assert await kv.put_many({}) == 3
    async with kv.lease(30) as lease:
        await kv.put_many({"n/1": "x", "n/2": "x"}, lease=lease.id)
    assert (await kv.get_prefix("n/")).items == []


async def test_a_value_of_a_megabyte_is_no_matter_for_notify(kv: pgwatch.Client) -> None:
    events = kv.watch(since=0)
    await kv.put("big", b"x" * 1_000_000)
    assert len((await taken(events, 1))[0].value or b"") == 1_000_000


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("a/", "a0"), ("", None), ("\U0010ffff", None), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000")],
)
def test_the_end_of_a_prefix_is_the_first_text_behind_it(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


async def test_a_revision_is_never_seen_before_those_below_it(dsn: str, kv: pgwatch.Client) -> None:
    """One writer has its revision and does not commit: another has to wait for it, and so does every reader."""
    events = kv.watch(since=0)
    async with session(dsn) as slow, pgwatch.connect(dsn, timing=QUICK) as other, session(dsn) as looking:
        begun = slow.transaction()
        await begun.start()
        await slow.execute("SELECT pgwatch.txn('{}', '{}', '{slow}', '{x}', '{null}')")
        quick = asyncio.ensure_future(other.put("quick", "y"))
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(20):
            while not await looking.fetchval(waits):
                pass
        assert (await kv.get_prefix()).items == []
        await begun.commit()
        await quick
    seen = await taken(events, 2)
    assert [(event.key, event.revision) for event in seen] == [("slow", 1), ("quick", 2)]


async def test_a_revision_of_a_transaction_that_failed_holds_nobody_up(dsn: str, kv: pgwatch.Client) -> None:
    events = kv.watch(since=0)
    async with session(dsn) as failing:
        begun = failing.transaction()
        await begun.start()
        await failing.execute("SELECT pgwatch.txn('{}', '{}', '{failed}', '{x}', '{null}')")
        await begun.rollback()
    await kv.put("a", "1")
    assert texts(await taken(events, 1)) == [("a", b"1")]


async def test_writers_wait_for_the_disk_together_and_nobody_is_told_before(tmp_path: Path) -> None:
    """A synchronous standby that never comes stands for a disk that takes its time."""
    patient = pgwatch.Timing(response_s=60, poll_s=0.05)
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'pgwatch'"
    )
    with PostgresServer(tmp_path) as alone:
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(pgwatch.connect(alone.url, timing=patient)) for _ in range(4)
            ]
            await clients[0].install()
            events = clients[3].watch(since=0)
            admin = await stack.enter_async_context(session(alone.url))
            await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            await admin.execute("SELECT pg_reload_conf()")
            shown = "SELECT current_setting('synchronous_standby_names')"
            for client in clients:
                while (await client.link.rows(shown))[0][0] != "nobody":
                    pass
            puts = [asyncio.ensure_future(client.put(f"{n}", "x")) for n, client in enumerate(clients[:3])]
            telling = asyncio.ensure_future(taken(events, 3))
            async with asyncio.timeout(60):
                while await admin.fetchval(waits) < 4:  # all three, and the watch that has seen them
                    pass
            assert await admin.fetchval("SELECT count(*) FROM pgwatch.revisions") == 3
            await admin.execute("SET synchronous_commit = local")
            async with asyncio.timeout(
                60
            ):  # nor does anybody else's NOTIFY wait, whose lock is the database's
                await admin.execute("NOTIFY others")
            assert not telling.done() and not any(put.done() for put in puts)
            await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await admin.execute("SELECT pg_reload_conf()")
            assert sorted(await asyncio.gather(*puts)) == [1, 2, 3]
            assert {event.revision for event in await telling} == {1, 2, 3}


async def test_a_writer_killed_before_the_disk_has_its_revision_does_not_hold_it_back(
    dsn: str, kv: pgwatch.Client
) -> None:
    events = kv.watch(since=0)
    async with session(dsn) as writer:
        await writer.execute("SET synchronous_commit = off")  # what `write` does, up to where it is killed
        await writer.execute("SELECT pgwatch.txn('{}', '{}', '{a}', '{x}', '{null}')")
    assert texts(await taken(events, 1)) == [("a", b"x")]


async def test_statements_are_parsed_and_planned_once_a_connection(kv: pgwatch.Client) -> None:
    for number in range(8):
        await kv.put("a", str(number))
        await kv.get("a")
    plans = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE $1"
    for statement, is_planned in (("CALL pgwatch.write%", False), ("WITH head%", True)):
        rows = await kv.link.rows(plans, statement)
        assert len(rows) == 1
        assert not is_planned or (rows[0]["custom_plans"], rows[0]["generic_plans"]) == (5, 3)


async def test_a_database_of_serializable_transactions_takes_many_writers(server: PostgresServer) -> None:
    name = server.new_database(next(numbers))
    url = f"postgresql://gate@127.0.0.1:{server.port}/{name}"
    async with session(url) as admin:
        await admin.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(pgwatch.connect(url, timing=QUICK)) for _ in range(4)]
        await clients[0].install()
        await asyncio.gather(*(client.put("k", str(n)) for n in range(10) for client in clients))
        found = await clients[0].get("k")
        assert found is not None
        assert (found.version, found.modified) == (40, 40)


async def test_tables_of_an_older_version_are_brought_up_to_date(dsn: str, kv: pgwatch.Client) -> None:
    await kv.put("a", "1")
    async with session(dsn) as admin:
        await admin.execute("UPDATE pgwatch.meta SET version = 1; DROP PROCEDURE pgwatch.write")
    async with pgwatch.connect(dsn, timing=QUICK) as client:
        with pytest.raises(pgwatch.NotInstalled, match="headgate pgwatch install"):
            await client.put("a", "2")
    async with open_store(dsn) as store:  # a gateway's store installs by itself
        await store.load()
    assert await kv.put("a", "2") == 2
    assert [item.value for item in (await kv.get_prefix("a", at=1)).items] == [b"1"]


async def test_a_put_inside_a_users_transaction_commits_or_fails_with_it(
    dsn: str, kv: pgwatch.Client
) -> None:
    async with session(dsn) as user, session(dsn) as other:
        await user.execute("CREATE TABLE orders(id int)")
        # long transactions that only note what they want hold nobody up, and commit in any order
        begun = user.transaction()
        await begun.start()
        await user.execute("INSERT INTO orders VALUES (1)")
        await pgwatch.put_at_commit(user, "orders/1", "new")
        await pgwatch.put_at_commit(user, "orders/1", "newer")
        async with other.transaction():
            await pgwatch.put_at_commit(other, "orders/2", "new")
        await begun.commit()
        assert [(one.event.key, one.event.value) for one in await kv.history()] == [
            ("orders/1", b"newer"),
            ("orders/2", b"new"),
        ]
        with pytest.raises(ZeroDivisionError):
            async with user.transaction():
                await pgwatch.put_at_commit(user, "orders/3", "never")
                raise ZeroDivisionError
        with pytest.raises(asyncpg.PostgresError) as refused:
            async with user.transaction():
                await user.execute("INSERT INTO orders VALUES (4)")
                await pgwatch.put_at_commit(user, "orders/1", "stale", expected=1)
        assert refused.value.sqlstate == "PW001"
        assert await user.fetchval("SELECT count(*) FROM orders") == 1
        assert await user.fetchval("SELECT count(*) FROM pgwatch.pending") == 0
        async with user.transaction(isolation="serializable"):
            await pgwatch.delete_at_commit(user, "orders/1")
    assert [item.key for item in (await kv.get_prefix()).items] == ["orders/2"]


async def test_no_event_is_lost_or_doubled_with_eight_writers_rollbacks_and_killed_backends(dsn: str) -> None:
    written: dict[str, int] = {}

    async def write(writer: int) -> None:
        async with pgwatch.connect(dsn, timing=QUICK) as client:
            for number in range(25):
                key, mark = f"w{writer}/{number}", f"{writer}-{number}"
                while key not in written:
                    with contextlib.suppress(pgwatch.Unavailable):
                        written[key] = await client.txn(put={key: str(number)}, mark=mark)

    async def write_in_transactions(writer: int) -> None:
        """Of a user who changes his mind each tenth time, and whose transactions overlap with all others."""
        async with session(dsn) as connection:
            for number in range(40):
                begun = connection.transaction()
                await begun.start()
                await pgwatch.put_at_commit(connection, f"u{writer}/{number}", str(number))
                await asyncio.sleep(0)
                if number % 10 == 9:
                    await begun.rollback()
                else:
                    await begun.commit()
                    written[f"u{writer}/{number}"] = 0

    async def kill() -> None:
        async with session(dsn) as admin:
            while True:
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'pgwatch' AND random() < 0.3 AND datname = current_database()"
                )
                await asyncio.sleep(0.05)

    async def watch(count: int) -> list[pgwatch.Event]:
        async with pgwatch.connect(dsn, timing=QUICK) as client:
            return await taken(client.watch(since=0), count)

    wanted = 4 * 25 + 4 * 36
    killing = asyncio.create_task(kill())
    watching = [asyncio.create_task(watch(wanted)) for _ in range(3)]
    await asyncio.gather(*(write(n) for n in range(4)), *(write_in_transactions(n) for n in range(4)))
    seen = await asyncio.gather(*watching)
    killing.cancel()
    async with pgwatch.connect(dsn, timing=QUICK) as client:
        truth = [(one.event.revision, one.event.key) for one in await client.history(limit=1000)][::-1]
    assert {key for _, key in truth} == set(written)
    for events in seen:
        assert [(event.revision, event.key) for event in events] == truth


async def test_a_backend_killed_between_listen_and_read_loses_nothing(dsn: str, kv: pgwatch.Client) -> None:
    listen, kills = kv.link.listen, iter(range(30))
    async with session(dsn) as admin, pgwatch.connect(dsn, application="writer") as writer:

        async def listen_and_die() -> None:
            await listen()
            number = next(kills, None)
            if number is not None:
                pid = kv.link._connection.get_server_pid()
                await writer.put(f"{number:02}", "x")
                await admin.execute("SELECT pg_terminate_backend($1)", pid)

        kv.link.listen = listen_and_die  # type: ignore[method-assign]
        seen = await taken(kv.watch(since=0), 30)
    assert [event.key for event in seen] == [f"{number:02}" for number in range(30)]


async def test_a_watch_goes_on_from_any_position_and_says_when_it_cannot(kv: pgwatch.Client) -> None:
    for number in range(6):
        await kv.put("k", str(number))
    position = (await kv.get_prefix()).position
    assert [event.revision for event in await taken(kv.watch(since=3), 3)] == [4, 5, 6]
    waiting = asyncio.ensure_future(anext(kv.watch(since=position)))
    await kv.put("k", "new")
    assert (await waiting).value == b"new"
    assert await kv.compact(before=5) == 5
    for since, oldest in ((3, 5), (99, 5), (pgwatch.Position("other", 6, position.mark), 5)):
        with pytest.raises(pgwatch.HistoryLost) as lost:
            await anext(kv.watch(since=since))
        assert lost.value.oldest == oldest
    with pytest.raises(pgwatch.HistoryLost):
        await kv.get("k", at=4)
    assert (await kv.get("k", at=5)) is not None


async def test_more_events_than_fit_one_read_come_whole(
    kv: pgwatch.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.pgwatch.reading.MOST_EVENTS_AT_ONCE", 10)
    for number in range(5):
        await kv.txn(put={f"{number}/{one}": "x" for one in range(7)})
    sizes = []
    async for batch in kv.batches(since=0):
        assert len({event.revision for event in batch.events}) * 7 == len(batch.events)
        sizes.append(len(batch.events))
        if sum(sizes) == 35:
            break
    assert sizes == [14, 14, 7]


async def test_compaction_by_age_forgets_what_is_old_and_keeps_what_is_current(
    dsn: str, kv: pgwatch.Client
) -> None:
    await kv.put("kept", "1")
    await kv.put("gone", "1")
    await kv.delete("gone")
    await kv.put("k", "1")
    async with session(dsn) as admin:
        await admin.execute("UPDATE pgwatch.revisions SET at = at - interval '1 day' WHERE revision <= 3")
        assert await kv.compact(older_than=timedelta(hours=1)) == 4
        assert await admin.fetchval("SELECT array_agg(key ORDER BY key) FROM pgwatch.events") == ["k", "kept"]
    assert [item.key for item in (await kv.get_prefix()).items] == ["k", "kept"]
    assert [item.key for item in (await kv.get_prefix(at=4)).items] == ["k", "kept"]


async def test_keys_of_a_lease_go_with_it_in_one_revision(dsn: str, kv: pgwatch.Client) -> None:
    async with kv.lease(30) as lease:
        await kv.put("n/1", "x", lease=lease.id)
        await kv.put("n/2", "x", lease=lease.id)
    last = await kv.history(limit=1)
    assert {one.event.key: one.event.value for one in last} == {"n/1": None, "n/2": None}
    with pytest.raises(pgwatch.NoSuchLease):
        await kv.put("n/1", "x", lease=lease.id)
    assert not await kv.keep(lease.id)


async def test_a_lease_that_is_not_renewed_ends_and_one_that_could_not_be_does_not(
    dsn: str, kv: pgwatch.Client
) -> None:
    dead, alive = await kv.grant(60), await kv.grant(60)
    await kv.put("dead", "x", lease=dead)
    await kv.put("alive", "x", lease=alive)
    async with session(dsn) as admin:
        over = "UPDATE pgwatch.leases SET until = clock_timestamp() - interval '1 s'"
        # the server was away, or its clock was set an hour on: nobody could renew
        for seen in ("- interval '1 h'", "+ interval '1 h'"):
            await admin.execute(over)
            await admin.execute(f"UPDATE pgwatch.meta SET leases_seen = clock_timestamp() {seen}")
            await kv.keep(alive)
            assert [item.key for item in (await kv.get_prefix()).items] == ["alive", "dead"]
        await admin.execute(over)
        await admin.execute("UPDATE pgwatch.meta SET leases_seen = clock_timestamp() - interval '3 s'")
        await kv.keep(alive)
    assert [item.key for item in (await kv.get_prefix()).items] == ["alive"]


async def test_a_slow_transaction_does_not_shorten_a_lease(dsn: str, kv: pgwatch.Client) -> None:
    async with session(dsn) as slow, session(dsn) as other:
        kept = await kv.grant(60)
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("SELECT now()")  # which stays as it is for the rest of the transaction
        later = await other.fetchval("SELECT clock_timestamp()")
        granted = await slow.fetchval("SELECT pgwatch.lease_grant('60 s')")
        assert await slow.fetchval("SELECT pgwatch.lease_keep($1)", kept)
        await transaction.commit()
        ends = await other.fetch(
            "SELECT until - ttl AS begun FROM pgwatch.leases WHERE lease = ANY($1)", [kept, granted]
        )
    assert len(ends) == 2 and all(one["begun"] >= later for one in ends), (
        "both begin when they were asked for"
    )


STEPPED = """
CREATE SCHEMA stepped;
CREATE TABLE stepped.clock(step interval NOT NULL);
INSERT INTO stepped.clock VALUES ('0 s');
CREATE FUNCTION stepped.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql AS
  'SELECT pg_catalog.clock_timestamp() + step FROM stepped.clock';
CREATE FUNCTION stepped.now() RETURNS timestamptz VOLATILE LANGUAGE sql AS
  'SELECT pg_catalog.now() + step FROM stepped.clock';
"""


@pytest.mark.parametrize("step", ["1 h", "-1 h"])
async def test_a_step_of_the_servers_clock_ends_no_lease_that_is_held(dsn: str, step: str) -> None:
    """Every clock that the database's functions can ask is stepped while holders renew; nobody ever vanishes."""
    async with session(dsn) as admin:
        await admin.execute(STEPPED)
        name = await admin.fetchval("SELECT current_database()")
        await admin.execute(f'ALTER DATABASE "{name}" SET search_path = stepped, pg_catalog, public')
    ttl_s = 1.0
    async with session(dsn) as admin, open_store(dsn) as east, open_store(dsn) as west:
        await east.load()
        real = "SELECT extract(epoch FROM clock_timestamp() - pg_catalog.clock_timestamp())::int"
        async with east.announce("east", {}, ttl_s=ttl_s), west.announce("west", {}, ttl_s=ttl_s):
            assert {node.name for node in await east.nodes()} == {"east", "west"}
            await admin.execute("UPDATE stepped.clock SET step = $1::text::interval", step)
            assert abs(await admin.fetchval(real)) == 3600
            renewed = (
                "SELECT count(*) FROM pgwatch.leases WHERE until > clock_timestamp() + ttl - interval '0.3 s'"
            )
            for _ in range(3):  # each of them has renewed its lease by the stepped clock
                async with asyncio.timeout(30):
                    while await admin.fetchval(renewed) < 2:
                        assert {node.name for node in await west.nodes()} == {"east", "west"}
                async with asyncio.timeout(30):
                    while await admin.fetchval(renewed) == 2:
                        assert {node.name for node in await west.nodes()} == {"east", "west"}
        assert not await west.nodes()


async def test_a_database_without_tables_says_how_to_make_them(server: PostgresServer) -> None:
    name = server.new_database(next(numbers))
    async with pgwatch.connect(f"postgresql://gate@127.0.0.1:{server.port}/{name}", timing=QUICK) as kv:
        with pytest.raises(pgwatch.NotInstalled, match="headgate pgwatch install"):
            await kv.put("a", "1")
        await kv.install()
        await kv.put("a", "1")
        await kv.install()  # again does no harm
        assert await kv.get("a") is not None


async def test_a_half_open_connection_is_found_out_by_its_silence(dsn: str, server: PostgresServer) -> None:
    with CuttableProxy(("127.0.0.1", server.port)) as proxy:
        through = dsn.replace(str(server.port), str(proxy.port))
        timing = pgwatch.Timing(response_s=0.3, keepalive_s=0.1, poll_s=60, spread_s=0.02)
        async with pgwatch.connect(through, timing=timing) as kv, pgwatch.connect(dsn) as writer:
            events = kv.watch(since=0)
            await writer.put("a", "1")
            await taken(events, 1)
            waiting = asyncio.ensure_future(taken(events, 1))
            await asyncio.sleep(0)
            proxy.swallow()
            await writer.put("a", "2")
            assert texts(await waiting) == [("a", b"2")]


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_behind_pgbouncer_the_watch_polls_and_hears_on_a_direct_way(
    dsn: str, server: PostgresServer, tmp_path: Path, mode: str
) -> None:
    with pgbouncer(server, tmp_path, mode) as port:
        pooled = dsn.replace(str(server.port), str(port))
        async with pgwatch.connect(pooled, timing=QUICK) as kv, pgwatch.connect(dsn) as writer:
            events = kv.watch(since=0)
            await writer.put("a", "1")
            assert texts(await taken(events, 1)) == [("a", b"1")]
            assert kv.link.is_pooled
            await asyncio.gather(*(kv.put(f"k{n}", "x") for n in range(20)))
            assert len(await taken(events, 20)) == 20
        slow = pgwatch.Timing(pooled_poll_s=60, poll_s=60)
        async with pgwatch.connect(pooled, watch_dsn=dsn, timing=slow) as kv:
            events = kv.watch()
            waiting = asyncio.ensure_future(taken(events, 1))
            await asyncio.to_thread(eventually, lambda: kv.watch_link._is_listening, "the watch listens")
            await kv.put("b", "1")
            assert texts(await waiting) == [("b", b"1")]
            assert (kv.link.is_pooled, kv.watch_link.is_pooled) == (True, False)


@contextlib.contextmanager
def pgbouncer(server: PostgresServer, folder: Path, mode: str) -> Iterator[int]:
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("no pgbouncer here; hint: `make services`")
    port = free_port()
    folder.chmod(0o755)
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=gate\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={port}\nauth_type=any\npool_mode={mode}\nunix_socket_dir=\nignore_startup_parameters=extra_float_digits\n"
    )
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    log = folder / "pgbouncer.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *user, str(configuration)], stdout=output, stderr=output)
    try:
        wait_for_port(port, process, log)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


async def test_of_several_hosts_the_primary_is_used_and_without_one_tries_are_few(
    dsn: str, server: PostgresServer, tmp_path: Path
) -> None:
    async with session(dsn) as admin:
        name = await admin.fetchval("SELECT current_database()")
    with PostgresServer.standby_of(server, tmp_path) as standby:
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{server.port}"
        async with pgwatch.connect(f"postgresql://gate@{hosts}/{name}", timing=QUICK) as kv:
            await kv.put("a", "1")
        alone = f"postgresql://gate@127.0.0.1:{standby.port}/{name}"
        timing = pgwatch.Timing(spread_s=60, longest_s=60)
        async with pgwatch.connect(alone, timing=timing) as kv:
            waiting = asyncio.ensure_future(anext(kv.watch(since=0)))
            await asyncio.to_thread(eventually, lambda: kv.link.error, "the standby is refused")
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(pgwatch.Unavailable):
                await kv.put("a", "2")


async def test_a_watch_goes_on_over_a_failover_without_a_gap(tmp_path: Path) -> None:
    """The primary dies, the standby is promoted: every event comes once, in order, on the same watch."""
    (tmp_path / "primary").mkdir()
    (tmp_path / "standby").mkdir()
    with PostgresServer(tmp_path / "primary") as primary:
        with PostgresServer.standby_of(primary, tmp_path / "standby") as standby:
            name = primary.new_database(1)
            hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            async with pgwatch.connect(f"postgresql://gate@{hosts}/{name}", timing=QUICK) as kv:
                await kv.install()
                events = kv.watch(since=0)
                for number in range(5):
                    await kv.put(f"{number}", "before")
                seen = await taken(events, 3)
                async with session(primary.url) as admin:
                    caught_up = "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"
                    async with asyncio.timeout(20):
                        while not await admin.fetchval(caught_up):
                            pass
                primary.kill()
                await asyncio.to_thread(standby.run, "pg_ctl", "promote")
                for number in range(5, 8):
                    await put_at_last(kv, f"{number}")
                seen += await taken(events, 5)
        assert [event.key for event in seen] == [f"{number}" for number in range(8)]


async def put_at_last(kv: pgwatch.Client, key: str) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(pgwatch.Unavailable):
                await kv.txn(put={key: "after"}, mark=f"once-{key}")
                return
            await asyncio.sleep(0.05)


async def test_the_grants_of_the_guide_are_enough_and_not_more(dsn: str, kv: pgwatch.Client) -> None:
    text = " ".join(GUIDE.read_text().split())
    grants = re.findall(r"`(GRANT [^`]*)`", text)
    assert len(grants) == 3
    async with session(dsn) as admin:
        for role in ("writer", "reader"):
            await admin.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN")
        for grant in grants:
            await admin.execute(f"{grant} TO writer")
        await admin.execute(
            "GRANT USAGE ON SCHEMA pgwatch TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA pgwatch TO reader"
        )
    async with pgwatch.connect(dsn.replace("gate@", "writer@"), timing=QUICK) as writer:
        async with pgwatch.connect(dsn.replace("gate@", "reader@"), timing=QUICK) as reader:
            events = reader.watch(since=0)
            async with writer.lease(30) as lease:
                await writer.put("a", "1", lease=lease.id)
                await writer.keep(lease.id)
            async with session(dsn.replace("gate@", "writer@")) as user, user.transaction():
                await pgwatch.put_at_commit(user, "b", "2")
            assert texts(await taken(events, 3)) == [("a", b"1"), ("a", None), ("b", b"2")]
            assert await writer.compact(before=2) == 2
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.put("a", "1")
    async with session(dsn) as admin:
        await admin.execute("DROP OWNED BY writer, reader; DROP ROLE writer, reader")


async def test_a_queue_of_notifications_that_fills_is_told(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("headgate.pgwatch.link.QUEUE_ALARM", -1)
    timing = pgwatch.Timing(keepalive_s=0.05)
    async with pgwatch.connect(dsn, timing=timing) as kv:
        watching = asyncio.ensure_future(anext(kv.watch()))
        await asyncio.to_thread(
            eventually, lambda: "idle in a transaction" in caplog.text, "somebody is told"
        )
        watching.cancel()


async def test_the_command_line_does_all_of_it(server: PostgresServer) -> None:
    name = server.new_database(next(numbers))
    environment = {**os.environ, "PGWATCH_DSN": f"postgresql://gate@127.0.0.1:{server.port}/{name}"}

    async def run(*arguments: str, code: int = 0, stdin: bytes = b"") -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headgate", "pgwatch", *arguments),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await process.communicate(stdin)
        assert process.returncode == code, errors
        return (output if code == 0 else errors).decode()

    assert "hint: `headgate pgwatch install`" in await run("get", "a", code=1)
    await run("install")
    assert await run("put", "a/1", "x") == "1\n"
    assert await run("put", "a/2", "-", stdin=b"\x1b[31m\xff") == "2\n"
    assert "is at revision 1" in await run("put", "a/1", "y", "--expected", "0", code=1)
    assert await run("put", "a/1", "y", "--expected", "1") == "3\n"
    assert await run("get", "a/1") == "y\n"
    assert await run("get", "a/1", "--at", "1") == "x\n"
    assert await run("get", "a/", "--prefix") == "a/1\ty\na/2\t\\x1b[31m\\xff\n"
    assert await run("del", "a/2") == "4\n"
    assert await run("watch", "a/", "--since", "2", "--count", "2") == "3\tput\ta/1\ty\n4\tdel\ta/2\n"
    assert await run("get", "a/2", code=1) == ""
    newest = json.loads((await run("history", "--json", "--limit", "2")).splitlines()[1])
    assert (newest["key"], newest["before"], newest["after"]) == ("a/1", "x", "y")
    assert await run("compact", "--before", "4") == "4\n"
    assert await run("put", "b\x1b[2J\n\t", "-", stdin=b"one\ntwo\t") == "5\n"
    escaped = "b\\x1b[2J\\n\\t\tone\\ntwo\\t\n"  # one line, whose parts have no tabs
    assert await run("get", "b", "--prefix") == escaped
    assert await run("watch", "b", "--since", "4", "--count", "1") == f"5\tput\t{escaped}"
    assert (await run("history", "b")).count("\n") == 1
    assert "the oldest kept is 4" in await run("get", "a/1", "--at", "1", code=1)
    assert "--before" in await run("compact", code=2)
    away = await run("get", "a", "--dsn", "postgresql://127.0.0.1:1/app", code=1)
    assert "error: PostgreSQL is not available: " in away and "hint: `--dsn` or PGWATCH_DSN" in away


@pytest.mark.parametrize("number", range(2))
async def test_what_the_guide_shows_runs(dsn: str, number: int) -> None:
    text = re.findall(r"^```py\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)[number]
    assert "postgresql://localhost/app" in text
    program = text.replace("postgresql://localhost/app", dsn)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0
