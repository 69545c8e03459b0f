"""Stores on servers of keys and values: a head, the resources, and a log with one record a revision.

How it works: the head says the newest revision; everything is written in one step of the server's that happens only
if the head is still the one that was read. So revisions are in the order of their numbers, whoever writes, and a
watch that was woken, late or never, reads the records after its position. The head also holds the newest marks, so
that a transaction which is sent again is not done again.
"""

import asyncio
import contextlib
import json
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from headgate.stores.base import (
    Changes,
    Entry,
    Key,
    Resource,
    Revision,
    Snapshot,
    Timing,
    Transaction,
    new_mark,
)
from headgate.stores.documents import decoded, key_of
from headgate.stores.errors import RevisionCompacted, StoreConflict, StoreCorrupt, StoreUnavailable
from headgate.stores.planning import Step, changes_by, oldest_kept, touches, undone
from headgate.stores.planning import planned as steps_of
from headgate.stores.records import RevisionRecord, changes_of
from headgate.stores.watching import HistoryGap, WatchedStore

MOST_RECORDS_AT_ONCE = 200
MOST_TRIES = 200
RECENT_MARKS = 64


@dataclass(frozen=True, slots=True)
class Head:
    """The newest revision of a store, the oldest that is kept, and where the resources are."""

    epoch: str
    number: int = 0
    mark: str = ""
    oldest: int = 0
    generation: str = "0"
    marks: dict[str, int] = field(default_factory=dict)

    @property
    def revision(self) -> Revision:
        """The newest revision."""
        return Revision(self.epoch, self.number, self.mark)

    def after(self, mark: str) -> "Head":
        """The head one revision later."""
        marks = {**self.marks, mark: self.number + 1}
        kept = dict(list(marks.items())[-RECENT_MARKS:])
        return replace(self, number=self.number + 1, mark=mark, marks=kept)

    def text(self) -> str:
        """As JSON."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def of_text(cls, text: str | bytes, where: str) -> "Head":
        """The head again; raises `StoreCorrupt`."""
        told = decoded(text, where)
        marks = told.get("marks")
        numbers = [
            told.get("number"),
            told.get("oldest"),
            *(marks.values() if isinstance(marks, dict) else [""]),
        ]
        texts = [told.get("epoch"), told.get("mark"), told.get("generation")]
        is_head = all(type(one) is int for one in numbers) and all(type(one) is str for one in texts)
        if not is_head or len(told) != 6:
            raise StoreCorrupt(f"`{where}` is not the head of a store")
        return cls(**told)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in one state: the head, what proves later that it has not moved, and resources."""

    head: Head
    proof: Any
    resources: dict[Key, Resource]


@dataclass(frozen=True, slots=True)
class Planned:
    """A revision that may be written after what was read."""

    transaction: Transaction
    reading: Reading
    head: Head
    record: RevisionRecord
    request: Any
    """What the server is to be asked for: see `LoggedStore.request`."""


class LoggedStore(WatchedStore):
    """See the module; the stores say how the four steps are done, and how the server tells of changes."""

    def __init__(self, url: str, timing: Timing) -> None:
        super().__init__(url, timing)
        self._listening: asyncio.Task[None] | None = None
        self._newest: tuple[Head, Any] | None = None
        """The head as it was last seen, and its proof."""
        self._foreseen: Planned | None = None
        self._own_mark = ""
        """Of the transaction that is being done here, or was done last: `apply` tells of it."""
        self._is_listening = asyncio.Event()
        """Set once changes are told, or that fails: then a watch asks by itself."""

    @abstractmethod
    async def listen_on(self) -> None:
        """Calls `wake` for each change until the store is closed, and sets `_is_listening`."""

    async def listen(self) -> None:
        """See `WatchedStore`."""
        if self._listening is None or self._listening.done():  # it ends by a fault of ours only
            self._listening = asyncio.create_task(self.listen_on())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.timing.response_s):
                await self._is_listening.wait()

    def is_own(self, mark: str) -> bool:
        """Whether the revision with a mark is one that `apply` tells the watches of."""
        return mark == self._own_mark

    async def close(self) -> None:
        """See `Store`."""
        await super().close()
        while self._listening is not None and not self._listening.done():
            self._listening.cancel()  # which a library may take for a time-out of its own
            await asyncio.wait([self._listening], timeout=0.05)

    @abstractmethod
    async def read(self, keys: Collection[Key] | None) -> Reading:
        """The head and some resources, or all, of one state."""

    @abstractmethod
    async def records(self, first: int, last: int) -> tuple[Head, list[RevisionRecord]]:
        """The head, and those records from `first` to `last` that are there, in order."""

    @abstractmethod
    def request(self, reading: Reading, head: Head, record: RevisionRecord) -> Any:
        """What `commit` asks the server for, made beforehand. Raises `ValueError` for what it cannot hold."""

    @abstractmethod
    async def commit(self, planned: Planned) -> bool:
        """Writes a revision if the head has not moved; whether it had not. The proof is of what the head holds, so
        one that was moved back and on again, as by a backup, has moved."""

    @abstractmethod
    async def forget(self, reading: Reading, head: Head) -> bool:
        """Writes a head with a higher `oldest`, if it has not moved, and removes the records below."""

    @staticmethod
    def first_head() -> str:
        """The head of an empty store, which is written by whoever comes first."""
        return Head(new_mark()).text()

    async def load(self) -> Snapshot:
        """See `Store`."""
        reading = await self.read(None)
        return Snapshot(reading.head.revision, MappingProxyType(reading.resources))

    async def changes_since(self, position: Revision) -> Changes | None:
        """See `WatchedStore`."""
        head, found = await self.records(position.number, position.number + MOST_RECORDS_AT_ONCE)
        if head.revision == position:
            return None
        known = found.pop(0) if found and found[0].number == position.number else None
        if position.number and (known is None or known.entry.revision != position):
            raise HistoryGap
        if position.epoch != head.epoch or not head.oldest <= position.number < head.number:
            raise HistoryGap
        expected = range(position.number + 1, min(head.number, position.number + MOST_RECORDS_AT_ONCE) + 1)
        if [one.number for one in found] != list(expected):
            raise HistoryGap
        return changes_of(found)

    async def apply(self, transaction: Transaction) -> Revision:
        """See `Store`."""
        self._own_mark = transaction.mark
        try:
            return await self._applied(transaction)
        except BaseException:
            self._own_mark = ""  # it may have been done all the same
            self.wake()
            raise

    def foresee(self, transaction: Transaction) -> None:
        """See `Store`: makes what is to be written once the author waits; the server decides whether it is right."""
        asyncio.get_running_loop().call_soon(self._foresee, transaction)

    def _foresee(self, transaction: Transaction) -> None:
        self._foreseen = None
        if known := self._known(transaction):
            with contextlib.suppress(StoreConflict, ValueError):  # which `apply` raises again
                self._foreseen = self._planned(transaction, known)

    async def _applied(self, transaction: Transaction) -> Revision:
        foreseen, self._foreseen = self._foreseen, None
        for number in range(MOST_TRIES):
            known = self._known(transaction) if number == 0 else None
            reading = known or await self.read(_keys_of(transaction))
            head = reading.head
            if (done := head.marks.get(transaction.mark)) is not None:
                self.wake()
                return Revision(head.epoch, done, transaction.mark)
            if foreseen and known and foreseen.transaction is transaction and foreseen.reading.head is head:
                planned: Planned | None = foreseen
            else:
                planned = self._planned(transaction, reading)
            if planned is None:
                return head.revision
            if await self.commit(planned):
                later = planned.head.revision
                self.made(head.revision, changes_by(later, planned.record.steps))
                return later
        raise StoreUnavailable("others write all the time")

    def _planned(self, transaction: Transaction, reading: Reading) -> Planned | None:
        """What a transaction comes to; None where it would change nothing. Raises `StoreConflict`, `ValueError`."""
        head = reading.head
        if not (steps := steps_of(transaction, head.revision, reading.resources.get)):
            return None
        later = head.after(transaction.mark)
        now = datetime.now(UTC)
        record = RevisionRecord.of(later.revision, now, transaction.author, transaction.note, steps)
        return Planned(transaction, reading, later, record, self.request(reading, later, record))

    def _known(self, transaction: Transaction) -> Reading | None:
        """What reading would give if nobody has written since, which the commit decides."""
        known = transaction.known
        if known is None or self._newest is None or known.revision != transaction.expected_revision:
            return None
        head, proof = self._newest
        if head.revision != known.revision:
            return None
        found = {key: known.resources.get(key) for key in _keys_of(transaction)}
        return Reading(head, proof, {key: one for key, one in found.items() if one})

    def _head_of(self, text: str | bytes, where: str) -> Head:
        """The head that was read, which is its own proof."""
        head = Head.of_text(text, where)
        self._newest = (head, text)
        return head

    async def history(
        self, *, limit: int = 100, before: int | None = None, key: Key | None = None
    ) -> Sequence[Entry]:
        """See `Store`."""
        head = (await self.read(())).head
        last = min(head.number, head.number if before is None else before - 1)
        found: list[Entry] = []
        while last >= max(head.oldest, 1) and len(found) < limit:
            first = max(last - MOST_RECORDS_AT_ONCE + 1, head.oldest, 1)
            _, records = await self.records(first, last)
            found += [one.entry for one in reversed(records) if touches(one.entry, key)]
            last = first - 1
        return found[:limit]

    async def at(self, number: int) -> Snapshot:
        """See `Store`."""
        reading = await self.read(None)
        head, resources, last = reading.head, reading.resources, reading.head.number
        if number > head.number:
            raise LookupError(f"there is no revision {number} yet\n  hint: the newest is {head.number}")
        if number < head.oldest:
            raise RevisionCompacted(number, head.oldest)
        mark = head.mark if number == head.number else ""
        while last > number:
            first = max(last - MOST_RECORDS_AT_ONCE + 1, number)
            now, records = await self.records(first, last)
            if len([one for one in records if one.number > number]) != last - max(first, number + 1) + 1:
                raise RevisionCompacted(number, now.oldest)
            newer = (one for one in reversed(records) if one.number > number)
            resources = undone(resources, (step for one in newer for step in one.steps))
            mark = records[0].entry.revision.mark if records[0].number == number else mark
            last = first if first == number else first - 1
        if number and not mark:
            _, records = await self.records(number, number)
            mark = records[0].entry.revision.mark if records else ""
        return Snapshot(Revision(head.epoch, number, mark), MappingProxyType(resources))

    async def compact(self, *, keep: int | None = None, older_than: timedelta | None = None) -> int:
        """See `Store`."""
        for _ in range(MOST_TRIES):
            reading = await self.read(())
            head = reading.head
            last_old = (
                None if older_than is None else await self._last_old(head, datetime.now(UTC) - older_than)
            )
            by_age = older_than is not None
            oldest = oldest_kept(head.number, head.oldest, keep=keep, last_old=last_old, by_age=by_age)
            if oldest == head.oldest or await self.forget(reading, replace(head, oldest=oldest)):
                return oldest
        raise StoreUnavailable("others write all the time")

    async def _last_old(self, head: Head, limit: datetime) -> int | None:
        """The number of the last record that is not younger than `limit`, by bisection."""
        low, high = max(head.oldest, 1), head.number + 1
        while low < high:
            middle = (low + high) // 2
            _, records = await self.records(middle, middle)
            if records and records[0].entry.at > limit:
                high = middle
            else:
                low = middle + 1
        return low - 1 if low > max(head.oldest, 1) else None


def _keys_of(transaction: Transaction) -> Collection[Key]:
    return {*(write.key for write in transaction.writes), *transaction.expected}


def resource_text(step: Step, number: int) -> str | None:
    """What a resource's key holds after a step; `None` for a deleted one."""
    after = step.edit.after
    return None if after is None else json.dumps({"revision": number, "document": after})


def resource_of(name: str, text: str | bytes) -> Resource:
    """A resource again; raises `StoreCorrupt`."""
    told = decoded(text, name)
    document, revision = told.get("document"), told.get("revision")
    if not isinstance(document, dict) or type(revision) is not int:
        raise StoreCorrupt(f"`{name}` does not hold a resource")
    return Resource(key_of(name, name), document, revision)


def record_of(where: str, text: str | bytes) -> RevisionRecord:
    """A record of the log; raises `StoreCorrupt`."""
    with contextlib.suppress(KeyError):
        return RevisionRecord.of_plain(decoded(text, where), where)
    raise StoreCorrupt(f"`{where}` is not a record")
