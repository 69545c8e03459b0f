"""Metrics say how far a node is behind its store, whether the store is there, and when something was applied last."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.admin import Admin
from e2e.kit.metrics import scrape
from e2e.kit.stores import Place, StoreServers

from headgate.stores import Key, Transaction, Write

NEWEST, APPLIED, UP = "headgate_store_revision", "headgate_config_applied_revision", "headgate_store_up"
WHEN = "headgate_config_last_applied_timestamp_seconds"


class Node:
    """A gateway with a store, and what it tells of it."""

    def __init__(self, serve: Serve, place: Place, folder: Path) -> None:
        self.place = place
        self.address = f"127.0.0.1:{free_port()}"
        self.gateway: RunningGateway = serve(
            {
                "metrics": self.address,
                "store": place.url,
                "admin": f"unix:{folder}/admin.sock",
                "state_folder": str(folder / "state"),
                "routes": [{"path": "/file", "respond": "of the file"}],
            }
        )
        self.admin = Admin(f"unix:{folder}/admin.sock")

    def tells(self, *names: str) -> tuple[float, ...]:
        """The numbers of one scrape."""
        found = scrape(self.gateway, self.address)
        assert all(len(found.all(name)) == 1 for name in names), found.text
        return tuple(found.value(name) for name in names)

    def until(self, names: tuple[str, ...], *numbers: float) -> None:
        """Waits until it tells these."""
        eventually(lambda: self.tells(*names) == numbers, f"{names} are {numbers}", within=60)

    def written_by_another(self, *routes: tuple[str, dict[str, Any] | None]) -> None:
        """Another node writes to the store, each route in a revision of its own."""

        async def write() -> None:
            async with self.place.open(is_direct=True) as store:
                for name, document in routes:
                    await store.apply(Transaction((Write(Key("routes", name), document),)))

        asyncio.run(write())


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[StoreServers]:
    (tmp_path / "servers").mkdir()
    with StoreServers(tmp_path / "servers") as made:
        yield made


def node(serve: Serve, servers: StoreServers, kind: str, tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "place").mkdir()
    with servers.place(kind, tmp_path / "place") as place:
        yield Node(serve, place, tmp_path)


@pytest.fixture
def local(serve: Serve, servers: StoreServers, tmp_path: Path) -> Iterator[Node]:
    yield from node(serve, servers, "sqlite", tmp_path)


@pytest.fixture
def remote(serve: Serve, servers: StoreServers, tmp_path: Path) -> Iterator[Node]:
    yield from node(serve, servers, "redis", tmp_path)


def test_a_revision_that_cannot_be_applied_is_told_as_lag(local: Node) -> None:
    assert local.admin.put("/v1/routes/a", {"path": "/a", "respond": "a"}).status == 201
    local.until((NEWEST, APPLIED, UP), 1, 1, 1)
    local.written_by_another(("b", {"path": "/b", "respond": "b"}))
    local.until((NEWEST, APPLIED, UP), 2, 2, 1)
    local.written_by_another(("c", {"path": "/c", "to": "nowhere"}))
    local.until((NEWEST, APPLIED, UP), 3, 2, 1)
    local.written_by_another(("c", None))  # so that nothing differs from what is in force
    local.until((NEWEST, APPLIED, UP), 4, 4, 1)


def test_a_store_that_is_away_is_told_and_what_is_known_stays(remote: Node) -> None:
    assert remote.admin.put("/v1/routes/a", {"path": "/a", "respond": "a"}).status == 201
    remote.until((NEWEST, APPLIED, UP), 1, 1, 1)
    remote.place.proxy.cut()
    remote.until((NEWEST, APPLIED, UP), 1, 1, 0)
    remote.written_by_another(("b", {"path": "/b", "respond": "b"}))
    remote.place.proxy.mend()
    remote.until((NEWEST, APPLIED, UP), 2, 2, 1)


def test_every_change_is_told_with_its_time_and_generation(local: Node) -> None:
    first, generation = local.tells(WHEN, "headgate_generation")
    assert 0 < first <= time.time()
    for number in (1, 2):
        assert local.admin.put(f"/v1/routes/{number}", {"path": f"/{number}", "respond": "a"}).status == 201
        local.until(("headgate_generation",), generation + number)
        (now,) = local.tells(WHEN)
        assert first < now <= time.time()
        first = now
    reload = local.gateway.ask("reload")
    local.until(("headgate_generation",), reload["generation"])
    assert local.tells(WHEN)[0] > first


def test_a_gateway_without_a_store_tells_of_none(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    gateway = serve({"metrics": address, "routes": [{"path": "/", "respond": "a"}]})
    found = scrape(gateway, address)
    assert found.value(WHEN) > 0
    assert [found.all(name) for name in (NEWEST, APPLIED, UP)] == [[], [], []]
