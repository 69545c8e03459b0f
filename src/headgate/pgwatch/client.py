"""Keys and values in PostgreSQL, as etcd has them: revisions, transactions, a watch, leases, history, compaction."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from headgate.pgwatch import reading
from headgate.pgwatch.errors import Conflict, HistoryLost, NoSuchLease, PgwatchError, Unavailable
from headgate.pgwatch.link import Link, Timing, install_on
from headgate.pgwatch.records import Batch, Event, Item, Items, Position, Transition

_ARGUMENTS = "$1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6, $7, $8, $9, $10"
_WRITE = f"CALL pgwatch.write({_ARGUMENTS})"
_TXN = f"SELECT is_done, revision, refused_key, refused_at FROM pgwatch.txn({_ARGUMENTS})"
Value = bytes | str


@dataclass(frozen=True, slots=True)
class Put:
    """A value to write, with the lease that it ends with."""

    value: Value
    lease: int | None = None


class Lease:
    """A lease that is renewed while it is held; when it was lost, `on_lost` runs and makes what hung on it anew."""

    def __init__(self, id: int) -> None:
        self.id = id


class Client:
    """See the module; made by `headgate.pgwatch.connect`.

    Every call may raise `Unavailable` (PostgreSQL is away; the next call connects again) and `NotInstalled`.
    Values are bytes; texts are written in UTF-8.
    """

    def __init__(self, link: Link, watch_link: Link) -> None:
        self.link = link
        self.watch_link = watch_link

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections and the watches."""
        await self.link.close()
        await self.watch_link.close()

    async def install(self) -> None:
        """Makes the tables and functions in the schema `pgwatch`, or brings them up to date."""

        async def run(connection: Any) -> None:
            async with connection.transaction():
                await install_on(connection)

        await self.link.call(run)

    async def get(self, key: str, *, at: int | None = None) -> Item | None:
        """What a key holds, now or at a revision; raises `HistoryLost` for one that was compacted."""
        found = await reading.items(self.link, key, is_prefix=False, at=at)
        return found.items[0] if found.items else None

    async def get_prefix(self, prefix: str = "", *, at: int | None = None) -> Items:
        """All items whose keys begin with `prefix`, of one state, now or at a revision."""
        return await reading.items(self.link, prefix, is_prefix=True, at=at)

    async def put(
        self, key: str, value: Value, *, lease: int | None = None, expected: int | None = None
    ) -> int:
        """Writes a key; gives the revision. `expected` is the revision it must be at (0: absent)."""
        compare = {} if expected is None else {key: expected}
        return await self.txn(put={key: Put(value, lease)}, compare=compare)

    async def put_many(
        self, items: Mapping[str, Value], *, lease: int | None = None, at_once: int = 1000
    ) -> int:
        """Writes many keys, `at_once` of them in each revision; gives the last one.

        A batch costs little more than one put, which waits for the disk as long. What fails leaves the batches before
        it written; one revision for all is `txn`.
        """
        if at_once < 1:
            raise ValueError("`at_once` is less than 1")
        revision = 0
        pairs = [(key, Put(value, lease)) for key, value in items.items()]
        for first in range(0, len(pairs), at_once):
            revision = await self.txn(put=dict(pairs[first : first + at_once]))
        return revision or await self.txn()

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        """Deletes a key; gives the revision, which is no new one where there was no such key."""
        return await self.txn(delete=[key], compare={} if expected is None else {key: expected})

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes all keys with a prefix, in one revision; gives it."""
        while True:
            found = await self.get_prefix(prefix)
            keys = [item.key for item in found.items]
            try:
                return await self.txn(delete=keys, unchanged=(prefix, found.position.revision))
            except Conflict:
                continue

    async def txn(
        self,
        *,
        put: Mapping[str, Put | Value] | None = None,
        delete: Sequence[str] = (),
        compare: Mapping[str, int] | None = None,
        unchanged: tuple[str, int] | None = None,
        author: str = "",
        note: str = "",
        mark: str | None = None,
    ) -> int:
        """Writes all or nothing, in one revision; gives it.

        `compare` says for keys, written or not, the revisions they must be at (0: absent), `unchanged` that no key
        with a prefix is newer than a revision; else raises `Conflict`. A transaction with the `mark` of one that
        was done is not done again, so after `Unavailable` it may be sent once more.
        """
        puts = {key: one if isinstance(one, Put) else Put(one) for key, one in (put or {}).items()}
        names = [*puts, *delete]
        if len(set(names)) != len(names):
            raise ValueError("a transaction writes a key twice")
        if any("\0" in name for name in names):
            raise ValueError("a key with a NUL")
        values = [_bytes(one.value) for one in puts.values()]
        rows = await self.link.rows(
            (_WRITE, _TXN),
            list(compare or {}),
            list((compare or {}).values()),
            names,
            [*values, *(None for _ in delete)],
            [*(one.lease for one in puts.values()), *(None for _ in delete)],
            author,
            note,
            mark,
            *(unchanged or (None, None)),
        )
        if not rows[0]["is_done"]:
            raise Conflict(rows[0]["refused_key"], rows[0]["refused_at"])
        revision: int = rows[0]["revision"]
        return revision

    async def watch(self, prefix: str = "", *, since: Position | int | None = None) -> AsyncIterator[Event]:
        """The events of keys with a prefix after `since` (`None`: from now on), for ever, none lost, none doubled.

        Cuts are waited out. Raises `HistoryLost` where what came after `since` is not to be had.
        """
        async for batch in self.batches(prefix, since=since):
            for event in batch.events:
                yield event

    async def batches(self, prefix: str = "", *, since: Position | int | None = None) -> AsyncIterator[Batch]:
        """As `watch`, by whole revisions; a slow consumer gets several of them at once."""
        link, waker, failures = self.watch_link, asyncio.Event(), 0
        link.wakers.add(waker)
        try:
            position = since
            while not link.is_closed:
                waker.clear()
                try:
                    await link.listen()
                    if position is None:
                        position = await reading.position(link)
                    batch = await reading.batch(link, prefix, position)
                    failures = 0
                except Unavailable:
                    failures += 1
                    await link.pause(failures)
                    continue
                position = batch.position
                if batch.events:
                    yield batch
                else:
                    await _wait(waker, link.poll_s)
        finally:
            link.wakers.discard(waker)

    async def history(
        self, prefix: str = "", *, limit: int = 100, before: int | None = None
    ) -> list[Transition]:
        """The newest revisions first, at most `limit`: their events with who, when and what was before."""
        return await reading.history(self.link, prefix, limit, before)

    async def compact(self, *, before: int | None = None, older_than: timedelta | None = None) -> int:
        """Forgets history before a revision, or what is older; gives the oldest revision that is kept."""
        if (before is None) == (older_than is None):
            raise ValueError("compact needs `before` or `older_than`")
        kind = "bigint" if older_than is None else "interval"
        rows = await self.link.rows(
            f"SELECT pgwatch.compact($1::{kind})", before if older_than is None else older_than
        )
        if rows[0][0] is None:
            rows = await self.link.rows("SELECT oldest FROM pgwatch.meta")
        oldest: int = rows[0][0]
        return oldest

    @contextlib.asynccontextmanager
    async def lease(self, ttl_s: float) -> AsyncIterator[Lease]:
        """A lease that is renewed each `ttl_s / 3` while inside, and revoked at the end: its keys go with it.

        One that was lost (all were away for longer than `ttl_s`) is granted anew under another `id`: whoever wrote
        keys with it writes them again.
        """
        held = Lease(await self.grant(ttl_s))

        async def renew() -> None:
            while True:
                await asyncio.sleep(ttl_s / 3)
                with contextlib.suppress(PgwatchError):
                    if not await self.keep(held.id):
                        held.id = await self.grant(ttl_s)

        renewing = asyncio.create_task(renew())
        try:
            yield held
        finally:
            renewing.cancel()
            with contextlib.suppress(PgwatchError):
                await self.revoke(held.id)

    async def grant(self, ttl_s: float) -> int:
        """Grants a lease; it ends `ttl_s` seconds after the last `keep`, by the server's clock."""
        rows = await self.link.rows("SELECT pgwatch.lease_grant($1)", timedelta(seconds=ttl_s))
        lease: int = rows[0][0]
        return lease

    async def keep(self, lease: int) -> bool:
        """Renews a lease and ends those that are over; whether it is still there."""
        rows = await self.link.rows("SELECT pgwatch.lease_keep($1)", lease)
        await self.link.rows("SELECT pgwatch.lease_expire()")
        return bool(rows[0][0])

    async def revoke(self, lease: int) -> None:
        """Ends a lease and deletes its keys, in one revision."""
        await self.link.rows("SELECT pgwatch.lease_revoke($1)", lease)


def connect(
    dsn: str, *, watch_dsn: str | None = None, timing: Timing | None = None, application: str = "pgwatch"
) -> Client:
    """A client of the database `dsn` (a URL of several hosts uses the one that can be written to).

    It connects when it is first asked. `watch_dsn` is another way to the same database for the watch: behind
    PgBouncer in transaction mode nothing is heard and the watch has to poll, so give it a direct one.
    """
    link = Link(dsn, timing or Timing(), application=application)
    watch = Link(watch_dsn, timing or Timing(), application=application) if watch_dsn else link
    return Client(link, watch)


async def put_at_commit(
    connection: Any, key: str, value: Value, *, lease: int | None = None, expected: int | None = None
) -> None:
    """Writes a key with the transaction that is open on a connection of asyncpg's: at its commit, or not at all.

    The transaction fails at commit with SQLSTATE `PW001` where the key is not at the revision `expected`.
    """
    sql = "SELECT pgwatch.put($1::text, $2::bytea, $3::bigint, $4::bigint)"
    await connection.execute(sql, key, _bytes(value), lease, expected)


async def delete_at_commit(connection: Any, key: str, *, expected: int | None = None) -> None:
    """Deletes a key with the transaction that is open on a connection of asyncpg's."""
    await connection.execute("SELECT pgwatch.del($1::text, $2::bigint)", key, expected)


def _bytes(value: Value) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


async def _wait(waker: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await waker.wait()
    except TimeoutError:
        pass


__all__ = [
    "Client",
    "HistoryLost",
    "Lease",
    "NoSuchLease",
    "Put",
    "connect",
    "delete_at_commit",
    "put_at_commit",
]
