"""An Admin API that wants every change to say what it expects to find."""

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.admin import Admin

MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"
ROUTE = {"path": "/r", "respond": "first", "headers": {"x-a": "1"}}
OTHER = {**ROUTE, "headers": {"x-a": "2"}}
VERBS: list[tuple[str, str, Any, int]] = [
    ("PUT", "application/json", OTHER, 200),
    ("PATCH", MERGE, {"headers": {"x-a": "2"}}, 200),
    ("PATCH", PATCH, [{"op": "replace", "path": "/headers/x-a", "value": "2"}], 200),
    ("DELETE", "application/json", None, 204),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admin")


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, folder: Path) -> RunningGateway:
    return serve_module(
        {
            "admin": {"listen": f"unix:{folder}/admin.sock", "require_if_match": True},
            "state_folder": str(folder / "state"),
            "routes": [{"name": "file", "path": "/file", "respond": "of the file"}],
        }
    )


@pytest.fixture
def admin(gateway: RunningGateway, folder: Path) -> Admin:
    api = Admin(f"unix:{folder}/admin.sock")
    assert api.ask("POST", "/v1/rollback", {"revision": 0}).status == 200
    return api


@pytest.mark.parametrize(("verb", "kind", "body", "done"), VERBS)
@pytest.mark.parametrize("dry_run", ["", "?dry_run=true"])
def test_every_verb_needs_the_revision_that_it_expects(
    admin: Admin, verb: str, kind: str, body: Any, done: int, dry_run: str
) -> None:
    fresh = admin.put("/v1/routes/r", ROUTE).get("ETag") or ""
    target = f"/v1/routes/r{dry_run}"

    def status(**fields: str) -> int:
        return admin.ask(verb, target, body, {"Content-Type": kind, **fields}).status

    refused = admin.ask(verb, target, body, {"Content-Type": kind})
    assert (refused.status, refused.json()["title"]) == (428, "Precondition Required")
    assert f"If-Match: {fresh}" in refused.json()["hint"]
    assert status(**{"If-Match": '"99999"'}) == 412
    assert admin.get("/v1/routes/r").json() == ROUTE
    assert status(**{"If-Match": "*"}) == done
    left = admin.get("/v1/routes/r")
    if dry_run:
        assert left.json() == ROUTE
    elif verb == "DELETE":
        assert left.status == 404
    else:
        assert left.json() == OTHER
    admin.delete("/v1/routes/r", **{"If-Match": "*"})
    again = admin.put("/v1/routes/r", ROUTE).get("ETag") or ""
    assert status(**{"If-Match": again}) == done


def test_what_is_new_needs_none(admin: Admin) -> None:
    assert admin.put("/v1/routes/r", ROUTE).status == 201
    assert admin.put("/v1/routes/other", ROUTE, **{"If-None-Match": "*"}).status == 201
    assert admin.delete("/v1/routes/nothing").status == 404


def test_so_do_the_operations_of_a_transaction(admin: Admin) -> None:
    revision = int((admin.put("/v1/routes/r", ROUTE).get("ETag") or "").strip('"'))
    new = {"op": "put", "kind": "routes", "name": "new", "resource": ROUTE, "if_match": None}
    for change in (
        {"op": "put", "resource": OTHER},
        {"op": "patch", "patch": {"headers": {"x-a": "2"}}},
        {"op": "delete"},
    ):
        one = {"kind": "routes", "name": "r", **change}
        said = admin.ask("POST", "/v1/transactions", {"operations": [new, one]})
        assert said.status == 428, said.body
        stale = admin.ask("POST", "/v1/transactions", {"operations": [new, {**one, "if_match": 99999}]})
        assert stale.status == 412
    assert admin.get("/v1/routes/new").status == 404
    assert admin.get("/v1/routes/r").json() == ROUTE
    operations = [new, {"kind": "routes", "name": "r", "op": "delete", "if_match": revision}]
    assert admin.ask("POST", "/v1/transactions", {"operations": operations}).status == 200


def test_the_commands_say_what_they_expect(admin: Admin, gateway: RunningGateway, tmp_path: Path) -> None:
    admin.put("/v1/routes/r", ROUTE)
    file = tmp_path / "routes.yaml"
    file.write_text("routes: {r: {path: /r, respond: applied}, s: {path: /s, respond: s}}\n")
    applied = gateway.cli("apply", str(file))
    assert applied.returncode == 0, applied.stderr
    assert admin.get("/v1/routes/r").json()["respond"] == "applied"
    deleted = gateway.cli("delete", "routes", "r")
    assert deleted.returncode == 0, deleted.stderr
    assert admin.get("/v1/routes/r").status == 404
