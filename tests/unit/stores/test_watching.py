"""The watch that all stores share: what was made here is not read again, and nothing of others is missed for it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headgate.stores import Change, Changes, Key, Revision, Snapshot
from headgate.stores.base import Timing, Update
from headgate.stores.watching import WatchedStore

KEY = Key("routes", "r")


def revision(number: int) -> Revision:
    return Revision("epoch", number, f"mark-{number}")


def changes(number: int) -> Changes:
    return Changes(revision(number), (Change(KEY, {"v": number}, number),))


class Numbers(WatchedStore):
    """A store of revisions in memory, which counts how often it is asked for changes."""

    def __init__(self) -> None:
        super().__init__("numbers:", Timing(poll_s=3600))
        self.head = 0
        self.reads = 0

    async def load(self) -> Snapshot:
        return Snapshot(revision(self.head))

    async def listen(self) -> None:
        pass

    async def changes_since(self, position: Revision) -> Changes | None:
        self.reads += 1
        await asyncio.sleep(0)
        return changes(position.number + 1) if position.number < self.head else None

    def write(self, *, is_own: bool) -> None:
        before, self.head = revision(self.head), self.head + 1
        if is_own:
            self.made(before, changes(self.head))
        else:
            self.wake()


async def number_of(updates: AsyncIterator[Update]) -> int:
    async with asyncio.timeout(10):
        return (await anext(updates)).revision.number


async def at_rest(store: Numbers) -> AsyncIterator[Update]:
    """A watch that has read all there is, and waits."""
    updates = store.watch(revision(0))
    store.write(is_own=False)
    assert await number_of(updates) == 1
    store.reads = 0
    return updates


@pytest.mark.asyncio
async def test_a_revision_that_was_made_here_is_not_read() -> None:
    async with Numbers() as store:
        updates = await at_rest(store)
        for number in range(2, 6):
            coming = asyncio.ensure_future(number_of(updates))
            for _ in range(10):  # it has read all there is, and waits
                await asyncio.sleep(0)
            reads = store.reads
            store.write(is_own=True)
            assert (await coming, store.reads) == (number, reads)
        assert reads == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("order", [[True, False], [False, True], [True, False, True, False], [False, False]])
async def test_what_others_write_meanwhile_is_not_missed(order: list[bool]) -> None:
    async with Numbers() as store:
        updates = await at_rest(store)

        def write_all() -> None:
            for is_own in order:
                store.write(is_own=is_own)

        asyncio.get_running_loop().call_soon(write_all)
        assert [await number_of(updates) for _ in order] == list(range(2, 2 + len(order)))


@pytest.mark.asyncio
async def test_a_consumer_that_comes_late_gets_each_revision_once() -> None:
    async with Numbers() as store:
        updates = await at_rest(store)
        for _ in range(200):  # more than are remembered
            store.write(is_own=True)
        assert [await number_of(updates) for _ in range(200)] == list(range(2, 202))


@pytest.mark.asyncio
async def test_what_came_between_the_watch_and_what_was_made_here_is_read() -> None:
    async with Numbers() as store:
        updates = await at_rest(store)
        coming = asyncio.ensure_future(number_of(updates))
        for _ in range(10):
            await asyncio.sleep(0)
        store.head += 1  # somebody else's, of which nothing was told
        store.write(is_own=True)
        assert (await coming, await number_of(updates)) == (2, 3)


@pytest.mark.asyncio
async def test_an_outage_is_logged_once_however_often_the_store_is_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Numbers() as store:
        for _ in range(1000):
            store.is_ill(ConnectionError("refused"))
        store.is_ill(ConnectionError("authentication failed"))  # which is news
        store.is_ill(ConnectionError("authentication failed"))
        store.is_well()
        store.is_well()
        store.is_ill(ConnectionError("refused"))
    told = [getattr(record, "error", None) for record in caplog.records]
    assert told == ["refused", "authentication failed"]  # the first one again within a minute is no news
