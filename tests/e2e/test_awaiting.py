"""Routes of the file that use what the store holds: 503 until it is there, and it cannot be taken away."""

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, Serve
from e2e.kit.admin import Admin


def described(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(folder / "state"),
        "routes": [
            {"name": "api", "path": "/api/*", "to": "api", "strip_prefix": "/api"},
            {"name": "set", "path": "/set", "respond": "open", "plugin_sets": ["locked"]},
            {"path": "/", "respond": "here"},
        ],
        **more,
    }


PYTHON = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.admin(f"unix:{STATE}/admin.sock")
gate.state_folder(f"{STATE}/state")
gate.route("/api/*", to="api", name="api", strip_prefix="/api")
@gate.route("/set", name="set", plugin_sets="locked")
def respond(request):
    return Response(200, "open")
gate.route("/", respond="here")
"""


@pytest.mark.parametrize("is_python", [False, True])
def test_routes_wait_for_what_the_store_holds(
    serve: Serve, tmp_path: Path, origin: Origin, is_python: bool
) -> None:
    source = PYTHON if is_python else described(tmp_path)
    gateway = serve(source, workers=2, names={"STATE": str(tmp_path)})
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert [gateway.get(path).status for path in ("/api/x", "/set", "/")] == [503, 503, 200]
    assert gateway.get("/api/x").get("Retry-After") == "5"
    awaiting = {"api": "upstreams/api", "set": "plugin-sets/locked"}
    assert admin.get("/v1/status").json()["awaiting"] == awaiting
    assert (
        "a route responds with 503 until the store has what it uses route=api missing=upstreams/api"
        in gateway.log()
    )
    assert admin.put("/v1/upstreams/api", {"servers": [origin.address]}).status == 201
    assert (
        admin.put(
            "/v1/plugin-sets/locked", {"plugins": [{"plugin": "key-auth", "config": {"keys": {"a": "k"}}}]}
        ).status
        == 201
    )
    assert {gateway.get("/api/x").status for _ in range(4)} == {200}
    assert [gateway.get("/set", fields).status for fields in ([], [("x-api-key", "k")])] == [401, 200]
    assert admin.get("/v1/status").json()["awaiting"] == {}
    for resource, route in (("upstreams/api", "api"), ("plugin-sets/locked", "set")):
        refused = admin.delete(f"/v1/{resource}")
        assert (
            refused.status == 422
            and refused.json()["detail"] == f"route `{route}` of the file uses `{resource}`"
        )
        kind, name = resource.split("/")
        operations = [{"op": "delete", "kind": kind, "name": name}]
        assert admin.ask("POST", "/v1/validate", {"operations": operations}).status == 422
    assert gateway.get("/api/x").status == 200
    shown = gateway.cli("config", "show", "--format", "json", str(gateway.file))
    assert shown.returncode == 0 and '"to": "api"' in shown.stdout
    assert gateway.cli("check", str(gateway.file)).returncode == 0
    assert gateway.cli("routes", str(gateway.file)).returncode == 0


def test_without_a_store_a_missing_upstream_is_an_error(tmp_path: Path, serve: Serve) -> None:
    gateway = serve({"routes": [{"path": "/", "respond": "x"}]})
    gateway.write({"routes": [{"path": "/", "to": "nobody"}]})
    refused = gateway.cli("check", str(gateway.file))
    assert refused.returncode == 2 and "there is no upstream `nobody`" in refused.stderr


def test_routes_of_the_store_cannot_name_what_nobody_has(tmp_path: Path, serve: Serve) -> None:
    serve(described(tmp_path))
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    refused = admin.put("/v1/routes/r", {"path": "/r", "to": "nobody"})
    assert refused.status == 422 and "there is no upstream `nobody`" in refused.json()["detail"]
