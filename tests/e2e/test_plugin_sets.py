"""Sets of plugins and groups of consumers as resources: in force in every worker, without a reload."""

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.admin import Admin

MARK = {"plugin": "headers", "config": {"response": {"set": {"x-set": "one"}}}}


@pytest.fixture
def gateway(serve: Serve, tmp_path: Path) -> RunningGateway:
    described: dict[str, Any] = {
        "admin": f"unix:{tmp_path}/admin.sock",
        "state_folder": str(tmp_path / "state"),
        "plugins": ["key-auth"],
        "consumers": {"alice": {"keys": "alice-key", "groups": "gold"}, "bob": "bob-key"},
        "routes": [{"path": "/", "respond": "here"}],
    }
    return serve(described, workers=2)


@pytest.fixture
def admin(gateway: RunningGateway, tmp_path: Path) -> Admin:
    return Admin(f"unix:{tmp_path}/admin.sock")


def marks(gateway: RunningGateway, path: str, who: str) -> set[str | None]:
    """What all workers say."""
    return {gateway.get(path, [("x-api-key", f"{who}-key")]).get("x-set") for _ in range(6)}


def test_a_set_comes_and_goes_where_routes_and_groups_name_it(gateway: RunningGateway, admin: Admin) -> None:
    workers = gateway.workers
    assert admin.put("/v1/plugin-sets/s", {"plugins": [MARK]}).status == 201
    assert admin.put("/v1/routes/r", {"path": "/r", "respond": "r", "plugin_sets": ["s"]}).status == 201
    assert marks(gateway, "/r", "bob") == {"one"} and marks(gateway, "/", "alice") == {None}
    assert admin.put("/v1/consumer-groups/gold", {"plugin_sets": "s"}).status == 201
    assert marks(gateway, "/", "alice") == {"one"} and marks(gateway, "/", "bob") == {None}
    other = {"plugin": "headers", "config": {"response": {"set": {"x-set": "two"}}}}
    assert admin.put("/v1/plugin-sets/s", {"plugins": [other]}).status == 200
    assert marks(gateway, "/", "alice") == marks(gateway, "/r", "bob") == {"two"}
    refused = admin.delete("/v1/plugin-sets/s")
    assert refused.status == 422 and refused.json()["detail"] == "there is no plugin set `s`"
    assert {one["resource"] for one in refused.json()["errors"]} == {"routes/r", "consumer-groups/gold"}
    operations = [
        {"op": "delete", "kind": kind, "name": name}
        for kind, name in (("plugin-sets", "s"), ("consumer-groups", "gold"), ("routes", "r"))
    ]
    done = admin.ask("POST", "/v1/transactions", {"operations": operations})
    assert done.status == 200, done.body
    assert marks(gateway, "/", "alice") == marks(gateway, "/r", "bob") == {None}
    assert gateway.workers == workers


def test_secrets_of_a_set_are_masked_and_a_mask_is_refused(gateway: RunningGateway, admin: Admin) -> None:
    locked = {"plugins": [{"plugin": "key-auth", "config": {"keys": {"a": "PLANTED", "b": "env:HOME"}}}]}
    shown = [admin.put("/v1/plugin-sets/locked", {**locked, "on": "/locked"})]
    assert shown[0].status == 201, shown[0].body
    for target in (
        "plugin-sets/locked",
        "plugin-sets?search=PLANTED",
        "history",
        "export",
        "config",
        "diff?from=0",
    ):
        shown.append(admin.get(f"/v1/{target}"))
    assert all(b"PLANTED" not in response.body for response in shown)
    masked = shown[1].json()
    assert masked["plugins"][0]["config"]["keys"] == {"a": "**********", "b": "env:HOME"}
    refused = admin.put("/v1/plugin-sets/locked", masked)
    assert refused.status == 422 and "masked" in refused.json()["detail"]
    assert gateway.get("/locked", [("x-api-key", "PLANTED")]).status == 401  # the outer key-auth still asks
    assert "PLANTED" not in gateway.log()
