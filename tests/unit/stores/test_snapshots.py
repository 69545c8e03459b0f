"""What a snapshot becomes by changes, and which files wake a store's watch."""

import asyncio
from pathlib import Path
from types import MappingProxyType

import pytest

from headgate.stores import Key, Resource, Revision, Snapshot, open_store
from headgate.stores.base import Change, Changes
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
