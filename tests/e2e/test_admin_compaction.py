"""Former revisions are forgotten on demand, and then cannot be had."""

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.admin import Admin

ROUTE = {"path": "/r", "respond": "first", "headers": {"x-a": "1"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admin")


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, folder: Path) -> RunningGateway:
    return serve_module({"admin": f"unix:{folder}/admin.sock", "state_folder": str(folder / "state")})


@pytest.fixture
def admin(gateway: RunningGateway, folder: Path) -> Admin:
    return Admin(f"unix:{folder}/admin.sock")


def test_a_history_is_compacted_by_number_and_by_age(admin: Admin, gateway: RunningGateway) -> None:
    for number in range(6):
        admin.put("/v1/routes/r", {**ROUTE, "respond": f"{number}"})
    newest = int(admin.get("/v1/routes/r").get("ETag").strip('"'))  # type: ignore[union-attr]
    young = admin.ask("POST", "/v1/compact", {"keep": 2, "older_than_s": 3600})
    assert young.status == 200 and young.json()["oldest"] < newest - 5, "all of it is younger"
    kept = admin.ask("POST", "/v1/compact", {"keep": 4})
    assert (kept.status, kept.json()) == (200, {"oldest": newest - 3})
    assert f"compacted the history by=socket oldest={newest - 3}" in gateway.log()
    done = gateway.cli("compact", "--keep", "3")
    assert (done.returncode, done.stderr) == (0, f"the oldest revision that is left is {newest - 2}\n")
    entries = admin.get("/v1/history").json()["entries"]
    assert min(entry["revision"] for entry in entries) >= newest - 2
    assert admin.get(f"/v1/diff?from={newest - 2}").status == 200
    assert admin.get(f"/v1/diff?from={newest - 3}").status == 410
    assert admin.ask("POST", "/v1/rollback", {"revision": newest - 3}).status == 410
    assert admin.ask("POST", "/v1/rollback", {"revision": newest - 1}).status == 200
    assert gateway.get("/r", [("x-a", "1")]).text == "4"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"keep": 0},
        {"keep": True},
        {"keep": "1"},
        {"keep": 10**15 + 1},
        {"older_than_s": -1},
        {"older_than_s": 1e30},
        {"kep": 1},
        [],
    ],
)
def test_a_compaction_that_does_not_say_what_is_kept_is_refused(admin: Admin, body: Any) -> None:
    assert admin.ask("POST", "/v1/compact", body).status == 400


def test_the_command_to_compact_wants_to_know_what_is_kept(gateway: RunningGateway) -> None:
    for arguments in ((), ("--older-than", "soon"), ("--keep", "0")):
        assert gateway.cli("compact", *arguments).returncode == 2, arguments
