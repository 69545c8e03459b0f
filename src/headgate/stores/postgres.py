"""Configuration in PostgreSQL, by `headgate.pgwatch`: one connection for calls and the watch.

How it works: a resource is the key `PREFIXkind/name`, whose value is its JSON. Nodes are keys with leases beside the
prefix. Other prefixes of the same database may be written by anybody: revisions then have gaps.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import asyncpg

from headgate import pgwatch
from headgate.pgwatch import reading
from headgate.pgwatch.link import Link
from headgate.pgwatch.reading import by_revision
from headgate.stores.base import (
    Change,
    Changes,
    Document,
    Edit,
    Entry,
    Key,
    RegisteredNode,
    Resource,
    Revision,
    Snapshot,
    Timing,
    Transaction,
)
from headgate.stores.documents import decoded, encoded, key_of
from headgate.stores.errors import RevisionCompacted, StoreReadOnly, StoreUnavailable
from headgate.stores.planning import Step, changes_by, merged, oldest_kept, planned
from headgate.stores.watching import HistoryGap, WatchedStore

T = TypeVar("T")
Reading = tuple[pgwatch.Items, pgwatch.Position | None]
MOST_TRIES = 50


class PostgresStore(WatchedStore):
    """See the module; `postgresql://user@host/database?prefix=headgate/&watch_url=...`.

    `watch_url` (percent-encoded) is a direct way past a pooler, for the watch.
    """

    def __init__(self, url: str, dsn: str, watch_dsn: str | None, prefix: str, timing: Timing) -> None:
        super().__init__(url, timing)
        link_timing = pgwatch.Timing(
            timing.response_s,
            timing.keepalive_s,
            timing.poll_s,
            min(0.5, timing.poll_s),
            timing.spread_s,
            timing.longest_s,
        )
        self._prefix = prefix
        self._node_prefix = f"{prefix.rstrip('/')}-nodes/"
        self._link = Link(dsn, link_timing, installs=True, hears_itself=False, application="headgate")
        self._watch_link = Link(watch_dsn, link_timing, application="headgate") if watch_dsn else self._link
        self._client = pgwatch.Client(self._link, self._watch_link)
        self._foreseen: tuple[str, object, asyncio.Future[Reading]] | None = None
        """What is read for the transaction with a mark, on a connection."""
        self._waker = asyncio.Event()
        self._forwarding: asyncio.Task[None] | None = None

    @classmethod
    def of_url(cls, url: str, timing: Timing) -> "PostgresStore":
        """The store of a URL; raises `ValueError`."""
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        prefix = query.pop("prefix", ["headgate/"])[0]
        watch_dsn = query.pop("watch_url", [None])[0]
        if not prefix.endswith("/"):
            raise ValueError(f"`{prefix}` is not a valid prefix\n  hint: it ends with `/`")
        dsn = urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
        return cls(url, dsn, watch_dsn, prefix, timing)

    async def load(self) -> Snapshot:
        """See `Store`."""
        return self._snapshot(await self._asked(self._client.get_prefix(self._prefix)))

    async def changes_since(self, position: Revision) -> Changes | None:
        """See `WatchedStore`."""
        since = pgwatch.Position(position.epoch, position.number, position.mark)
        try:
            batch = await self._asked(reading.batch(self._watch_link, self._prefix, since))
        except pgwatch.HistoryLost:
            raise HistoryGap from None
        if batch.position == since:
            return None
        changes = []
        for event in batch.events:
            document = None if event.value is None else decoded(event.value, event.key)
            changes.append(Change(self._key(event.key), document, event.revision))
        return merged(_revision(batch.position), changes)

    async def listen(self) -> None:
        """See `WatchedStore`."""
        await self._asked(self._watch_link.listen())
        if self._forwarding is None:
            self._watch_link.wakers.add(self._waker)
            self._forwarding = asyncio.create_task(self._forward())

    async def _forward(self) -> None:
        """Wakes the watches when the link is woken; polls as often as the link has to."""
        while True:
            try:
                async with asyncio.timeout(self._watch_link.poll_s):
                    await self._waker.wait()
            except TimeoutError:
                pass
            self._waker.clear()
            self.wake()

    async def apply(self, transaction: Transaction) -> Revision:
        """See `Store`."""
        try:
            return await self._applied(transaction)
        except BaseException:
            self.wake()  # it may have been done all the same
            raise

    def foresee(self, transaction: Transaction) -> None:
        """See `Store`."""
        reading = asyncio.ensure_future(self._read_for(transaction))
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())  # `apply` reads again
        self._foreseen = (transaction.mark, self._link.connection, reading)

    async def _read_for(self, transaction: Transaction) -> Reading:
        names = [self._name(key) for key in {*(one.key for one in transaction.writes), *transaction.expected}]
        return await self._asked(reading.these(self._link, names, transaction.mark))

    async def _read_already(self, transaction: Transaction) -> Reading | None:
        """What was read for it on this very connection: another one may lead to another server."""
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is None:
            return None
        mark, connection, reading = foreseen
        await asyncio.wait([reading])
        is_usable = (
            mark == transaction.mark and connection is not None and connection is self._link.connection
        )
        return reading.result() if is_usable and not reading.exception() else None

    async def _applied(self, transaction: Transaction) -> Revision:
        foreseen = await self._read_already(transaction)
        for _ in range(MOST_TRIES):
            (found, done), foreseen = foreseen or await self._read_for(transaction), None
            if done is not None:
                self.wake()
                return _revision(done)
            head = await self._expected_head(transaction, _revision(found.position))
            present = self._resources(found)
            steps = planned(transaction, head, present.get)
            if not steps:
                return _revision(found.position)
            try:
                revision = await self._write(transaction, steps)
            except pgwatch.Conflict:
                continue  # somebody was quicker: whether that matters is decided anew
            made = Revision(found.position.epoch, revision, transaction.mark)
            if transaction.expected_revision:  # from which on nothing but this has changed
                self.made(transaction.expected_revision, changes_by(made, steps))
            else:
                self.wake()
            return made
        raise StoreUnavailable("too many concurrent writes to the same resources")

    async def _expected_head(self, transaction: Transaction, head: Revision) -> Revision:
        """The head, or the expected revision where only others' keys have changed since."""
        wanted = transaction.expected_revision
        if wanted is None or wanted == head:
            return head
        try:
            changes = await self.changes_since(wanted)
        except HistoryGap:
            return head
        return head if changes is not None and changes.changes else wanted

    async def _write(self, transaction: Transaction, steps: Sequence[Step]) -> int:
        compare = {self._name(step.edit.key): step.former or 0 for step in steps}
        compare |= {self._name(key): number or 0 for key, number in transaction.expected.items()}
        texts = {self._name(one.edit.key): one.edit.after for one in steps}
        whole = transaction.expected_revision
        return await self._asked(
            self._client.txn(
                put={name: encoded(after) for name, after in texts.items() if after is not None},
                delete=[name for name, after in texts.items() if after is None],
                compare=compare,
                unchanged=(self._prefix, whole.number) if whole else None,
                author=transaction.author,
                note=transaction.note,
                mark=transaction.mark,
            )
        )

    async def history(
        self, *, limit: int = 100, before: int | None = None, key: Key | None = None
    ) -> Sequence[Entry]:
        """See `Store`."""
        epoch = (await self._asked(reading.position(self._link))).epoch
        found = await self._asked(
            reading.history(self._link, self._prefix, limit, before, key=self._name(key) if key else None)
        )
        return [self._entry(epoch, number, group) for number, group in by_revision(found)]

    def _entry(self, epoch: str, number: int, group: Sequence[pgwatch.Transition]) -> Entry:
        edits = []
        for one in group:
            values = (one.before, one.event.value)
            documents = [None if value is None else decoded(value, one.event.key) for value in values]
            edits.append(Edit(self._key(one.event.key), documents[0], documents[1]))
        first = group[0]
        return Entry(Revision(epoch, number, first.mark), first.at, first.author, first.note, tuple(edits))

    async def at(self, number: int) -> Snapshot:
        """See `Store`."""
        try:
            return self._snapshot(await self._asked(self._client.get_prefix(self._prefix, at=number)))
        except pgwatch.HistoryLost as error:
            raise RevisionCompacted(number, error.oldest) from None

    async def compact(self, *, keep: int | None = None, older_than: timedelta | None = None) -> int:
        """See `Store`; the history is that of all prefixes."""
        age = older_than if older_than is not None else timedelta(days=36500)
        head, oldest, last_old = await self._asked(reading.oldest_by_age(self._link, age))
        before = oldest_kept(head, oldest, keep=keep, last_old=last_old, by_age=older_than is not None)
        return await self._asked(self._client.compact(before=before))

    @contextlib.asynccontextmanager
    async def announce(self, node: str, facts: Document, *, ttl_s: float = 15) -> AsyncIterator[None]:
        """See `Store`; a node that has lost its lease registers again."""
        name = self._node_prefix + node

        async def renew() -> None:
            lease = None
            while True:
                with contextlib.suppress(pgwatch.PgwatchError):
                    if lease is None or not await self._client.keep(lease):
                        lease = await self._client.grant(ttl_s)
                        await self._client.put(name, encoded(facts), lease=lease)
                        is_there.set()
                await asyncio.sleep(ttl_s / 3)

        is_there = asyncio.Event()
        renewing = asyncio.create_task(renew())
        try:
            async with asyncio.timeout(self.timing.response_s):
                await is_there.wait()
            yield
        except TimeoutError:
            raise StoreUnavailable(self._link.error or "no response in time") from None
        finally:
            renewing.cancel()
            with contextlib.suppress(pgwatch.PgwatchError):
                await self._client.delete(name)

    async def nodes(self) -> Sequence[RegisteredNode]:
        """See `Store`."""
        found = await self._asked(reading.living(self._link, self._node_prefix))
        return [
            RegisteredNode(one.key.removeprefix(self._node_prefix), decoded(one.value, one.key))
            for one in found
        ]

    async def close(self) -> None:
        """See `Store`."""
        await super().close()
        if self._forwarding is not None:
            self._forwarding.cancel()
        await self._client.close()

    async def _asked(self, call: Awaitable[T]) -> T:
        """What PostgreSQL says, or why it says nothing."""
        try:
            result = await call
        except pgwatch.Unavailable as error:
            failure = StoreUnavailable(str(error))
        except pgwatch.NotInstalled as error:
            failure = StoreUnavailable(str(error))
            await self._link.forget()  # the next connection installs
        except asyncpg.InsufficientPrivilegeError as error:
            raise StoreReadOnly(str(error)) from None
        except asyncpg.PostgresError as error:
            failure = StoreUnavailable(f"{error.sqlstate}: {error}")
        else:
            self.is_well()
            return result
        self.is_ill(failure)
        raise failure

    def _name(self, key: Key) -> str:
        return f"{self._prefix}{key}"

    def _key(self, name: str) -> Key:
        return key_of(name.removeprefix(self._prefix), name)

    def _resources(self, items: pgwatch.Items) -> dict[Key, Resource]:
        found = {}
        for item in items.items:
            key = self._key(item.key)
            found[key] = Resource(key, decoded(item.value, item.key), item.modified)
        return found

    def _snapshot(self, items: pgwatch.Items) -> Snapshot:
        return Snapshot(_revision(items.position), MappingProxyType(self._resources(items)))


def _revision(position: pgwatch.Position) -> Revision:
    return Revision(position.epoch, position.revision, position.mark)
