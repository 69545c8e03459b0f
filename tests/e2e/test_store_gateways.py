"""Two gateways on one store: what is written at one is served by both, also after the store was away."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.admin import Admin
from e2e.kit.stores import NETWORKED, Place, StoreServers
from e2e.kit.traffic import Traffic


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


@pytest.fixture(params=NETWORKED)
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    with servers.place(request.param, tmp_path) as made:
        yield made


def node(
    serve: Serve, folder: Path, place: Place, *, state: Path | None = None
) -> tuple[RunningGateway, Admin]:
    folder.mkdir()
    described: dict[str, Any] = {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(state or folder / "state"),
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
    with Traffic([east, west], "/a") as traffic:
        place.server.kill()
        assert east_admin.put("/v1/routes/c", {"path": "/c", "respond": "c"}).status == 503
        agent = west.ask()["agent"]
        os.kill(agent, signal.SIGKILL)
        eventually(lambda: west.ask()["agent"] not in (None, agent), "another agent works without the store")
        assert west_admin.get("/v1/routes/b").json() == {"path": "/b", "respond": "b"}
        south, _ = node(serve, tmp_path / "south", place)
        assert south.get("/file").text == "of the file"  # nothing was known there
        place.server.start()
        eventually(
            lambda: east_admin.put("/v1/routes/c", {"path": "/c", "respond": "c"}).status in (200, 201),
            "the store is written again",
            within=30,
        )
        for other in (west, south):
            eventually(lambda other=other: other.get("/c").status == 200, "what came after serves", within=40)
    assert traffic.failures == []
    assert [gateway.get("/b").text for gateway in (east, west, south)] == ["b", "b", "b"]
    east.stop()
    place.server.kill()
    again, _ = node(serve, tmp_path / "again", place, state=tmp_path / "east" / "state")
    assert [again.get(f"/{name}").text for name in "abc"] == ["a", "b", "c"]  # of the last good configuration
    place.server.start()


MANY = 10_000


@pytest.mark.slow
@pytest.mark.parametrize("place", ["etcd"], indirect=True)
def test_ten_thousand_routes_are_renamed_at_once_and_no_node_fails_a_request(
    serve: Serve, tmp_path: Path, place: Place, origin: Origin
) -> None:
    """More than etcd takes in a transaction: nobody serves a part, or a route without its upstream."""
    east, admin = node(serve, tmp_path / "east", place)
    west, _ = node(serve, tmp_path / "west", place)

    def puts(age: str) -> list[dict[str, Any]]:
        routes = [
            {"op": "put", "kind": "routes", "name": f"{age}{n}", "resource": {"path": f"/r{n}", "to": age}}
            for n in range(MANY)
        ]
        now = {"op": "put", "kind": "routes", "name": "now", "resource": {"path": "/now", "respond": age}}
        servers = {"servers": [origin.address]}
        return [{"op": "put", "kind": "upstreams", "name": age, "resource": servers}, now, *routes]

    def deletions(age: str) -> list[dict[str, Any]]:
        routes = [{"op": "delete", "kind": "routes", "name": f"{age}{n}"} for n in range(MANY)]
        return [{"op": "delete", "kind": "upstreams", "name": age}, *routes]

    written = admin.ask("POST", "/v1/transactions", {"operations": puts("a")})
    assert written.status == 200, written.body
    eventually(lambda: west.get("/r9999").status == 200, "the other serves them", within=120)
    with contextlib.ExitStack() as stack:
        traffics = [stack.enter_context(Traffic([east, west], f"/r{n}")) for n in (0, 5000, 9999)]
        for before, after in (("a", "b"), ("b", "c")):
            operations = [*deletions(before), *puts(after)]
            written = admin.ask("POST", "/v1/transactions", {"operations": operations})
            assert written.status == 200, written.body
            assert east.get("/now").text == after
            eventually(lambda text=after: west.get("/now").text == text, "it is in force there", within=120)
    assert [traffic.failures for traffic in traffics] == [[], [], []]
    assert all(traffic.succeeded for traffic in traffics)
