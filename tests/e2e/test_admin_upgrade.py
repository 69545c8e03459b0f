"""The agent over upgrades, reloads of code, and files that want another Admin API or none."""

import os
import signal
from pathlib import Path
from typing import Any

from e2e.kit import Serve, eventually
from e2e.kit.admin import Admin


def described(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(folder / "state"),
        "routes": [{"path": "/file", "respond": "of the file"}],
        **more,
    }


def test_a_successor_takes_over_resources_and_socket(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(described(tmp_path))
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert admin.put("/v1/routes/r", {"path": "/r", "respond": "r"}).status == 201
    first = gateway.process.pid
    reply = gateway.ask("upgrade")
    assert reply["ok"], reply
    gateway.process.wait(timeout=40)
    try:
        assert gateway.get("/r").text == "r"
        assert admin.put("/v1/routes/s", {"path": "/s", "respond": "s"}).status == 201
        assert gateway.get("/s").text == "s"
        assert reply["pid"] != first
    finally:
        os.kill(reply["pid"], signal.SIGTERM)


def test_a_file_may_move_the_admin_api_and_take_it_away(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(described(tmp_path))
    old, new = Admin(f"unix:{tmp_path}/admin.sock"), Admin(f"unix:{tmp_path}/other.sock")
    assert old.put("/v1/routes/r", {"path": "/r", "respond": "r"}).status == 201
    gateway.write(described(tmp_path, admin=f"unix:{tmp_path}/other.sock"))
    assert gateway.ask("reload")["ok"]
    assert new.get("/v1/routes/r").status == 200 and gateway.get("/r").text == "r"
    assert not (tmp_path / "admin.sock").exists()
    gateway.write({"routes": [{"path": "/file", "respond": "alone"}]})
    assert gateway.ask("reload")["ok"]
    assert (gateway.get("/file").text, gateway.get("/r").status) == ("alone", 404)
    eventually(lambda: gateway.ask()["agent"] is None, "the agent is stopped")
    assert not (tmp_path / "other.sock").exists()
    gateway.write(described(tmp_path))
    assert gateway.ask("reload")["ok"]
    assert gateway.get("/r").text == "r" and old.get("/v1/routes/r").status == 200


def test_a_reload_that_fails_leaves_file_and_resources_as_they_were(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(described(tmp_path, upstreams={"u": "127.0.0.1:9"}))
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert admin.put("/v1/routes/r", {"path": "/r", "to": "u"}).status == 201
    gateway.write(described(tmp_path))  # without the upstream that a resource names
    refused = gateway.ask("reload")
    assert not refused["ok"], refused
    assert "`u`" in refused["error"] and "routes/r" in refused["error"], refused
    assert gateway.get("/r").status == 502 and gateway.get("/file").text == "of the file"
    gateway.write(described(tmp_path, upstreams={"u": "127.0.0.1:9"}))
    assert gateway.ask("reload")["ok"]
    # the agent that is just ending refuses changes for the moment
    eventually(lambda: admin.delete("/v1/routes/r").status in (204, 404), "the next agent takes changes")
    assert gateway.get("/r").status == 404
