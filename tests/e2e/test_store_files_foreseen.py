"""What a store that is a folder of files does ahead of a transaction and after it, beside what its author waits for."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headgate.stores import Key, Snapshot, Store, StoreConflict, Transaction, Write, open_store
from headgate.stores.files_folder import ConfigurationFolder

A, B = Key("routes", "a"), Key("upstreams", "b")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[Store]:
    async with open_store(f"files:{folder}") as opened:
        await opened.apply(Transaction((Write(A, {"v": 0}), Write(B, {"v": 0}))))
        yield opened


def transaction(known: Snapshot, *writes: Write) -> Transaction:
    return Transaction(
        writes, author="ann", expected_revision=known.revision, known=known, finishes_later=True
    )


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*.tmp")]


def note(patch: pytest.MonkeyPatch) -> list[str]:
    """The files that the disk is waited for."""
    synced: list[str] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real(descriptor)

    patch.setattr(os, "fsync", sync)
    return synced


async def test_an_entry_that_was_foreseen_is_on_the_disk_before_it_is_named(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = transaction(await store.load(), Write(A, {"v": 1}))
    synced = note(monkeypatch)
    store.foresee(asked)
    revision = await store.apply(asked)
    assert len(synced) == 2 and synced[0].startswith(".") and synced[1] == "history"
    entry = json.loads((folder / ".headgate/history/000000000002.json").read_text())
    assert (entry["author"], entry["revision"]) == ("ann", str(revision))
    await store.finished()
    assert json.loads((folder / "routes/a.json").read_text()) == {"v": 1}
    assert left(folder) == []


@pytest.mark.parametrize("changes", ["another transaction", "the revision", "nothing, but it was tidied up"])
async def test_an_entry_that_was_foreseen_in_vain_is_none(store: Store, folder: Path, changes: str) -> None:
    known = await store.load()
    first = transaction(known, Write(A, {"v": 1}))
    store.foresee(first)
    if changes == "another transaction":
        second = transaction(known, Write(B, {"v": 2}))
        await store.apply(second)
        assert (await store.history(limit=1))[0].edits[0].key == B
    elif changes == "the revision":
        await store.apply(Transaction((Write(B, {"v": 2}),)))
        with pytest.raises(StoreConflict):
            await store.apply(first)
    else:
        await store.load()  # after which it is there
        for path in (folder / ".headgate/history").glob(".*"):
            path.unlink()
        await store.apply(first)
        assert (await store.history(limit=1))[0].edits[0].after == {"v": 1}
    assert (await store.load()).revision.number == 2
    await store.close()
    assert left(folder) == []


async def test_whoever_died_before_the_files_had_their_names_has_lost_nothing(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await store.load()
    with monkeypatch.context() as patch:
        patch.setattr(ConfigurationFolder, "finish", lambda _: None)
        patch.setattr(ConfigurationFolder, "_settle", lambda _: None)
        dead = store._folder  # type: ignore[attr-defined]
        revision = await store.apply(transaction(known, Write(A, {"v": 1}), Write(B, {"v": 1})))
        assert json.loads((folder / "routes/a.json").read_text()) == {"v": 0}
        dead._held.close()  # as the system does when a process ends
    dead._rest, dead._held = [], None
    async with open_store(f"files:{folder}") as other:
        loaded = await other.load()
        assert loaded.revision == revision
        assert {key: one.document for key, one in loaded.resources.items()} == {A: {"v": 1}, B: {"v": 1}}
    assert json.loads((folder / "routes/a.json").read_text()) == {"v": 1}


async def test_others_wait_until_the_files_have_their_names(store: Store, folder: Path) -> None:
    """Another process can look at any moment: it finds the whole transaction, or waits for the lock."""
    known = await store.load()
    for number in range(1, 20):
        await store.apply(transaction(known, Write(A, {"v": number}), Write(B, {"v": number})))
        async with open_store(f"files:{folder}") as other:
            known = await other.load()
        assert {one.document["v"] for one in known.resources.values()} == {number}


async def test_a_file_that_cannot_be_replaced_any_more_is_what_counts(store: Store, folder: Path) -> None:
    known = await store.load()
    dead = store._folder  # type: ignore[attr-defined]
    dead.apply(transaction(known, Write(A, {"v": 1})))
    (folder / "routes/a.json").unlink()
    (folder / "routes/a.json").mkdir()
    assert (await store.load()).documents("routes") == {}
    assert [entry.author for entry in await store.history(limit=2)] == ["files", "ann"]
    assert left(folder) == []
