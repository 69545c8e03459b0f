"""What is special about the store that is a folder of files: others change it, with editors, links and renames."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.stores import (
    Key,
    Snapshot,
    Store,
    StoreCorrupt,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    Update,
    Write,
    open_store,
)
from headgate.stores.files_folder import ConfigurationFolder
from headgate.stores.inotify import FolderEvents

from .kit.net import eventually
from .kit.stores import QUICK

A, B = Key("routes", "a"), Key("upstreams", "b")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "conf.d"
    (made / "routes").mkdir(parents=True)
    return made


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[Store]:
    async with open_store(f"files:{folder}", timing=replace(QUICK, poll_s=60)) as opened:
        yield opened


async def next_of(watch: AsyncIterator[Update]) -> Update:
    async with asyncio.timeout(20):
        return await anext(watch)


def changed(update: Update) -> dict[Key, object]:
    assert not isinstance(update, Snapshot)
    return {change.key: change.document for change in update.changes}


async def test_all_formats_and_bundles_are_read(store: Store, folder: Path) -> None:
    (folder / "routes/a.yaml").write_text("path: /a  # here\n")
    (folder / "routes/b.toml").write_text("path = '/b'\n")
    (folder / "routes/c%2Fd.json").write_text('{"path": "/c"}')
    (folder / "all.yaml").write_text("upstreams: {u: {servers: [x]}}\nroutes: [{name: e, path: /e}]\n")
    (folder / "routes/a.yaml~").write_text("old")
    (folder / "routes/.a.yaml.swp").write_text("swap")
    (folder / "README").write_text("read me")
    loaded = await store.load()
    assert loaded.documents("routes") == {
        "a": {"path": "/a"},
        "b": {"path": "/b"},
        "c/d": {"path": "/c"},
        "e": {"path": "/e"},
    }
    assert loaded.documents("upstreams") == {"u": {"servers": ["x"]}}


async def test_what_others_change_is_a_revision_of_their_own(store: Store, folder: Path) -> None:
    watch = store.watch()
    await next_of(watch)
    (folder / "routes/a.yaml").write_text("v: 1\n")
    assert changed(await next_of(watch)) == {A: {"v": 1}}
    (entry,) = await store.history()
    assert (entry.author, entry.note) == ("files", "changed on disk: routes/a")


async def test_an_editor_that_renames_never_makes_a_resource_vanish(store: Store, folder: Path) -> None:
    """As vim does it with `backupcopy=no`: the file is away for a moment."""
    path = folder / "routes/a.yaml"
    path.write_text("v: 1\n")
    watch = store.watch()
    await next_of(watch)
    path.rename(folder / "routes/a.yaml~")
    await asyncio.sleep(0.05)  # longer than a folder must be at rest, shorter than a loss must last
    path.write_text("v: 2\n")
    assert changed(await next_of(watch)) == {A: {"v": 2}}


async def test_a_file_removed_for_good_is_a_resource_deleted(store: Store, folder: Path) -> None:
    (folder / "routes/a.yaml").write_text("v: 1\n")
    watch = store.watch()
    await next_of(watch)
    (folder / "routes/a.yaml").unlink()
    assert changed(await next_of(watch)) == {A: None}


async def test_a_config_map_that_is_swapped_is_one_revision(store: Store, folder: Path) -> None:
    """Kubernetes' layout: the files are links through `..data`, which is replaced by renaming."""
    for version in (1, 2):
        (folder / f"..v{version}").mkdir()
        for name in ("one", "two"):
            bundle = {"routes": {name: {"version": version}}}
            (folder / f"..v{version}/{name}.json").write_text(json.dumps(bundle))
    (folder / "..data").symlink_to("..v1")
    for name in ("one", "two"):
        (folder / f"{name}.json").symlink_to(f"..data/{name}.json")
    watch = store.watch()
    first = await next_of(watch)
    assert isinstance(first, Snapshot)
    assert first.documents("routes") == {"one": {"version": 1}, "two": {"version": 1}}
    (folder / "..new").symlink_to("..v2")
    (folder / "..new").rename(folder / "..data")
    update = changed(await next_of(watch))
    assert update == {Key("routes", "one"): {"version": 2}, Key("routes", "two"): {"version": 2}}


async def test_a_folder_without_events_is_polled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderEvents, "watch", lambda *_: None)
    async with open_store(f"files:{folder}", timing=replace(QUICK, poll_s=0.05)) as store:
        watch = store.watch()
        await next_of(watch)
        (folder / "routes/a.yaml").write_text("v: 1\n")
        assert changed(await next_of(watch)) == {A: {"v": 1}}


async def test_a_file_that_cannot_be_read_is_told_with_its_line_and_the_watch_goes_on_when_it_is_mended(
    store: Store, folder: Path
) -> None:
    watch = store.watch()
    await next_of(watch)
    (folder / "routes/a.yaml").write_text("v: [1\n")
    waiting = asyncio.ensure_future(next_of(watch))
    await asyncio.to_thread(eventually, lambda: "a.yaml:" in store.health.error, "the error is told")
    (folder / "routes/a.yaml").write_text("v: [1]\n")
    assert changed(await waiting) == {A: {"v": [1]}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("upstreams: 5", "is not a table"),
        ("routes: {a: 5}", "`routes/a` is not a table"),
        ("Routes: {a: {}}", "not a valid kind"),
        ("routes: [{name: a}, {name: a}]", "not a table of resources"),
        ("routes: {twin: {}}", "twin.yaml"),
    ],
)
async def test_a_bundle_that_is_none_is_refused(store: Store, folder: Path, content: str, told: str) -> None:
    (folder / "routes/twin.yaml").write_text("{}")
    (folder / "all.yaml").write_text(content)
    with pytest.raises(StoreCorrupt, match=told):
        await store.load()


async def test_files_are_written_in_the_format_they_have(store: Store, folder: Path) -> None:
    path = folder / "routes/a.yaml"
    path.write_text("v: 1\n")
    path.chmod(0o640)
    odd = {"on": "yes", "time": "1e3", "octal": "0o17", "text": "é: #"}
    await store.apply(Transaction((Write(A, odd), Write(B, {"v": 2}))))
    assert path.stat().st_mode & 0o777 == 0o640
    assert json.loads((folder / "upstreams/b.json").read_text()) == {"v": 2}
    async with open_store(f"files:{folder}") as other:
        assert (await other.load()).documents("routes") == {"a": odd}
        assert len(await other.history()) == 2


async def test_a_resource_in_a_file_of_many_is_not_written(store: Store, folder: Path) -> None:
    (folder / "all.yaml").write_text("routes: {a: {v: 1}}  # with a comment\n")
    (folder / "routes/t.toml").write_text("v = 1\n")
    for key in (A, Key("routes", "t")):
        with pytest.raises(StoreReadOnly, match="by hand"):
            await store.apply(Transaction((Write(B, {}), Write(key, {"v": 2}))))
    assert not (folder / "upstreams").exists()
    with pytest.raises(StoreReadOnly, match="too long"):
        await store.apply(Transaction((Write(Key("routes", "x" * 253), {}),)))


class Killed(BaseException):
    """The process ends here."""


def die(*_: object, **__: object) -> None:
    raise Killed


def dies_before_the_head(patch: pytest.MonkeyPatch) -> None:
    """Whatever is applied from now on is in the history and the files, and never settled."""
    patch.setattr(ConfigurationFolder, "_settle", lambda _: None)


async def kept(folder: Path) -> dict[Key, object]:
    async with open_store(f"files:{folder}") as store:
        return {key: one.document for key, one in (await store.load()).resources.items()}


@pytest.mark.parametrize("stage", ["before the files", "before the head"])
async def test_a_transaction_that_was_killed_in_the_middle_is_ended_by_the_next(
    folder: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "routes/a.yaml").write_text("v: 0\n")
    transaction = Transaction((Write(A, {"v": 1}), Write(B, {"v": 1})), author="ann")
    with monkeypatch.context() as patch:
        async with open_store(f"files:{folder}") as store:
            await store.load()
            if stage == "before the files":
                patch.setattr(ConfigurationFolder, "_write", die)
                with pytest.raises(Killed):
                    await store.apply(transaction)
            else:  # when it cannot be lost any more, so its author need not wait for the head
                dies_before_the_head(patch)
                assert (await store.apply(transaction)).number == 2
    async with open_store(f"files:{folder}") as store:
        loaded = await store.load()
        assert {key: one.document for key, one in loaded.resources.items()} == {A: {"v": 1}, B: {"v": 1}}
        assert [entry.author for entry in await store.history()] == ["ann", "files"]
    assert (folder / "routes/a.yaml").read_text() == "v: 1\n"
    assert not (folder / "routes/a.json").exists()


async def test_many_transactions_that_nobody_has_settled_are_ended_in_their_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        dies_before_the_head(patch)
        async with open_store(f"files:{folder}") as store:
            for number in range(1, 100):  # more than are left unsettled
                await store.apply(Transaction((Write(A, {"v": number}), Write(B, {"v": number}))))
            last = await store.apply(Transaction((Write(B, None),)))
            assert (await store.load()).revision == last
    (folder / "routes/a.json").write_bytes(b"")  # the power went before it was on the disk
    assert await kept(folder) == {A: {"v": 99}}
    async with open_store(f"files:{folder}") as store:
        assert (await store.load()).revision == last
        assert (await store.at(50)).documents("upstreams") == {"b": {"v": 50}}
    assert json.loads((folder / "routes/a.json").read_text()) == {"v": 99}
    assert not (folder / "upstreams/b.json").exists()


async def test_what_was_changed_by_hand_after_a_write_stays_though_its_process_died(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        dies_before_the_head(patch)
        async with open_store(f"files:{folder}") as store:
            await store.apply(Transaction((Write(A, {"v": 1}), Write(B, {"v": 1}))))
    (folder / "routes/a.json").write_text('{"v": "by hand"}')
    assert await kept(folder) == {A: {"v": "by hand"}, B: {"v": 1}}
    assert json.loads((folder / "routes/a.json").read_text()) == {"v": "by hand"}


async def test_another_process_ends_what_a_living_one_has_not_settled(store: Store, folder: Path) -> None:
    watch = store.watch()
    await next_of(watch)
    first = await store.apply(Transaction((Write(A, {"v": 1}),)))
    async with open_store(f"files:{folder}", timing=QUICK) as other:
        assert (await other.load()).revision == first
        second = await other.apply(Transaction((Write(A, {"v": 2}),)))
    assert (second.epoch, second.number) == (first.epoch, 2)
    third = await store.apply(Transaction((Write(B, {"v": 3}),), expected_revision=second))
    assert third.number == 3
    seen = [await next_of(watch)]
    while seen[-1].revision != third:
        seen.append(await next_of(watch))
    numbers = [update.revision.number for update in seen]
    assert numbers == sorted(set(numbers))
    assert (await store.load()).revision == third
    assert [entry.revision.number for entry in await store.history()] == [3, 2, 1]


async def test_a_transaction_whose_entry_is_not_whole_was_never_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("headgate.stores.files_history.write_new_file", cut)
        async with open_store(f"files:{folder}") as store:
            with pytest.raises(Killed):
                await store.apply(Transaction((Write(A, {"v": 1}),)))
    async with open_store(f"files:{folder}") as store:
        assert not (await store.load()).resources and not await store.history()
        assert (await store.apply(Transaction((Write(A, {"v": 2}),)))).number == 1
    assert json.loads((folder / "routes/a.json").read_text()) == {"v": 2}


async def test_what_is_acknowledged_is_in_the_history_on_disk_and_the_head_follows_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real(descriptor)

    async with open_store(f"files:{folder}") as store:
        await store.apply(Transaction((Write(A, {"v": 1}),)))
        monkeypatch.setattr(os, "fsync", note)
        await store.apply(Transaction((Write(A, {"v": 2}),)))
        await store.apply(Transaction((Write(A, {"v": 3}),)))
        entries = ["000000000002.json", "history", "000000000003.json", "history"]
        assert synced == entries  # and no more: the rest is for all of them together
        head = folder / ".headgate/head.json"
        await asyncio.to_thread(
            eventually, lambda: json.loads(head.read_text())["number"] == 3, "it is the head"
        )
        await asyncio.to_thread(eventually, lambda: len(synced) >= 8, "its name is on the disk, too")
        assert synced[4:6] == ["a.json", "routes"]
        assert synced[-1] == ".headgate"
        assert len(synced) == 8


async def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "routes/a.yaml").write_text("v: 1\n")
    make = Path.mkdir

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        if path.is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        make(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)
    async with open_store(f"files:{folder}", timing=QUICK) as store:
        watch = store.watch()
        await next_of(watch)
        (folder / "routes/a.yaml").write_text("v: 2\n")
        assert changed(await next_of(watch)) == {A: {"v": 2}}
        with pytest.raises(StoreReadOnly):
            await store.apply(Transaction((Write(A, {}),)))
        history = store._folder._history.folder  # type: ignore[attr-defined]
        assert history.exists()
    assert [path.name for path in folder.iterdir()] == ["routes"]
    assert not history.exists()


async def test_a_folder_that_is_unmounted_deletes_nothing(store: Store, folder: Path) -> None:
    (folder / "routes/a.yaml").write_text("v: 1\n")
    await store.load()
    folder.rename(folder.parent / "away")
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await store.load()
    folder.mkdir()
    with pytest.raises(StoreUnavailable, match="is it mounted"):
        await store.load()
    folder.rmdir()
    (folder.parent / "away").rename(folder)
    assert (await store.load()).documents("routes") == {"a": {"v": 1}}


async def test_a_history_that_was_removed_begins_anew_under_another_epoch(store: Store, folder: Path) -> None:
    first = await store.apply(Transaction((Write(A, {"v": 1}),)))
    (folder / ".headgate/head.json").unlink()
    update = await next_of(store.watch(first))
    assert isinstance(update, Snapshot)
    assert update.revision.epoch != first.epoch
    assert update.documents("routes") == {"a": {"v": 1}}


@pytest.mark.parametrize("in_the_way", ["a dead link", "a folder", "a file for the folder"])
async def test_what_cannot_be_written_is_refused_and_leaves_the_store_as_it_was(
    folder: Path, in_the_way: str
) -> None:
    (folder / "routes").rmdir()
    (folder / "upstreams").mkdir()
    (folder / "upstreams/b.yaml").write_text("servers: [x]  # by hand\n")
    if in_the_way == "a file for the folder":
        (folder / "routes").write_text("notes")
    elif in_the_way == "a folder":
        (folder / "routes/a.json").mkdir(parents=True)
    else:
        (folder / "routes").mkdir()
        (folder / "routes/a.json").symlink_to("/nowhere/at/all/a.json")
    writes = (Write(Key("consumers", "c"), {}), Write(B, {"servers": ["y"]}), Write(A, {"path": "/"}))
    async with open_store(f"files:{folder}") as store:
        before = await store.load()
        with pytest.raises(StoreReadOnly, match=r"routes/a\.json` cannot be written") as refused:
            await store.apply(Transaction(writes))
        assert "hint: " in str(refused.value)
        assert await store.load() == before
        assert (folder / "upstreams/b.yaml").read_text() == "servers: [x]  # by hand\n"
        assert not (folder / "consumers/c.json").exists()
        after = await store.apply(Transaction(writes[:2]))
        assert after.number == before.revision.number + 1
    async with open_store(f"files:{folder}") as again:
        assert (await again.load()).documents("upstreams") == {"b": {"servers": ["y"]}}


async def test_a_dead_writers_file_that_cannot_be_written_any_more_does_not_hold_up_the_store(
    folder: Path,
) -> None:
    dead = ConfigurationFolder(folder)
    dead.apply(Transaction((Write(A, {"v": 1}), Write(B, {"v": 1}))))
    (folder / "routes/a.json").unlink()
    (folder / "routes/a.json").mkdir()
    async with open_store(f"files:{folder}") as store:
        loaded = await store.load()
        assert (loaded.documents("routes"), loaded.documents("upstreams")) == ({}, {"b": {"v": 1}})
        (newest,) = await store.history(limit=1)
        assert newest.author == "files"
