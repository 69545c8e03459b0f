"""Secrets that change: a file is taken up without a command; a vault is asked by a function of the user's."""

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.admin import Admin

GATE = """
import asyncio
from pathlib import Path
from headgate import Gateway
from headgate.plugins import KeyAuth

gate = Gateway()


@gate.secrets("vault")
async def read(path):
    await asyncio.sleep(0)
    return Path(FOLDER, "vault", path).read_text()


@gate.secrets("fixed")
def fixed(path):
    return f"{path}-secret"


gate.listen(LISTEN)
gate.admin(f"unix:{FOLDER}/admin.sock")
gate.state_folder(f"{FOLDER}/state")
gate.consumer("alice", keys="vault:alice")
gate.consumer("bob", keys=f"fixed:bob")
gate.use(KeyAuth(keys={"carol": "vault:carol"}))
gate.route("/", respond="in")
"""


def replace(file: Path, text: str) -> None:
    """Changes a file as tools for secrets do."""
    staged = file.with_name(f".{file.name}")
    staged.write_text(text)
    staged.replace(file)


def statuses(gateway: RunningGateway, *keys: str) -> list[int]:
    return [gateway.get("/", [("x-api-key", key)]).status for key in keys]


@pytest.mark.parametrize("has_agent", [False, True])
def test_a_changed_secret_file_is_taken_up_in_place(serve: Serve, tmp_path: Path, has_agent: bool) -> None:
    for name in ("alice", "plugin"):
        (tmp_path / name).write_text(f"{name}-old\n")
    described: dict[str, Any] = {
        "consumers": {"alice": f"file:{tmp_path}/alice"},
        "plugins": [{"plugin": "key-auth", "config": {"keys": {"bob": f"file:{tmp_path}/plugin"}}}],
        "routes": [{"path": "/", "respond": "in"}],
    }
    if has_agent:
        described |= {"admin": f"unix:{tmp_path}/admin.sock", "state_folder": str(tmp_path / "state")}
    gateway = serve(described, workers=2)
    workers = gateway.workers
    if has_agent:
        (tmp_path / "store").write_text("store-old")
        admin = Admin(f"unix:{tmp_path}/admin.sock")
        assert admin.put("/v1/consumers/carol", {"keys": f"file:{tmp_path}/store"}).status == 201
        assert statuses(gateway, "store-old") == [200]
        replace(tmp_path / "store", "store-new")
        eventually(
            lambda: statuses(gateway, *["store-new"] * 3, "store-old") == [200] * 3 + [401],
            "of the store",
            within=60,
        )
    assert statuses(gateway, "alice-old", "plugin-old") == [200, 200]
    for name in ("alice", "plugin"):
        replace(tmp_path / name, f"{name}-new\n")
    wanted = ["alice-new", "plugin-new"] * 3
    eventually(lambda: statuses(gateway, *wanted) == [200] * 6, "the new secrets are taken", within=60)
    assert statuses(gateway, "alice-old", "plugin-old") == [401, 401]
    assert gateway.workers == workers
    gateway.wait_for_log("a secret file has changed; reloading")
    assert "-new" not in gateway.log() and "-old" not in gateway.log()


def test_a_secret_file_that_is_gone_or_empty_leaves_the_last_secret(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "alice"
    file.write_text("alice-old")
    described: dict[str, Any] = {
        "consumers": {"alice": f"file:{file}"},
        "plugins": ["key-auth"],
        "routes": [{"path": "/", "respond": "in"}],
    }
    gateway = serve(described)
    file.unlink()
    gateway.wait_for_log("a secret file is gone; its last secret stays in use")
    assert statuses(gateway, "alice-old", "") == [200, 401]
    file.write_text("")
    gateway.wait_for_log("is empty", within=60)
    assert "reload failed; still serving generation 1" in gateway.log()
    assert statuses(gateway, "alice-old", "") == [200, 401]
    file.write_text("alice-new")
    eventually(lambda: statuses(gateway, "alice-new") == [200], "the new one is taken", within=60)


def test_functions_of_the_user_fetch_secrets(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    for name in ("alice", "carol", "dave"):
        (tmp_path / "vault" / name).write_text(f"{name}-old")
    gateway = serve(GATE, names={"FOLDER": str(tmp_path)})
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert statuses(gateway, "alice-old", "bob-secret", "carol-old", "vault:alice") == [200, 200, 200, 401]
    assert admin.put("/v1/consumers/dave", {"keys": "vault:dave"}).status == 201
    assert statuses(gateway, "dave-old") == [200]
    assert admin.get("/v1/consumers/dave").json() == {"keys": "vault:dave"}
    refused = admin.put("/v1/consumers/eve", {"keys": "vault:eve"})
    assert refused.status == 422
    assert "the secret `vault:eve` cannot be resolved: FileNotFoundError" in refused.json()["detail"]
    for name in ("alice", "carol", "dave"):
        (tmp_path / "vault" / name).write_text(f"{name}-new")
    assert gateway.cli("reload").returncode == 0
    assert statuses(gateway, "alice-new", "carol-new", "dave-new", "alice-old") == [200, 200, 200, 401]
    shown = gateway.cli("config", "show", str(gateway.file)).stdout + gateway.log()
    assert "-old" not in shown and "-new" not in shown and "bob-secret" not in shown
