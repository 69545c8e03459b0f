"""A node whose disk is full or cannot be written to: what serves goes on, and who writes hears why not."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headgate.stores import (
    Key,
    Snapshot,
    Store,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    Write,
    open_store,
)

from .kit import Serve, eventually
from .kit.admin import Admin
from .kit.small_disk import SmallDisk, small_disk
from .kit.stores import QUICK

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path) as made:
        yield made


def described(folder: Path, state: Path, **more: Any) -> dict[str, Any]:
    return {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(state),
        "routes": [{"path": "/file", "respond": "of the file"}],
        **more,
    }


def puts(name: str, size: int = 10) -> Transaction:
    return Transaction((Write(Key("routes", name), {"text": "x" * size}),))


@pytest.mark.parametrize("scheme", ["sqlite", "files"])
async def test_a_store_on_a_full_disk_says_so_and_loses_nothing(disk: SmallDisk, scheme: str) -> None:
    url = f"{scheme}:{disk.path}/{'config.db' if scheme == 'sqlite' else 'conf.d'}"
    (disk.path / "conf.d").mkdir()
    async with open_store(url, timing=QUICK) as store:
        await store.apply(puts("a"))
        watch = store.watch()
        before = await anext(watch)
        disk.fill()
        for number in range(3):
            with pytest.raises(StoreUnavailable, match=r"full|[Nn]o space"):
                await store.apply(puts(f"b{number}", 20_000))
        assert set((await store.load()).resources) == {Key("routes", "a")}
        disk.free()
        await store.apply(puts("c", 20_000))
        state = before
        while Key("routes", "c") not in (state.resources if isinstance(state, Snapshot) else {}):
            update = await anext(watch)
            assert isinstance(state, Snapshot)
            state = update if isinstance(update, Snapshot) else update.applied_to(state)
        assert isinstance(state, Snapshot)
        assert {Key("routes", "a"), Key("routes", "c")} <= set(state.resources)
        loaded = await store.load()
    async with open_store(url, timing=QUICK) as again:
        assert await again.load() == loaded


@pytest.mark.parametrize("scheme", ["sqlite", "files"])
async def test_a_store_on_a_disk_that_became_read_only_is_read_all_the_same(
    disk: SmallDisk, scheme: str
) -> None:
    url = f"{scheme}:{disk.path}/{'config.db' if scheme == 'sqlite' else 'conf.d'}"
    (disk.path / "conf.d").mkdir()
    known = {Key("routes", "a"), Key("routes", "b")}
    async with open_store(url, timing=QUICK) as store:
        await store.apply(Transaction(tuple(Write(key, {}) for key in known)))
    disk.make_read_only()
    async with open_store(url, timing=QUICK) as store:
        await refused(store, known)
        disk.make_read_only(is_read_only=False)
        await store.apply(puts("c"))
        assert set((await store.load()).resources) == {*known, Key("routes", "c")}


async def refused(store: Store, known: set[Key]) -> None:
    """Writes are refused, and reads are not."""
    for _ in range(2):
        with pytest.raises(StoreReadOnly):
            await store.apply(puts("never"))
        assert set((await store.load()).resources) == known


def test_a_full_disk_stops_writes_with_the_reason_and_nothing_else(
    serve: Serve, tmp_path: Path, disk: SmallDisk
) -> None:
    gateway = serve(described(tmp_path, disk.path / "state"))
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert admin.put("/v1/routes/kept", {"path": "/kept", "respond": "kept"}).status == 201
    agent = gateway.ask()["agent"]
    disk.fill()
    big = "x" * 50_000
    refused = admin.put("/v1/routes/big", {"path": "/big", "respond": big})
    assert (refused.status, "full" in refused.json()["detail"]) == (503, True), refused.body
    assert [gateway.get(path).status for path in ("/kept", "/file", "/big")] == [200, 200, 404]
    assert admin.get("/v1/routes/kept").status == 200
    disk.free()
    assert admin.put("/v1/routes/big", {"path": "/big", "respond": big}).status == 201
    assert gateway.get("/big").text == big
    assert gateway.ask()["agent"] == agent


def test_a_full_disk_stops_no_change_that_a_store_elsewhere_takes(
    serve: Serve, tmp_path: Path, disk: SmallDisk
) -> None:
    gateway = serve(described(tmp_path, disk.path / "state", store=f"sqlite://{tmp_path}/store.db"))
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert admin.put("/v1/routes/a", {"path": "/a", "respond": "a"}).status == 201
    kept = disk.path / "state/last-good.json"
    eventually(lambda: kept.exists() and "/a" in kept.read_text(), "it is kept")
    disk.fill()
    assert admin.put("/v1/routes/r", {"path": "/r", "respond": "x" * 5000}).status == 201
    assert gateway.get("/r").text == "x" * 5000
    gateway.wait_for_log("cannot keep the last good configuration: .*No space left")
    assert "/a" in kept.read_text()
    assert [one.name for one in kept.parent.iterdir() if one.suffix == ".tmp"] == []
    disk.free()
    assert admin.put("/v1/routes/s", {"path": "/s", "respond": "s"}).status == 201
    eventually(lambda: '"/s"' in kept.read_text(), "it is kept again")


@pytest.mark.parametrize("has_started_before", [True, False])
def test_a_node_with_a_read_only_state_folder_serves_and_says_what_it_lacks(
    serve: Serve, tmp_path: Path, disk: SmallDisk, has_started_before: bool
) -> None:
    description = described(tmp_path, disk.path / "state", store=f"sqlite://{tmp_path}/store.db")
    (disk.path / "state").mkdir(mode=0o700)
    if has_started_before:
        first = serve(description)
        Admin(f"unix:{tmp_path}/admin.sock").put("/v1/routes/a", {"path": "/a", "respond": "a"})
        eventually(lambda: "/a" in (disk.path / "state/last-good.json").read_text(), "it is kept")
        first.stop()
    disk.make_read_only()
    gateway = serve(description)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert gateway.get("/a").status == (200 if has_started_before else 404)
    assert admin.put("/v1/routes/b", {"path": "/b", "respond": "b"}).status == 201
    assert gateway.get("/b").text == "b"
    gateway.wait_for_log("the state folder .* cannot be written")


def test_a_node_whose_own_store_became_read_only_serves_what_it_has(
    serve: Serve, tmp_path: Path, disk: SmallDisk
) -> None:
    description = described(tmp_path, disk.path / "state")
    first = serve(description)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert admin.put("/v1/routes/a", {"path": "/a", "respond": "a"}).status == 201
    first.stop()
    disk.make_read_only()
    second = serve(description)
    assert second.get("/a").text == "a"
    refused = admin.put("/v1/routes/b", {"path": "/b", "respond": "b"})
    assert (refused.status, "the store cannot be written" in refused.json()["detail"]) == (409, True)
    disk.make_read_only(is_read_only=False)
    assert admin.put("/v1/routes/b", {"path": "/b", "respond": "b"}).status == 201
    assert second.get("/b").text == "b"
