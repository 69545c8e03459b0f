"""Two gateways on one store: what is written at one is served by both, also after the store was away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.admin import Admin
from e2e.kit.stores import NETWORKED, Place, StoreServers


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


@pytest.fixture(params=NETWORKED)
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    with servers.place(request.param, tmp_path) as made:
        yield made


def node(serve: Serve, folder: Path, place: Place) -> tuple[RunningGateway, Admin]:
    folder.mkdir()
    described: dict[str, Any] = {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(folder / "state"),
        "store": place.url,
        "routes": [{"path": "/file", "respond": "of the file"}],
    }
    return serve(described), Admin(f"unix:{folder}/admin.sock")


@pytest.mark.slow
def test_what_is_written_at_one_gateway_is_served_by_both(serve: Serve, tmp_path: Path, place: Place) -> None:
    east, east_admin = node(serve, tmp_path / "east", place)
    west, west_admin = node(serve, tmp_path / "west", place)
    for gateway, admin, other, name in ((east, east_admin, west, "a"), (west, west_admin, east, "b")):
        put = admin.put(f"/v1/routes/{name}", {"path": f"/{name}", "respond": name})
        assert put.status == 201, put.body
        assert gateway.get(f"/{name}").text == name
        eventually(lambda other=other, name=name: other.get(f"/{name}").status == 200, "the other serves it")
    place.server.kill()
    assert [gateway.get("/a").text for gateway in (east, west)] == ["a", "a"]
    assert east_admin.put("/v1/routes/c", {"path": "/c", "respond": "c"}).status == 503
    place.server.start()
    eventually(
        lambda: east_admin.put("/v1/routes/c", {"path": "/c", "respond": "c"}).status in (200, 201),
        "the store is written again",
        within=30,
    )
    eventually(lambda: west.get("/c").status == 200, "the other serves what came after the cut", within=40)
    assert [gateway.get("/b").text for gateway in (east, west)] == ["b", "b"]
