"""What holds for every store of configuration, each with its real server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headgate.stores import (
    Changes,
    Key,
    Resource,
    Revision,
    RevisionCompacted,
    Snapshot,
    Store,
    StoreConflict,
    StoreCorrupt,
    StoreUnavailable,
    Transaction,
    Update,
    Write,
)

from .kit.net import eventually
from .kit.store_memories import memory_of, restore, spoiled_memories, wipe
from .kit.stores import KINDS, NETWORKED, QUICK, Place, StoreServers


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    with servers.place(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=NETWORKED)
def cut_place(request: pytest.FixtureRequest, tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    """A place whose server can be away."""
    with servers.place(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with place.open() as opened:
        yield opened


A, B = Key("routes", "a"), Key("upstreams", "b/ü é.%2F")


def puts(*pairs: tuple[Key, Any], **options: Any) -> Transaction:
    return Transaction(tuple(Write(key, document) for key, document in pairs), **options)


def documents(snapshot: Snapshot) -> dict[Key, Any]:
    return {key: one.document for key, one in snapshot.resources.items()}


async def following(store: Store, since: Revision | None = None) -> AsyncIterator[Snapshot]:
    """The states that a watch leads through."""
    state = await store.load() if since is not None else Snapshot(Revision("", 0))
    async for update in store.watch(since):
        state = update if isinstance(update, Snapshot) else update.applied_to(state)
        yield state


async def until(states: AsyncIterator[Snapshot], wanted: dict[Key, Any]) -> Snapshot:
    """The first state with these documents."""
    async with asyncio.timeout(20):
        async for state in states:
            if documents(state) == wanted:
                return state
    raise AssertionError("the watch ended")


async def next_of(watch: AsyncIterator[Update]) -> Update:
    async with asyncio.timeout(20):
        return await anext(watch)


async def test_what_was_applied_is_loaded(store: Store, place: Place) -> None:
    assert (await store.load()).resources == {}
    first = await store.apply(puts((A, {"x": [1, None, "é\U0001f600"]}), (B, {})))
    async with place.open() as other:
        loaded = await other.load()
    assert documents(loaded) == {A: {"x": [1, None, "é\U0001f600"]}, B: {}}
    assert loaded.revision == first
    assert loaded.resources[A].revision == first.number


async def test_a_watch_of_the_writer_is_told_without_reading(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await store.apply(puts((A, {"v": 1})))
    is_read = asyncio.Event()

    async def nothing(_: Revision) -> Changes | None:
        is_read.set()
        return None

    monkeypatch.setattr(store, "changes_since", nothing)
    watch = store.watch(first)
    coming = asyncio.ensure_future(next_of(watch))
    await is_read.wait()
    state = await store.load()
    for number in (2, 3):
        transaction = puts((A, {"v": number}), expected_revision=state.revision, known=state)
        store.foresee(transaction)
        revision = await store.apply(transaction)
        update = await coming
        assert isinstance(update, Changes) and update.revision == revision
        state = update.applied_to(state)
        assert documents(state) == {A: {"v": number}}
        coming = asyncio.ensure_future(next_of(watch))
    coming.cancel()


@pytest.mark.parametrize("kind", NETWORKED)
async def test_a_write_whose_response_was_lost_reaches_the_watch_of_its_writer(
    kind: str, tmp_path: Path, servers: StoreServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.place(kind, tmp_path) as place:
        async with place.open() as store:
            states = following(store, await store.apply(puts((A, {"v": 1}))))
            name = "_write" if kind.startswith("postgres") else "commit"
            real = getattr(store, name)

            async def lost(*arguments: Any) -> None:
                await real(*arguments)
                raise StoreUnavailable("the response was lost")

            monkeypatch.setattr(store, name, lost)
            coming = asyncio.ensure_future(until(states, {A: {"v": 2}}))
            with pytest.raises(StoreUnavailable):
                await store.apply(puts((A, {"v": 2})))
            await coming


async def test_revisions_count_up_by_transactions_and_deleted_is_gone(store: Store) -> None:
    first = await store.apply(puts((A, {"v": 1}), (B, {"v": 1})))
    second = await store.apply(puts((A, None)))
    assert (second.number, second.epoch) == (first.number + 1, first.epoch)
    loaded = await store.load()
    assert documents(loaded) == {B: {"v": 1}}
    assert loaded.resources[B].revision == first.number


async def test_a_transaction_that_changes_nothing_makes_no_revision(store: Store) -> None:
    first = await store.apply(puts((A, {"x": 1, "y": 2})))
    assert await store.apply(puts((A, {"y": 2, "x": 1}), (B, None))) == first
    assert len(await store.history()) == 1


async def test_expectations_of_keys_and_of_the_whole_hold_or_nothing_is_done(store: Store) -> None:
    first = await store.apply(puts((A, {"v": 1})))
    second = await store.apply(puts((A, {"v": 2}), expected={A: first.number}))
    with pytest.raises(StoreConflict) as refused:
        await store.apply(puts((B, {}), (A, {"v": 3}), expected={A: first.number}))
    assert (refused.value.key, refused.value.expected, refused.value.found) == (
        A,
        first.number,
        second.number,
    )
    with pytest.raises(StoreConflict):
        await store.apply(puts((A, {"v": 3}), expected={A: None}))
    with pytest.raises(StoreConflict):  # of a key that is not written
        await store.apply(puts((A, {"v": 3}), expected={B: first.number}))
    with pytest.raises(StoreConflict):
        await store.apply(puts((A, {"v": 3}), expected_revision=first))
    assert documents(await store.load()) == {A: {"v": 2}}
    third = await store.apply(puts((B, {}), expected={B: None}, expected_revision=second))
    assert third.number == second.number + 1


async def test_the_same_transaction_again_is_done_once(store: Store) -> None:
    twice = puts((A, {"v": 1}))
    first = await store.apply(twice)
    await store.apply(puts((A, {"v": 2})))
    assert await store.apply(twice) == first
    assert documents(await store.load()) == {A: {"v": 2}}


async def test_a_writer_that_says_what_it_holds_is_refused_once_somebody_else_has_written(
    store: Store, place: Place
) -> None:
    await store.apply(puts((A, {"v": 1}), (B, {"v": 1})))
    held = await store.load()
    second = await store.apply(puts((A, {"v": 2}), expected_revision=held.revision, known=held))
    after = held.changed(second, {A: Resource(A, {"v": 2}, second.number)})
    async with place.open() as other:
        third = await other.apply(puts((A, {"v": 3})))
    with pytest.raises(StoreConflict):
        await store.apply(puts((A, {"v": 4}), (B, None), expected_revision=second, known=after))
    held = await store.load()
    assert (held.revision, documents(held)) == (third, {A: {"v": 3}, B: {"v": 1}})
    unchanged = puts((B, {"v": 1}), expected_revision=third, known=held)
    assert await store.apply(unchanged) == third
    removed = puts((B, None), expected_revision=third, known=held)
    fourth = await store.apply(removed)
    assert await store.apply(removed) == fourth
    edits = [(edit.key, edit.before, edit.after) for edit in (await store.history())[0].edits]
    assert edits == [(B, {"v": 1}, None)]
    assert documents(await store.at(third.number)) == documents(held)


async def test_what_was_foreseen_is_written_as_it_is_asked_for_or_not_at_all(
    store: Store, place: Place
) -> None:
    await store.apply(puts((A, {"v": 1})))
    held = await store.load()
    first = puts((A, {"v": 2}), (B, {"v": 1}), expected_revision=held.revision, known=held)
    await foreseen(store, first)
    second = await store.apply(first)
    held = await store.load()
    assert (held.revision, documents(held)) == (second, {A: {"v": 2}, B: {"v": 1}})
    asked = puts((A, {"v": 3}), expected_revision=second, known=held)
    await foreseen(store, asked)
    other = puts((A, {"v": 4}), expected_revision=second, known=held)  # and not what was foreseen
    third = await store.apply(other)
    with pytest.raises(StoreConflict):
        await store.apply(asked)
    held = await store.load()
    assert (held.revision, documents(held)) == (third, {A: {"v": 4}, B: {"v": 1}})
    asked = puts((A, None), expected_revision=third, known=held)
    await foreseen(store, asked)
    async with place.open() as stranger:
        fourth = await stranger.apply(puts((A, {"v": 5})))
    with pytest.raises(StoreConflict):
        await store.apply(asked)
    held = await store.load()
    assert (held.revision, documents(held)) == (fourth, {A: {"v": 5}, B: {"v": 1}})
    assert [entry.revision for entry in await store.history(limit=3)] == [fourth, third, second]


async def test_history_tells_who_why_and_what_was_before(store: Store) -> None:
    await store.apply(puts((A, {"v": 1}), author="ann", note="first"))
    await store.apply(puts((A, {"v": 2}), (B, {"v": 1}), author="bob"))
    await store.apply(puts((B, None), author="eve"))
    entries = await store.history()
    assert [entry.author for entry in entries] == ["eve", "bob", "ann"]
    assert entries[2].note == "first"
    assert {(edit.key, str(edit.before), str(edit.after)) for edit in entries[1].edits} == {
        (A, "{'v': 1}", "{'v': 2}"),
        (B, "None", "{'v': 1}"),
    }
    assert entries[0].at >= entries[2].at
    assert [entry.author for entry in await store.history(key=A)] == ["bob", "ann"]
    assert [entry.author for entry in await store.history(limit=1, before=entries[0].revision.number)] == [
        "bob"
    ]


async def test_every_revision_can_be_had_again(store: Store) -> None:
    first = await store.apply(puts((A, {"v": 1}), (B, {"v": 1})))
    second = await store.apply(puts((A, {"v": 2}), (B, None)))
    await store.apply(puts((A, None), (B, {"v": 3})))
    then = await store.at(first.number)
    assert (documents(then), then.revision) == ({A: {"v": 1}, B: {"v": 1}}, first)
    assert then.resources[A].revision == first.number
    assert documents(await store.at(second.number)) == {A: {"v": 2}}
    assert documents(await store.at(0)) == {}
    with pytest.raises(LookupError):
        await store.at(second.number + 2)


async def test_compaction_keeps_the_newest_and_says_what_it_forgot(store: Store) -> None:
    numbers = [(await store.apply(puts((A, {"v": v})))).number for v in range(5)]
    assert await store.compact(older_than=timedelta(hours=1)) == 0
    assert await store.compact(keep=2) == numbers[-2]
    assert documents(await store.at(numbers[-2])) == {A: {"v": 3}}
    with pytest.raises(RevisionCompacted) as refused:
        await store.at(numbers[0])
    assert refused.value.oldest == numbers[-2]
    assert [entry.revision.number for entry in await store.history()] == numbers[:2:-1]
    assert await store.compact(older_than=timedelta(0)) == numbers[-1]
    assert documents(await store.load()) == {A: {"v": 4}}


async def test_a_watch_begins_with_everything_and_goes_on_with_what_another_node_writes(
    store: Store, place: Place
) -> None:
    await store.apply(puts((A, {"v": 1})))
    watch = store.watch()
    assert documents(await next_of(watch)) == {A: {"v": 1}}  # type: ignore[arg-type]
    async with place.open() as other:
        revision = await other.apply(puts((B, {"v": 2}), (A, None)))
        update = await next_of(watch)
        assert isinstance(update, Changes)
        assert update.revision == revision
        assert {change.key: change.document for change in update.changes} == {A: None, B: {"v": 2}}


async def test_a_watch_resumes_after_the_revision_it_knew(store: Store, place: Place) -> None:
    first = await store.apply(puts((A, {"v": 1})))
    second = await store.apply(puts((A, {"v": 2})))
    async with place.open() as other:
        update = await next_of(other.watch(first))
    assert isinstance(update, Changes)
    assert (update.revision, update.changes[0].document) == (second, {"v": 2})


@pytest.mark.parametrize("lost", ["compacted", "epoch", "mark", "beyond"])
async def test_a_watch_that_cannot_resume_begins_anew(store: Store, lost: str) -> None:
    first = await store.apply(puts((A, {"v": 1})))
    newest = [await store.apply(puts((A, {"v": v}))) for v in range(2, 5)][-1]
    since = {
        "compacted": first,
        "epoch": Revision("other", newest.number, newest.mark),
        "mark": Revision(newest.epoch, first.number, "other"),
        "beyond": Revision(newest.epoch, newest.number + 5, "later"),
    }[lost]
    if lost == "compacted":
        await store.compact(keep=1)
    update = await next_of(store.watch(since))
    assert isinstance(update, Snapshot)
    assert (update.revision, documents(update)) == (newest, {A: {"v": 4}})


async def test_two_writers_at_once_lose_nothing(store: Store, place: Place) -> None:
    states = following(store)
    await anext(states)

    async def write(writer: int) -> None:
        async with place.open() as other:
            for number in range(15):
                await other.apply(puts((Key("routes", f"{writer}-{number}"), {"n": number})))

    await asyncio.gather(write(1), write(2))
    wanted = {Key("routes", f"{w}-{n}"): {"n": n} for w in (1, 2) for n in range(15)}
    final = await until(states, wanted)
    assert final.revision.number == 30
    assert len({entry.revision.number for entry in await store.history()}) == 30


async def test_a_counter_of_two_writers_with_expectations_counts_every_one(
    store: Store, place: Place
) -> None:
    await store.apply(puts((A, {"count": 0})))

    async def count(times: int) -> None:
        async with place.open() as other:
            while times:
                found = (await other.load()).resources[A]
                try:
                    expected = {A: found.revision}
                    await other.apply(puts((A, {"count": found.document["count"] + 1}), expected=expected))
                    times -= 1
                except StoreConflict:
                    pass

    await asyncio.gather(count(8), count(8))
    assert documents(await store.load()) == {A: {"count": 16}}


async def test_a_slow_consumer_gets_whole_revisions_and_the_newest_state(store: Store) -> None:
    """Two keys always change together; no state between may be seen."""
    states = following(store)
    await anext(states)
    for number in range(20):
        await store.apply(puts((A, {"n": number}), (B, {"n": number})))
    seen = []
    async with asyncio.timeout(20):
        async for state in states:
            seen.append(documents(state))
            if seen[-1][A] == {"n": 19}:
                break
    assert all(one[A] == one[B] for one in seen)


async def test_ten_thousand_resources_are_one_revision(store: Store, place: Place) -> None:
    first = await store.apply(puts((A, {"v": 1})))
    watch = store.watch(first)
    many = {Key("routes", f"r{n}"): {"path": f"/{n}", "to": "u", "text": "x" * 200} for n in range(10_000)}
    revision = await store.apply(puts((A, None), *many.items()))
    update = await next_of(watch)
    assert update.revision == revision
    changed = update.changes if isinstance(update, Changes) else ()
    assert len(changed) == 10_001 or isinstance(update, Snapshot)
    async with place.open() as other:
        assert documents(await other.load()) == many
    later = await store.apply(puts((A, {"v": 2})))
    assert (await next_of(watch)).revision == later
    assert len((await store.at(revision.number)).resources) == 10_000


async def test_nodes_are_there_while_they_say_so(store: Store, place: Place) -> None:
    async with place.open() as other:
        async with other.announce("east-1", {"workers": 4}, ttl_s=5):
            async with store.announce("west-1", {}, ttl_s=5):
                assert [(node.name, dict(node.facts)) for node in await store.nodes()] == [
                    ("east-1", {"workers": 4}),
                    ("west-1", {}),
                ]
            assert [node.name for node in await store.nodes()] == ["east-1"]
    assert await store.nodes() == []


async def test_a_closed_store_ends_its_watches(store: Store) -> None:
    watch = store.watch()
    await next_of(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StopAsyncIteration):
        async with asyncio.timeout(10):
            await waiting


# What follows is of servers that can be away.


async def test_all_that_a_node_does_takes_one_connection_and_one_for_notifications(cut_place: Place) -> None:
    """Whatever the number of kinds, watches and calls."""
    patient = replace(
        QUICK, poll_s=60, keepalive_s=60, response_s=60
    )  # nothing is taken for dead on a busy machine
    async with cut_place.open(timing=patient) as store:
        watches = [store.watch() for _ in range(5)]
        for watch in watches:
            await next_of(watch)
        many = [
            Key(kind, f"n{n}") for kind in ("routes", "upstreams", "consumers", "plugins") for n in range(5)
        ]
        await asyncio.gather(*(store.apply(puts((key, {"v": 1}))) for key in many))
        await asyncio.gather(store.load(), store.history(), store.nodes(), store.at(3))
        await store.compact(keep=10)
        async with store.announce("east", {}):
            assert [node.name for node in await store.nodes()] == ["east"]
        hears_on_another = not cut_place.url.startswith("postgresql:")
        assert cut_place.proxy.accepted <= 1 + hears_on_another


async def test_a_cut_is_waited_out_and_nothing_is_lost(cut_place: Place) -> None:
    """Writes go on through another way; after the cut the watch has whole revisions, in order, each once."""
    async with cut_place.open() as store, cut_place.open(is_direct=True) as other:
        first = await other.apply(puts((A, {"n": 0}), (B, {"n": 0})))
        watch = store.watch(first)
        await other.apply(puts((A, {"n": 1}), (B, {"n": 1})))
        state = {A: {"n": 0}, B: {"n": 0}}
        state |= {change.key: change.document for change in (await next_changes(watch)).changes}
        waiting = asyncio.ensure_future(next_changes(watch))
        cut_place.proxy.cut()
        for number in range(2, 30):
            await other.apply(puts((A, {"n": number}), (B, {"n": number})))
        await asyncio.to_thread(eventually, lambda: not store.health.is_connected, "the cut is noticed")
        assert store.health.error
        with pytest.raises(StoreUnavailable):
            await store.load()
        cut_place.proxy.mend()
        newest = (await other.load()).revision
        update = await waiting
        seen = [update.revision.number]
        state |= {change.key: change.document for change in update.changes}
        while update.revision != newest:
            assert state[A] == state[B]
            update = await next_changes(watch)
            seen.append(update.revision.number)
            state |= {change.key: change.document for change in update.changes}
        assert state == {A: {"n": 29}, B: {"n": 29}}
        assert seen == sorted(set(seen))
        assert (await store.load()).revision == newest
        assert store.health.is_connected


async def test_a_half_open_connection_is_noticed_though_it_never_errs(cut_place: Place) -> None:
    timing = replace(QUICK, poll_s=60, response_s=0.5)
    async with cut_place.open(timing=timing) as store, cut_place.open(is_direct=True) as other:
        first = await other.apply(puts((A, {"n": 0})))
        watch = store.watch(first)
        await other.apply(puts((A, {"n": 1})))
        await next_changes(watch)
        waiting = asyncio.ensure_future(next_changes(watch))
        await asyncio.sleep(0)
        cut_place.proxy.swallow()
        newest = await other.apply(puts((A, {"n": 2})))
        assert (await waiting).revision == newest


async def test_a_compaction_during_a_cut_makes_the_watch_begin_anew(cut_place: Place) -> None:
    async with cut_place.open() as store, cut_place.open(is_direct=True) as other:
        await other.apply(puts((A, {"n": 0})))
        watch = store.watch()
        await next_of(watch)
        waiting = asyncio.ensure_future(next_of(watch))
        cut_place.proxy.cut()
        for number in range(1, 6):
            await other.apply(puts((A, {"n": number})))
        await other.apply(puts((B, {"n": 1})))
        await other.compact(keep=1)
        cut_place.proxy.mend()
        update = await waiting
        assert isinstance(update, Snapshot)
        assert documents(update) == {A: {"n": 5}, B: {"n": 1}}


async def test_a_server_that_is_killed_and_started_again_has_lost_nothing(cut_place: Place) -> None:
    async with cut_place.open() as store:
        first = await store.apply(puts((A, {"n": 0})))
        watch = store.watch(first)
        cut_place.server.kill()
        with pytest.raises(StoreUnavailable):
            await store.apply(puts((A, {"n": 1})))
        waiting = asyncio.ensure_future(next_changes(watch))
        cut_place.server.start()
        again = puts((A, {"n": 2}))
        revision = await applied(store, again)
        assert (await waiting).revision == revision
        assert await applied(store, again) == revision
        assert [entry.revision for entry in await store.history()] == [revision, first]


async def test_a_transaction_whose_response_was_lost_is_done_once(cut_place: Place) -> None:
    async with cut_place.open(timing=replace(QUICK, response_s=0.5)) as store:
        await store.apply(puts((A, {"n": 0})))
        once = puts((A, {"n": 1}))
        cut_place.proxy.swallow()
        with pytest.raises(StoreUnavailable):
            await store.apply(once)
        await applied(store, once)
        assert [entry.edits[0].after for entry in await store.history()] == [{"n": 1}, {"n": 0}]


async def test_garbage_is_told_and_what_was_known_goes_on_until_it_is_mended(cut_place: Place) -> None:
    async with cut_place.open() as store, cut_place.open(is_direct=True) as other:
        first = await other.apply(puts((A, {"n": 1})))
        watch = store.watch(first)
        waiting = asyncio.ensure_future(next_of(watch))
        good = await memory_of(cut_place)
        for spoiled in await spoiled_memories(cut_place, good):
            await restore(cut_place, spoiled)
            with pytest.raises(StoreCorrupt):
                await store.load()
            assert not waiting.done()
        await restore(cut_place, good)
        newest = await other.apply(puts((A, {"n": 2})))
        update = await waiting
        while update.revision != newest:  # a watch that begins anew may give what it knew once more
            assert isinstance(update, Snapshot) and update.revision.number < newest.number
            update = await next_of(watch)
        found = update.resources[A] if isinstance(update, Snapshot) else update.changes[0]
        assert found.document == {"n": 2}


async def test_a_store_that_went_back_and_counted_up_again_is_read_anew(cut_place: Place) -> None:
    """As when a replica that lagged was promoted: the numbers are the same, the history is another."""
    async with cut_place.open() as store, cut_place.open(is_direct=True) as other:
        await other.apply(puts((A, {"n": 1}), (B, {"n": 1})))
        old = await memory_of(cut_place)
        watch = store.watch()
        await next_of(watch)
        lost = await other.apply(puts((A, {"n": "lost"})))
        await next_of(watch)
        cut_place.proxy.cut()
        waiting = asyncio.ensure_future(next_of(watch))
        await restore(cut_place, old)
        for number in range(2, 5):
            newest = await other.apply(puts((B, {"n": number})))
        assert newest.number > lost.number
        cut_place.proxy.mend()
        update = await waiting
        assert isinstance(update, Snapshot)
        assert (update.revision, documents(update)) == (newest, {A: {"n": 1}, B: {"n": 4}})


async def test_a_store_that_was_wiped_is_not_believed_until_somebody_writes(cut_place: Place) -> None:
    async with cut_place.open() as store:
        await store.apply(puts((A, {"n": 1})))
        watch = store.watch()
        await next_of(watch)
        waiting = asyncio.ensure_future(next_of(watch))
        await wipe(cut_place)
        await asyncio.to_thread(
            eventually, lambda: "was it wiped" in store.health.error, "it is told", within=20
        )
        assert not waiting.done()
        async with cut_place.open(is_direct=True) as other:
            newest = await applied(other, puts((B, {"n": 2})))
        update = await waiting
        assert isinstance(update, Snapshot)
        assert (update.revision, documents(update)) == (newest, {B: {"n": 2}})


async def test_many_nodes_come_back_spread_over_time(cut_place: Place) -> None:
    """Forty nodes after a restart: no moment takes them all, and none tries twice at once."""
    timing = replace(QUICK, spread_s=2, longest_s=2, poll_s=60, keepalive_s=60)
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(cut_place.open(timing=timing)) for _ in range(40)]
        watches = [store.watch() for store in stores]
        await asyncio.gather(*(next_of(watch) for watch in watches))
        waiting = [asyncio.ensure_future(next_of(watch)) for watch in watches]
        await asyncio.sleep(0.3)  # until all have read that there is nothing new, and wait
        before = cut_place.proxy.accepted
        cut_place.proxy.drop()
        async with cut_place.open(is_direct=True) as other:
            await other.apply(puts((A, {"n": 1})))
        await asyncio.gather(*waiting)
        times = cut_place.proxy.times[before:]
        busiest = max(sum(start <= one < start + 0.2 for one in times) for start in times)
        assert busiest <= len(times) * 0.4


async def foreseen(store: Store, transaction: Transaction) -> None:
    """Says what will be written, and gives the store a turn of the loop to make it ready."""
    store.foresee(transaction)
    for _ in range(2):
        await asyncio.sleep(0)


async def applied(store: Store, transaction: Transaction) -> Revision:
    """Applies a transaction until the store is there."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.apply(transaction)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def next_changes(watch: AsyncIterator[Update]) -> Changes:
    update = await next_of(watch)
    assert isinstance(update, Changes)
    return update
