"""What is special about the SQLite store."""

import asyncio
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from headgate.stores import (
    Key,
    StoreCorrupt,
    StoreReadOnly,
    StoreUnavailable,
    Timing,
    Transaction,
    Write,
    open_store,
)
from headgate.stores.places import file_system, refuse_network

from .kit.net import eventually

A = Key("routes", "a")

WRITER = """
import asyncio, sys
from headgate.stores import Key, Transaction, Write, open_store
async def main():
    async with open_store(sys.argv[1]) as store:
        await store.apply(Transaction((Write(Key("routes", sys.argv[2]), {"n": sys.argv[2]}),), author=sys.argv[2]))
asyncio.run(main())
"""


async def test_many_processes_may_write_a_new_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/config.db"
    writing = (asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, url, str(n)) for n in range(8))
    writers = await asyncio.gather(*writing)
    assert [await writer.wait() for writer in writers] == [0] * 8
    async with open_store(url) as store:
        loaded = await store.load()
    assert loaded.revision.number == 8
    assert set(loaded.documents("routes")) == {str(number) for number in range(8)}


async def test_a_writer_in_the_way_is_waited_for_and_then_it_is_unavailable(tmp_path: Path) -> None:
    async with open_store(f"sqlite://{tmp_path}/config.db", timing=Timing(response_s=0.1)) as store:
        await store.load()
        other = sqlite3.connect(tmp_path / "config.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.apply(Transaction((Write(A, {}),)))
        assert (await store.load()).resources == {}
        other.execute("ROLLBACK")
        await store.apply(Transaction((Write(A, {}),)))
        other.close()


async def test_a_watch_does_not_keep_the_journal_from_being_cut(tmp_path: Path) -> None:
    """A reader that stays in a transaction would have the WAL grow with each write."""
    url, journal = f"sqlite://{tmp_path}/config.db", tmp_path / "config.db-wal"
    async with open_store(url) as store, open_store(url, timing=Timing(poll_s=0.01)) as other:
        watch = other.watch()
        await anext(watch)
        large, seen, longest = "x" * 100_000, 0, 0
        for number in range(1, 201):
            newest = await store.apply(Transaction((Write(A, {"n": number, "text": large}),)))
            longest = max(longest, journal.stat().st_size)
            if number % 10 == 0:
                while seen < newest.number:
                    seen = (await anext(watch)).revision.number
    assert longest < 8 << 20, "of 20 MB that were written"


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    async with open_store(f"sqlite://{tmp_path}/config.db") as store:
        await store.apply(Transaction((Write(A, {}),)))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"config.db": 0o600, "config.db-wal": 0o600, "config.db-shm": 0o600}


@pytest.mark.parametrize("content", [b"routes: {}\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_said_to_be_corrupt_and_kept(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "config.db"
    path.write_bytes(content)
    async with open_store(f"sqlite://{path}") as store:
        with pytest.raises(StoreCorrupt, match=r"config\.db"):
            await store.load()
        assert not store.health.is_connected
    assert path.read_bytes() == content


async def test_a_document_spoiled_by_hand_is_corrupt_and_the_watch_goes_on_when_it_is_mended(
    tmp_path: Path,
) -> None:
    url = f"sqlite://{tmp_path}/config.db"
    async with open_store(url, timing=Timing(spread_s=0.01, longest_s=0.01)) as store:
        await store.apply(Transaction((Write(A, {"v": 1}),)))
        other = sqlite3.connect(tmp_path / "config.db", isolation_level=None)
        other.execute("UPDATE resources SET document = '[1'")
        with pytest.raises(StoreCorrupt, match="routes/a"):
            await store.load()
        waiting = asyncio.ensure_future(anext(store.watch()))
        async with asyncio.timeout(10):
            await asyncio.to_thread(eventually, lambda: "routes/a" in store.health.error, "the error is told")
            other.execute("""UPDATE resources SET document = '{"v":1}'""")
            await waiting
        assert store.health.is_connected
        other.close()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "config.db")
    other.execute("PRAGMA user_version = 7")
    other.close()
    async with open_store(f"sqlite://{tmp_path}/config.db") as store:
        with pytest.raises(StoreCorrupt, match="newer headgate"):
            await store.load()


async def test_a_database_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    async with open_store(f"sqlite://{tmp_path}/config.db") as store:
        await store.load()
        await store._run(lambda connection: connection.execute("PRAGMA query_only = 1"))  # type: ignore[attr-defined]
        with pytest.raises(StoreReadOnly):
            await store.apply(Transaction((Write(A, {}),)))


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = (
        f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n/dev/vdb {tmp_path}/local ext4 rw 0 0\n"
    )
    with pytest.raises(StoreUnavailable, match=kind):
        refuse_network(tmp_path / "etc", mounts)
    refuse_network(tmp_path / "local", mounts)
    assert file_system(tmp_path.parent, mounts) == "ext4"


def test_a_path_is_needed() -> None:
    with pytest.raises(ValueError, match="is not a valid store"):
        open_store("sqlite:///")
    with pytest.raises(ValueError, match="hint: one of"):
        open_store("oracle://x")


@pytest.mark.parametrize("step_s", [3600, -3600])
async def test_a_step_of_the_clock_ends_no_presence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    async with open_store(f"sqlite://{tmp_path}/config.db") as store:
        async with store.announce("east-1", {"at": "here"}, ttl_s=60):
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + step_s)
            await store.apply(Transaction((Write(A, {"v": 1}),)))
            assert [node.name for node in await store.nodes()] == ["east-1"]
