"""Files that are written whole, and what is on the disk when that returns."""

import os
import stat
from pathlib import Path

import pytest

from headgate.acme.storage import Storage
from headgate.config.atomic_files import make_folders, replace_file
from headgate.stores import Key, Transaction, Write, open_store


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, frozenset[str]]]:
    """What was synced: the path, and of a folder the names that were in it."""
    found: list[tuple[str, frozenset[str]]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        found.append((path, frozenset(os.listdir(path)) if is_folder else frozenset()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_a_durable_file_has_its_content_on_the_disk_and_then_its_name(
    tmp_path: Path, synced: list[tuple[str, frozenset[str]]]
) -> None:
    replace_file(tmp_path / "kept", b"content", is_durable=True)
    (content, _), folder = synced
    assert content.startswith(f"{tmp_path}/.") and content.endswith(".tmp")
    assert folder == (str(tmp_path), frozenset({"kept"}))


def test_other_files_wait_for_no_disk(tmp_path: Path, synced: list[tuple[str, frozenset[str]]]) -> None:
    replace_file(tmp_path / "kept", b"content", is_durable=False)
    assert synced == []
    assert (tmp_path / "kept").read_bytes() == b"content"


def test_folders_that_were_missing_are_on_the_disk(
    tmp_path: Path, synced: list[tuple[str, frozenset[str]]]
) -> None:
    make_folders(tmp_path / "a" / "b", mode=0o700)
    assert synced == [(str(tmp_path), frozenset({"a"})), (str(tmp_path / "a"), frozenset({"b"}))]
    make_folders(tmp_path / "a" / "b")
    assert len(synced) == 2
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_disk_that_fails_after_the_rename_leaves_the_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(tmp_path / "kept", b"content", is_durable=True)
    assert os.listdir(tmp_path) == ["kept"]


async def test_a_write_to_a_folder_of_files_is_on_the_disk_name_and_all(
    tmp_path: Path, synced: list[tuple[str, frozenset[str]]]
) -> None:
    history = str(tmp_path / ".headgate" / "history")
    async with open_store(f"files:{tmp_path}") as store:
        await store.apply(Transaction((Write(Key("routes", "a"), {"path": "/"}),)))
        assert any(
            place == history and names for place, names in synced
        )  # from which the files can be made anew
    names = {path.name for path in (tmp_path / "routes").iterdir()}
    assert (str(tmp_path / "routes"), frozenset(names)) in synced
    assert (str(tmp_path), frozenset({".headgate", "routes"})) in synced
    synced.clear()
    async with open_store(f"files:{tmp_path}") as store:
        await store.apply(Transaction((Write(Key("routes", "a"), None),)))
    assert (str(tmp_path / "routes"), frozenset()) in synced


def test_what_is_kept_of_an_authority_is_on_the_disk(
    tmp_path: Path, synced: list[tuple[str, frozenset[str]]]
) -> None:
    storage = Storage(tmp_path / "acme")
    storage.prepare()
    assert synced[0] == (str(tmp_path), frozenset({"acme"}))
    storage.put_account("https://authority.example", {"key": "k"})
    assert synced[-1][0] == str(tmp_path / "acme" / "accounts") and synced[-1][1]
