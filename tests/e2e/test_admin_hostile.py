"""What goes wrong around a node's agent: folders, other agents, stores that are away or give garbage, leaks."""

import json
import os
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RawClient, RunningGateway, Serve, TlsClient, eventually, free_port
from e2e.kit import gateway as gateway_kit
from e2e.kit.admin import Admin
from e2e.kit.client import format_request
from e2e.kit.pki import Authority


def described(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(folder / "state"),
        "routes": [{"path": "/file", "respond": "of the file"}],
        **more,
    }


def test_two_gateways_do_not_share_a_state_folder(serve: Serve, tmp_path: Path) -> None:
    serve(described(tmp_path))
    second = described(tmp_path, admin=f"unix:{tmp_path}/another.sock")
    (tmp_path / "second").mkdir()
    other = RunningGateway(tmp_path / "second", second)
    other.start(is_ready=False)
    assert other.process.wait(timeout=60) == 2
    assert (
        "is held by another agent" in other.log()
        and "give each gateway its own `state_folder`" in other.log()
    )


def test_the_last_good_configuration_serves_when_the_store_is_away_at_the_start(
    serve: Serve, tmp_path: Path
) -> None:
    first = serve(described(tmp_path))
    assert (
        Admin(f"unix:{tmp_path}/admin.sock").put("/v1/routes/r", {"path": "/r", "respond": "r"}).status == 201
    )
    eventually(lambda: "/r" in (tmp_path / "state" / "last-good.json").read_text(), "it is kept")
    assert (tmp_path / "state" / "last-good.json").stat().st_mode & 0o777 == 0o600
    first.stop()
    for file in (tmp_path / "state").glob("config.db*"):
        file.unlink()
    (tmp_path / "state" / "config.db").write_bytes(b"not a database at all" * 1000)
    again = serve(described(tmp_path))
    assert again.get("/r").text == "r"
    assert "still serving the last good configuration" in again.log()
    refused = Admin(f"unix:{tmp_path}/admin.sock").put("/v1/routes/s", {"path": "/s", "respond": "s"})
    assert refused.status in (502, 503), refused.body
    assert again.get("/r").text == "r"


def test_a_last_good_file_of_garbage_is_left_aside(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    for garbage in ("{", "[]", '{"resources": {"routes": []}, "revision": "x", "numbers": {}}'):
        (tmp_path / "state" / "last-good.json").write_text(garbage)
    gateway = serve(described(tmp_path))
    assert gateway.get("/file").text == "of the file"
    assert "cannot read the last good configuration" in gateway.log()


def test_an_agent_that_is_killed_again_and_again_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(described(tmp_path), workers=2)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    for number in range(4):
        os.kill(gateway.ask()["agent"], signal.SIGKILL)
        eventually(lambda: gateway.ask()["agent"] is not None, "there is another")
        assert admin.put(f"/v1/routes/r{number}", {"path": f"/r{number}", "respond": "r"}).status == 201
    assert [gateway.get(f"/r{number}").text for number in range(4)] == ["r"] * 4
    assert gateway.get("/file").text == "of the file"


def test_secrets_of_plugins_and_tokens_are_nowhere_to_be_read(serve: Serve, tmp_path: Path) -> None:
    token = "PLANTED-token-0123456789"
    gateway = serve(
        described(
            tmp_path,
            admin={"listen": f"unix:{tmp_path}/admin.sock", "tokens": {"token": token, "name": "t"}},
            plugins=[
                {"plugin": "key-auth", "on": "/locked", "config": {"keys": {"a": "PLANTED-in-the-file"}}}
            ],
        )
    )
    admin = Admin(f"unix:{tmp_path}/admin.sock", token)
    use = {"plugin": "key-auth", "on": "/other", "config": {"keys": {"a": "PLANTED-in-the-store"}}}
    responses = [
        admin.put("/v1/plugins/p", use),
        admin.put("/v1/plugins/p", {**use, "config": {**use["config"], "x": 1}}),
    ]
    for target in ("config", "status", "history", "export", "plugins", "plugins/p", "diff?from=0"):
        responses.append(admin.get(f"/v1/{target}"))
    for response in responses:
        assert response.status in (200, 201, 422) and b"PLANTED" not in response.body, response.body
    for arguments in (
        ("status", "--json"),
        ("config", "show", str(gateway.file)),
        ("check", str(gateway.file)),
    ):
        done = gateway.cli(*arguments)
        assert "PLANTED" not in done.stdout + done.stderr, arguments
    assert "PLANTED" not in gateway.log() + gateway.output()
    assert json.loads(gateway.cli("status", "--json").stdout)["admin"] == [f"unix:{tmp_path}/admin.sock"]


def test_a_body_that_is_too_large_is_refused_before_it_comes_and_a_large_one_serves(
    serve: Serve, tmp_path: Path
) -> None:
    gateway = serve(described(tmp_path), workers=2)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    with RawClient(admin.address, timeout=60) as client:
        fields = [("Content-Type", "application/json"), ("Content-Length", str(129 << 20))]
        client.send(format_request("POST", "/v1/import", fields, host="localhost"))
        assert client.response("POST").status == 413
    routes = {f"r{n}": {"path": f"/r{n}", "respond": {"body": "x" * 100_000}} for n in range(100)}
    assert admin.ask("POST", "/v1/import", {"resources": {"routes": routes}}).status == 200
    assert len(gateway.get("/r99").body) == 100_000
    broken = {"resources": {"routes": {**routes, "bad": {"path": "~(", "respond": "x"}}}}
    refused = admin.ask("POST", "/v1/import", broken)
    assert refused.status == 422 and refused.json()["errors"][0]["resource"] == "routes/bad"
    assert len(refused.body) < 4000
    assert len(gateway.get("/r99").body) == 100_000 and gateway.get("/file").status == 200
    assert max(map(len, gateway.log().splitlines())) < 5000


@pytest.fixture
def obeys_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways that may not read what its mode forbids them to, though they run as root."""
    if os.geteuid() != 0:
        return
    command = tmp_path / "headgate-without-rights"
    capabilities = "-dac_override,-dac_read_search"
    command.write_text(
        f'#!/bin/sh\nexec setpriv --bounding-set={capabilities} "{gateway_kit.HEADGATE}" "$@"\n'
    )
    command.chmod(0o755)
    monkeypatch.setattr(gateway_kit, "HEADGATE", command)


UNREADABLE = "unreadable"


@pytest.mark.usefixtures("obeys_modes")
def test_files_that_security_rests_on_are_never_done_without(
    serve: Serve, tmp_path: Path, authority: Authority
) -> None:
    leaf = authority.issue("gate.test")
    files = {name: tmp_path / name for name in ("ca.pem", "key", "token")}
    texts = {"ca.pem": Path(authority.ca).read_text(), "key": "alice-key", "token": "0123456789abcdef-token"}
    for name, file in files.items():
        file.write_text(texts[name])
    gateway = serve(
        described(
            tmp_path,
            admin={"listen": f"unix:{tmp_path}/admin.sock", "tokens": f"file:{files['token']}"},
            listeners=[
                {
                    "address": f"unix:{tmp_path}/secure.sock",
                    "tls": {
                        "certificates": leaf.files,
                        "client_certificates": {"mode": "required", "ca": str(files["ca.pem"])},
                    },
                },
                f"127.0.0.1:{(port := free_port())}",
            ],
            consumers={"alice": f"file:{files['key']}"},
            plugins=["key-auth"],
        ),
        listen=f"127.0.0.1:{port}",
    )
    for name, file in files.items():
        for damage in ("", None, UNREADABLE):
            if damage == UNREADABLE:
                file.chmod(0)
            elif damage is None:
                file.unlink()
            else:
                file.write_text(damage)
            done = gateway.cli("reload")
            assert done.returncode != 0 and name in done.stderr, (name, damage, done.stderr)
            started = gateway.cli("check", str(gateway.file))  # as a start would load it
            assert started.returncode == 2 and name in started.stderr, (name, damage, started.stderr)
            file.unlink(missing_ok=True)
            file.write_text(texts[name])
    assert gateway.get("/file", [("x-api-key", "alice-key")]).text == "of the file"
    assert gateway.get("/file").status == 401
    assert Admin(f"unix:{tmp_path}/admin.sock").get("/v1/routes").status == 401
    assert Admin(f"unix:{tmp_path}/admin.sock", texts["token"]).get("/v1/routes").status == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with TlsClient(f"unix:{tmp_path}/secure.sock", authority.client(), "gate.test") as client:
            client.get("/file")
    assert gateway.cli("reload").returncode == 0


@pytest.mark.usefixtures("obeys_modes")
def test_a_state_folder_that_may_not_be_entered_is_named_and_what_serves_goes_on(
    serve: Serve, tmp_path: Path
) -> None:
    folder, state = tmp_path / "conf.d", tmp_path / "state"
    folder.mkdir()
    gateway = serve(described(tmp_path) | {"store": f"files:{folder}"})
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert admin.put("/v1/routes/a", {"path": "/a", "respond": "a"}).status == 201
    state.chmod(0)
    try:
        agent = gateway.ask()["agent"]
        os.kill(agent, signal.SIGKILL)
        gateway.wait_for_log(f"Permission denied: .*{state}/agent.lock", within=30)
        assert [gateway.get(path).status for path in ("/a", "/file")] == [200, 200]
        other = {"admin": f"unix:{tmp_path}/other.sock", "state_folder": str(state)}
        refused = serve({**other, "routes": [{"path": "/", "respond": "x"}]}, is_ready=False)
        assert refused.process.wait(timeout=60) == 2
        assert "`state_folder` says where" in refused.log(), refused.log()
    finally:
        state.chmod(0o700)
    eventually(
        lambda: admin.put("/v1/routes/b", {"path": "/b", "respond": "b"}).status in (200, 201),
        "changes are taken again",
        within=60,
    )
    assert [gateway.get(path).text for path in ("/a", "/b")] == ["a", "b"]


@pytest.mark.slow
def test_a_snapshot_of_a_hundred_megabytes_serves_or_is_refused_and_changes_go_on(
    serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "conf.d"
    (folder / "routes").mkdir(parents=True)
    gateway = serve(described(tmp_path) | {"store": f"files:{folder}"}, workers=1)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    beside = tmp_path / "beside"
    beside.mkdir()
    for number in range(100):
        text = json.dumps({"path": f"/large/{number}", "respond": {"body": "x" * 1_000_000}})
        (beside / f"large{number}.json").write_text(text)
    for file in sorted(beside.iterdir()):
        file.rename(folder / "routes" / file.name)
    eventually(lambda: len(gateway.get("/large/99").body) == 1_000_000, "it serves", within=120)
    assert {len(gateway.get(f"/large/{number}").body) for number in range(100)} == {1_000_000}
    assert admin.put("/v1/routes/small", {"path": "/small", "respond": "small"}).status == 201
    assert gateway.get("/small").text == "small" and gateway.get("/file").status == 200
    wrong = folder / "routes" / "wrong.json"
    wrong.write_text(json.dumps({"path": "~(", "respond": "x" * 1_000_000}))
    eventually(lambda: "cannot be applied" in gateway.log() or "routes/wrong" in gateway.log(), "it is told")
    assert gateway.get("/small").text == "small" and len(gateway.get("/large/0").body) == 1_000_000
    assert max(map(len, gateway.log().splitlines())) < 5000
