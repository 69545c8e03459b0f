"""Every store on a server, cut off for half a minute while others write: all of them in the same half minute."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.stores import Changes, Key, Snapshot, Store, Transaction, Update, Write

from .kit.stores import NETWORKED, Place, StoreServers

CUT_S = 30
RESOURCES = 10_000
A, B = Key("upstreams", "a"), Key("upstreams", "b")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


def pair(number: int, writer: int) -> Transaction:
    """Two resources that always change together, and one of the writer's own."""
    own = Write(Key("routes", f"of-writer-{writer}"), {"n": number})
    return Transaction((Write(A, {"n": number, "by": writer}), Write(B, {"n": number, "by": writer}), own))


async def written(place: Place, writer: int, until: float) -> int:
    """Writes through another way until a moment; gives how often."""
    count = 0
    async with place.open(is_direct=True) as store:
        while time.monotonic() < until:
            await store.apply(pair(count, writer))
            count += 1
            await asyncio.sleep(0.2)
    return count


async def followed(store: Store, first: Snapshot, ended: asyncio.Event, other: Store) -> list[Update]:
    """The updates from a state to the one that `other` has once the cut has ended; all are whole."""
    updates: list[Update] = []
    state = first
    async for update in store.watch(first.revision):
        assert ended.is_set(), "nothing comes through a cut"
        updates.append(update)
        state = update if isinstance(update, Snapshot) else update.applied_to(state)
        assert state.resources[A].document == state.resources[B].document
        if state == await other.load():
            break
    return updates


async def gone_through(place: Place, *, is_compacted: bool) -> None:
    """One store's half minute."""
    async with place.open() as store, place.open(is_direct=True) as other:
        many = (Write(Key("routes", f"r{n}"), {"path": f"/{n}", "to": "a"}) for n in range(RESOURCES))
        await other.apply(Transaction((Write(A, {"n": -1}), Write(B, {"n": -1}), *many)))
        first = await store.load()
        await asyncio.to_thread(place.proxy.cut)
        until = time.monotonic() + CUT_S
        known = asyncio.Event()
        following = asyncio.create_task(followed(store, first, known, other))
        writing = [asyncio.create_task(written(place, writer, until)) for writer in (1, 2)]
        counts = await asyncio.gather(*writing)
        assert not store.health.is_connected
        assert not following.done()
        if is_compacted:
            await other.compact(keep=3)
        known.set()
        place.proxy.mend()
        async with asyncio.timeout(60):
            updates = await following
        truth = await other.load()
        assert min(counts) > 10
        assert truth.revision.number == first.revision.number + sum(counts)
        if is_compacted:
            assert isinstance(updates[0], Snapshot)
            anew = first.changes_to(updates[0])
            assert len(anew.changes) == 4  # only what changed is built anew
        else:
            assert all(isinstance(update, Changes) for update in updates)
        numbers = [update.revision.number for update in updates]
        assert numbers == sorted(set(numbers))


@pytest.mark.slow
async def test_half_a_minute_of_cut_loses_nothing_with_and_without_compaction(
    tmp_path: Path, servers: StoreServers
) -> None:
    cases = [(kind, is_compacted) for kind in NETWORKED for is_compacted in (False, True)]
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(servers.place(kind, tmp_path)) for kind, _ in cases]
        async with asyncio.TaskGroup() as group:
            for place, (_, is_compacted) in zip(places, cases, strict=True):
                group.create_task(gone_through(place, is_compacted=is_compacted))
