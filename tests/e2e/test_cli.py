"""The command line: what each command prints, where, and with which exit code."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from e2e.kit import HEADGATE, Origin, RawClient, RunningGateway, Serve, eventually, free_port, run_cli

GATE = """from headgate import Gateway

gate = Gateway()
gate.listen("127.0.0.1:18999")
api = gate.upstream("api", "10.0.0.1:9000 weight=2")
gate.route("/api/{version}/*", to=api, host="*.example.com", methods="GET")
gate.route("/old", redirect="/new")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gate.py").write_text(GATE)
    return tmp_path


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module({"routes": [{"respond": "x"}]})


@pytest.mark.parametrize("words", ["version", "--version"])
def test_version_is_printed(folder: Path, words: str) -> None:
    result = run_cli(words, cwd=folder)
    assert result.returncode == 0
    assert re.fullmatch(r"headgate \d+\.\d+\.\d+\S*\ntls module=\S+ fips=(true|false)\n", result.stdout)


def test_help_lists_the_commands_and_exit_codes(folder: Path) -> None:
    result = run_cli("--help", cwd=folder)
    assert result.returncode == 0
    for command in (
        "proxy",
        "run",
        "check",
        "reload",
        "stop",
        "status",
        "config",
        "routes",
        "version",
        "upgrade",
    ):
        assert command in result.stdout
    assert "Exit codes" in result.stdout


def test_unknown_command_is_wrong_usage(folder: Path) -> None:
    result = run_cli("rnu", cwd=folder)
    assert result.returncode == 2
    assert result.stdout == ""


def test_check_says_that_all_is_well(folder: Path) -> None:
    result = run_cli("check", "gate.py", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "127.0.0.1:18999" in result.stderr


def test_check_of_a_missing_file_names_a_similar_one(folder: Path) -> None:
    result = run_cli("check", "gtae.py", cwd=folder)
    assert result.returncode == 2
    assert "gtae.py" in result.stderr
    assert "`gate.py`" in result.stderr


def test_routes_are_listed(folder: Path) -> None:
    result = run_cli("routes", "gate.py", cwd=folder)
    assert result.returncode == 0
    assert "/api/{version}/*" in result.stdout
    assert "*.example.com" in result.stdout
    assert "/new" in result.stdout


def test_names_are_not_wrapped_when_piped(folder: Path) -> None:
    name = "a-route-whose-name-is-long-" * 5
    (folder / "gate.py").write_text(GATE + f'gate.route("/long", respond="x", name="{name}")\n')
    assert name in run_cli("routes", "gate.py", cwd=folder).stdout


def test_check_writes_nothing_into_the_home_directory(folder: Path) -> None:
    (folder / "gate.yaml").write_text(
        "listeners: {address: '127.0.0.1:0', tls: {local: localhost}}\nroutes: [{path: /, respond: x}]\n"
    )
    home = folder / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    checked = run_cli("check", "gate.yaml", cwd=folder, environment={**environment, "HOME": str(home)})
    assert checked.returncode == 0, checked.stderr
    assert list(home.iterdir()) == []


def test_pid_file_in_a_missing_folder_is_wrong_usage(folder: Path) -> None:
    result = run_cli("run", "gate.py", "--pid-file", "missing/pid", cwd=folder)
    assert result.returncode == 2
    assert result.stderr.startswith(
        f"error: --pid-file: the directory `{folder}/missing` does not exist\n  hint: create it with `mkdir -p "
    )


def test_config_is_shown_with_its_defaults(folder: Path) -> None:
    result = run_cli("config", "show", "gate.py", "--format", "json", cwd=folder)
    shown = json.loads(result.stdout)
    assert shown["limits"]["max_head_bytes"] == 32768
    assert shown["upstreams"]["api"]["servers"][0]["weight"] == 2


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_config_that_is_shown_can_be_run(folder: Path, format: str) -> None:
    result = run_cli("config", "show", "gate.py", "--format", format, cwd=folder)
    (folder / f"shown.{format}").write_text(result.stdout)
    checked = run_cli("check", f"shown.{format}", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    again = run_cli("config", "show", f"shown.{format}", "--format", format, cwd=folder)
    assert again.stdout == result.stdout


def test_schema_is_json(folder: Path) -> None:
    result = run_cli("config", "schema", cwd=folder)
    assert "limits" in json.loads(result.stdout)["properties"]


@pytest.mark.parametrize("command", ["status", "reload", "stop", "upgrade"])
def test_commands_for_a_gateway_say_when_none_runs(folder: Path, command: str) -> None:
    environment = {**os.environ, "HEADGATE_RUNTIME_DIR": str(folder / "none")}
    result = run_cli(command, cwd=folder, environment=environment)
    assert result.returncode == 3
    assert "no gateway is running" in result.stderr
    assert result.stdout == ""


def test_status_shows_workers_and_counters(gateway: RunningGateway) -> None:
    gateway.get("/")
    result = gateway.cli("status")
    assert result.returncode == 0
    assert gateway.address in result.stdout
    assert str(gateway.workers[0]) in result.stdout
    told = json.loads(gateway.cli("status", "--json").stdout)
    assert told["counters"]["requests"] >= 1
    assert told["pid"] == gateway.process.pid


def test_reload_waits_for_the_new_generation(gateway: RunningGateway) -> None:
    before = gateway.ask()["generation"]
    result = gateway.cli("reload")
    assert result.returncode == 0
    assert gateway.ask()["generation"] == before + 1


def test_reload_that_fails_says_why(serve: Serve) -> None:
    gateway = serve({"routes": [{"respond": "x"}]})
    gateway.file.write_text('{"listners": ":0"}')
    result = gateway.cli("reload")
    assert result.returncode == 1
    assert "`listeners`" in result.stderr


def test_stop_waits_for_the_end(serve: Serve) -> None:
    gateway = serve({"routes": [{"respond": "x"}]})
    assert gateway.cli("stop").returncode == 0
    assert gateway.process.wait(timeout=5) == 0


def test_several_gateways_must_be_told_apart(serve: Serve, tmp_path: Path) -> None:
    environment = {"HEADGATE_RUNTIME_DIR": str(tmp_path / "shared")}
    one = serve({"routes": [{"respond": "one"}]}, environment=environment)
    two = serve({"routes": [{"respond": "two"}]}, environment=environment)
    sockets = tmp_path / "shared"
    eventually(lambda: len(list(sockets.glob("*.sock"))) == 2, "both have their sockets")
    result = one.cli("status")
    assert result.returncode == 2
    assert str(one.process.pid) in result.stderr
    assert one.cli("status", "--pid", str(two.process.pid)).returncode == 0


def test_proxy_needs_no_file(folder: Path, origin: Origin) -> None:
    port = free_port()
    arguments = [str(HEADGATE), "proxy", f"127.0.0.1:{port}", "--to", origin.address, "--workers", "1"]
    environment = {**os.environ, "HEADGATE_RUNTIME_DIR": str(folder / "run")}
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=folder, env=environment)
    try:

        def responds() -> bool:
            try:
                with RawClient(f"127.0.0.1:{port}") as client:
                    return client.get("/proxied").status == 200
            except OSError:
                return False

        eventually(responds, lambda: (folder / "proxy.log").read_text(), within=20)
        assert origin.wait_for("/proxied").get("x-forwarded-for") == "127.0.0.1"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


BAD_USAGE = [
    ("proxy", ":1"),
    ("proxy", "nowhere", "--to", ":9000"),
    ("run", "missing.py"),
    ("run",),
    ("run", "gate.py", "--workers", "0"),
    ("run", "gate.py", "--log-level", "loud"),
    ("config", "show"),
]


@pytest.mark.parametrize("arguments", BAD_USAGE, ids=" ".join)
def test_wrong_usage_ends_with_2(folder: Path, arguments: tuple[str, ...]) -> None:
    result = run_cli(*arguments, cwd=folder)
    assert result.returncode == 2, result.stderr
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_completion_is_offered(folder: Path) -> None:
    environment = {
        **os.environ,
        "_HEADGATE_COMPLETE": "complete_bash",
        "COMP_WORDS": "headgate st",
        "COMP_CWORD": "1",
    }
    result = run_cli(cwd=folder, environment=environment)
    assert "status" in result.stdout
    assert "stop" in result.stdout
