"""What a snapshot becomes by changes, and which files wake a store's watch."""

import asyncio
import random
from pathlib import Path
from types import MappingProxyType

import pytest

from headgate.stores import Key, Resource, Revision, Snapshot, open_store
from headgate.stores.base import Change, Changes
from headgate.stores.layers import MOST_ON_TOP, Layers
from headgate.stores.watching import WatchedStore

FIRST, SECOND = Revision("e", 1, "a"), Revision("e", 2, "b")


def resource(name: str, path: str, revision: int) -> Resource:
    return Resource(Key("routes", name), {"path": path}, revision)


@pytest.mark.parametrize("table", [MappingProxyType, dict], ids=["frozen", "plain"])
def test_changes_make_another_snapshot_and_leave_the_first_as_it_was(table: type) -> None:
    one, two = resource("one", "/1", 1), resource("two", "/2", 1)
    before = Snapshot(FIRST, table({one.key: one, two.key: two}))
    told = (
        Change(one.key, None, 2),
        Change(two.key, {"path": "/new"}, 2),
        Change(Key("routes", "x"), None, 2),
    )
    after = Changes(SECOND, told).applied_to(before)
    assert after == Snapshot(SECOND, MappingProxyType({two.key: resource("two", "/new", 2)}))
    assert before.resources == {one.key: one, two.key: two}


def test_states_share_what_stays_and_each_is_what_a_table_of_its_own_would_be() -> None:
    choice = random.Random(5)
    keys = [Key("routes", f"r{number}") for number in range(200)]
    table = {key: resource(key.name, "/", 0) for key in keys[:100]}
    state = Snapshot(FIRST, MappingProxyType(dict(table)))
    states = []
    for number in range(300):
        some = choice.sample(keys, choice.randint(1, 5))
        changed = {
            key: None if choice.random() < 0.4 else resource(key.name, f"/{number}", number) for key in some
        }
        state = state.changed(SECOND, changed)
        table = {**table, **{key: one for key, one in changed.items() if one}}
        table = {key: one for key, one in table.items() if changed.get(key, one)}
        if number % 7 == 0:
            assert dict(state.resources.items()) == table
        states.append((state, table))
    for state, table in states:
        assert [state.resources.get(key) for key in keys] == [table.get(key) for key in keys]
        assert [key in state.resources for key in keys] == [key in table for key in keys]
        assert state.resources == table
        assert len(state.resources) == len(table)
        assert list(state.resources.values()) == [state.resources[key] for key in state.resources]
        assert {*state.resources} == state.resources.keys() == table.keys()


def test_a_change_copies_a_bounded_part_of_the_state() -> None:
    table = CountingTable({Key("routes", f"r{number}"): number for number in range(1000)})
    state: Layers[Key, int] = Layers(table, {})
    for number in range(MOST_ON_TOP + 50):
        state = state.changed({Key("routes", "same"): number, Key("routes", f"r{number % 20}"): None})
        assert state[Key("routes", "same")] == number
    assert table.copies == 0
    for number in range(MOST_ON_TOP * 3):
        state = state.changed({Key("routes", f"new{number}"): number})
    assert table.copies == 1
    assert len(state) == 1000 - 20 + 1 + MOST_ON_TOP * 3


class CountingTable(dict[Key, int]):
    def __init__(self, content: dict[Key, int]) -> None:
        super().__init__(content)
        self.copies = 0

    def copy(self) -> dict[Key, int]:
        self.copies += 1
        return super().copy()


@pytest.mark.parametrize(
    ("names", "wakes"),
    [(["last-good.json"], 0), (["config.db-wal", "last-good.json"], 1), (["config.db"], 1), (None, 1)],
)
def test_only_its_own_files_wake_the_watch_of_sqlite(
    tmp_path: Path, names: list[str] | None, wakes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = []
    monkeypatch.setattr(WatchedStore, "wake", lambda store: woken.append(store))

    async def main() -> None:
        async with open_store(f"sqlite://{tmp_path}/config.db") as store:
            store._on_events(None if names is None else {tmp_path / name for name in names})  # type: ignore[attr-defined]
            assert len(woken) == wakes

    asyncio.run(main())
