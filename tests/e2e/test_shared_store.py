"""Two gateways on one store serve the same configuration, and go on serving it while the store is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.admin import Admin
from e2e.kit.stores import KINDS, NETWORKED, Place, StoreServers


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, servers: StoreServers, tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "place").mkdir()
    with servers.place(request.param, tmp_path / "place") as made:
        yield made


def node(serve: Serve, place: Place, folder: Path, name: str) -> tuple[RunningGateway, Admin]:
    gateway = serve(
        {
            "store": place.url,
            "admin": f"unix:{folder}/{name}.sock",
            "state_folder": str(folder / name),
            "routes": [{"path": "/file", "respond": name}],
        }
    )
    return gateway, Admin(f"unix:{folder}/{name}.sock")


def test_two_gateways_serve_what_either_writes(serve: Serve, place: Place, tmp_path: Path) -> None:
    first, first_admin = node(serve, place, tmp_path, "first")
    assert first_admin.put("/v1/routes/a", {"path": "/a", "respond": "of the first"}).status == 201
    second, second_admin = node(serve, place, tmp_path, "second")
    assert second.get("/a").text == "of the first"
    assert second_admin.put("/v1/routes/b", {"path": "/b", "respond": "of the second"}).status == 201
    assert second.get("/b").text == "of the second"
    eventually(lambda: first.get("/b").text == "of the second", "the other gateway follows")
    tag = first_admin.get("/v1/routes/b").get("ETag")
    assert tag == second_admin.get("/v1/routes/b").get("ETag")
    assert second_admin.delete("/v1/routes/b", **{"If-Match": tag or ""}).status == 204
    eventually(lambda: first.get("/b").status == 404, "the other gateway follows")
    late = first_admin.put("/v1/routes/b", {"path": "/b", "respond": "late"}, **{"If-Match": tag or ""})
    assert late.status == 412
    if place.url.startswith(("sqlite:", "files:")):
        return
    place.proxy.cut()
    assert [gateway.get("/a").text for gateway in (first, second)] == ["of the first"] * 2
    refused = first_admin.put("/v1/routes/c", {"path": "/c", "respond": "c"})
    assert refused.status == 503, refused.body
    place.proxy.mend()
    eventually(
        lambda: first_admin.put("/v1/routes/c", {"path": "/c", "respond": "c"}).status in (200, 201),
        "the store is back",
        within=40,
    )
    eventually(lambda: second.get("/c").text == "c", "the other gateway follows again", within=40)


@pytest.mark.parametrize("place", NETWORKED, indirect=True)
def test_a_write_whose_response_the_store_lost_is_done_once(
    serve: Serve, place: Place, tmp_path: Path
) -> None:
    gateway, admin = node(serve, place, tmp_path, "first")
    tag = admin.put("/v1/routes/a", {"path": "/a", "respond": "1"}).get("ETag") or ""
    place.proxy.lose_response_to(b'"compare"' if place.url.startswith("etcd:") else b"changed")
    written = admin.put("/v1/routes/a", {"path": "/a", "respond": "changed"}, **{"If-Match": tag})
    assert place.proxy.has_lost
    assert written.status == 200, written.body
    assert gateway.get("/a").text == "changed"
    history = admin.get("/v1/history?resource=routes/a").json()["entries"]
    assert history[0]["revision"] == int((written.get("ETag") or "").strip('"'))
    assert len(history) == 2
