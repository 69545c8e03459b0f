"""`headgate apply`, `get`, `edit`, `delete`, `diff`, `history`, `rollback`, as people and programs use them."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.admin import Admin

FIRST = """
upstreams:
  api: "127.0.0.1:9"
routes:
  - {name: a, path: /a, respond: first}
  - {name: b, path: /b, respond: first}
  - {name: c, path: /c, respond: first}
  - {name: locked, path: "/locked/*", respond: open}
plugins:
  - {name: keys, plugin: key-auth, on: /locked/here, config: {keys: {alice: "PLANTED-SECRET-1"}}}
"""


@pytest.fixture
def gateway(serve: Serve, tmp_path: Path) -> RunningGateway:
    return serve(
        {
            "admin": f"unix:{tmp_path}/admin.sock",
            "state_folder": str(tmp_path / "state"),
            "routes": [{"path": "/file", "respond": "of the file"}],
        }
    )


def run(gateway: RunningGateway, *arguments: str, code: int = 0) -> Any:
    done = gateway.cli(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "PLANTED-SECRET" not in done.stdout + done.stderr
    return done


def test_a_file_is_applied_changed_pruned_and_rolled_back(gateway: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "resources.yaml"
    file.write_text(FIRST)
    assert "6 created" in run(gateway, "apply", str(file), "--dry-run").stdout
    assert gateway.get("/a").status == 404
    assert (
        "6 created, 0 changed, 0 deleted, 0 unchanged"
        in run(gateway, "apply", str(file), "-m", "first").stdout
    )
    assert gateway.get("/a").text == "first"
    assert gateway.get("/locked/here").status == 401
    file.write_text(FIRST.replace("path: /a, respond: first", "path: /a, respond: second"))
    shown = run(gateway, "diff", str(file), code=1).stdout
    assert "-respond: first" in shown and "+respond: second" in shown and "routes/b" not in shown
    run(gateway, "apply", str(file))
    assert gateway.get("/a").text == "second"
    file.write_text(FIRST.replace("  - {name: c, path: /c, respond: first}\n", ""))
    assert "1 deleted" in run(gateway, "apply", str(file), "--prune").stdout
    assert gateway.get("/c").status == 404
    entries = json.loads(run(gateway, "history", "--output", "json").stdout)
    assert [entry["note"] for entry in entries] == ["", "", "first"]
    assert "1 resource changed" in run(gateway, "rollback", str(entries[-1]["revision"])).stderr
    assert [gateway.get(path).text for path in ("/a", "/c")] == ["first", "first"]
    assert "rollback to revision" in run(gateway, "history").stdout


@pytest.mark.slow
def test_twenty_at_once_are_all_applied(gateway: RunningGateway, tmp_path: Path) -> None:
    def applied(number: int) -> int:
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"routes:\n  - {{name: r{number}, path: /r{number}, respond: '{number}'}}\n")
        return gateway.cli("apply", str(file), "--owner", f"o{number}").returncode

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(applied, range(20))) == [0] * 20
    assert [gateway.get(f"/r{number}").text for number in range(20)] == [str(n) for n in range(20)]
    entries = json.loads(run(gateway, "history", "--output", "json").stdout)
    assert len(entries) == 20


def test_pruning_spares_what_others_have_and_an_empty_folder(gateway: RunningGateway, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "all.yaml").write_text(FIRST)
    (tmp_path / "empty").mkdir()
    run(gateway, "apply", str(tmp_path / "mine"), "--owner", "me")
    Admin(f"unix:{tmp_path}/admin.sock").put("/v1/routes/other", {"path": "/other", "respond": "other"})
    refused = run(gateway, "apply", str(tmp_path / "empty"), "--owner", "me", "--prune", code=1)
    assert "would delete 6 of the 6 resources" in refused.stderr and "--yes-really" in refused.stderr
    assert (
        "0 deleted" in run(gateway, "apply", str(tmp_path / "empty"), "--owner", "somebody", "--prune").stdout
    )
    done = run(gateway, "apply", str(tmp_path / "empty"), "--owner", "me", "--prune", "--yes-really")
    assert "6 deleted" in done.stdout
    assert gateway.get("/a").status == 404 and gateway.get("/other").text == "other"


def test_a_wrong_file_is_refused_with_its_line(gateway: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "resources.yaml"
    for text, words in {
        "ruotes: []\n": ("resources.yaml:1", "did you mean `routes`?"),
        "routes:\n  - {path: /a, respond: x}\n": ("resources.yaml:2", "a route has no `name`"),
        "routes:\n  - {name: a, pth: /a}\n": ("routes/a", "did you mean `path`?"),
        "upstreams: {a: 'b:1 wieght=2'}\n": ("unknown server option", "weight"),
    }.items():
        file.write_text(text)
        refused = run(gateway, "apply", str(file), code=2)
        assert all(word in refused.stderr for word in words), refused.stderr
    assert json.loads(run(gateway, "get", "--output", "json").stdout) == {}


def test_resources_are_shown_edited_and_deleted(gateway: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "resources.yaml"
    file.write_text(FIRST)
    run(gateway, "apply", str(file))
    assert "keys" in run(gateway, "get").stdout
    assert json.loads(run(gateway, "get", "routes", "-o", "json").stdout)["a"] == {
        "path": "/a",
        "respond": "first",
    }
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's|/locked/here|/locked/there|' \"$1\"\n")
    os.chmod(editor, stat.S_IRWXU)
    gateway.environment["EDITOR"] = str(editor)
    run(gateway, "edit", "plugins", "keys")
    assert gateway.get("/locked/here").status == 200
    assert gateway.get("/locked/there").status == 401
    assert gateway.get("/locked/there", [("x-api-key", "PLANTED-SECRET-1")]).status == 200
    run(gateway, "delete", "plugins", "keys")
    assert gateway.get("/locked/there").status == 200
    assert "there is no resource `plugins/keys`" in run(gateway, "delete", "plugins", "keys", code=2).stderr


def test_a_kind_that_is_not_known_is_told_with_the_kinds_there_are(gateway: RunningGateway) -> None:
    refused = run(gateway, "get", "route", code=2).stderr
    assert "there is no `/v1/route`" in refused and "did you mean `routes`?" in refused
    refused = run(gateway, "get", "nonsense", code=2).stderr
    assert refused.count("`routes`") == 1 and "`consumer-groups`" in refused and "transactions" not in refused


def test_a_gateway_without_an_admin_api_says_so(serve: Serve) -> None:
    gateway = serve({"routes": [{"path": "/", "respond": "x"}]})
    assert "the gateway has no Admin API" in run(gateway, "get", code=2).stderr
