"""What the commands print and how they end; those that serve are tested with the supervisor."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headgate.cli.app import app

GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen(":8080")
api = gate.upstream("api", "10.0.0.1:9000")
gate.route("/api/*", to=api, host="example.com", name="api")
gate.route("/", respond=204)
"""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    file = tmp_path / "gate.py"
    file.write_text(GATE)
    return file


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def test_check_says_nothing_on_stdout(gate: Path) -> None:
    code, output, errors = run("check", gate)
    assert (code, output) == (0, "")
    assert "ok; listens on :8080" in errors


def test_check_names_the_port_of_http3_as_the_log_does(
    gate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path / "data"))
    gate.write_text(GATE.replace('":8080"', '":8443", tls={"local": ["localhost"]}, http3=True'))
    code, _, errors = run("check", gate)
    assert code == 0 and "ok; listens on :8443, udp::8443" in errors


def test_check_names_the_line_and_the_right_name(gate: Path) -> None:
    gate.write_text(GATE + "gate.upstrem('x')\n")
    code, _, errors = run("check", gate)
    assert code == 2
    assert errors == (
        f"error: {gate}:8: AttributeError: 'Gateway' object has no attribute 'upstrem'\n"
        "  hint: did you mean `upstream`?\n"
    )


def test_check_refuses_a_gateway_that_listens_on_nothing(gate: Path) -> None:
    gate.write_text("from headgate import Gateway\ngate = Gateway()\ngate.route('/', respond=204)\n")
    code, _, errors = run("check", gate)
    assert code == 2 and "has no listeners" in errors


def test_routes_are_listed(gate: Path) -> None:
    code, output, _ = run("routes", gate)
    assert code == 0
    assert "api" in output and "example.com" in output and "to api" in output and "respond 204" in output


def test_config_show_prints_defaults_too(gate: Path) -> None:
    code, output, _ = run("config", "show", gate, "--format", "json")
    assert code == 0
    assert json.loads(output)["timeouts"]["client_head"]
    assert "client_head:" in run("config", "show", gate)[1]


def test_config_schema_is_json(gate: Path) -> None:
    code, output, _ = run("config", "schema")
    assert code == 0 and "properties" in json.loads(output)


def test_version_is_printed() -> None:
    code, output, _ = run("version")
    assert code == 0 and output.startswith("headgate ")


@pytest.mark.parametrize("command", ["status", "reload", "stop", "upgrade"])
def test_commands_for_a_gateway_that_is_not_there_end_with_3(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_RUNTIME_DIR", str(tmp_path))
    code, _, errors = run(command)
    assert code == 3 and "no gateway is running" in errors


def test_wrong_usage_ends_with_2() -> None:
    assert run("proxy", ":8080")[0] == 2
    assert run("run", "nowhere.py")[0] == 2
    assert run("proxy", ":8080", "--to", "a:1", "--log-level", "loud")[0] == 2


def test_help_tells_the_exit_codes() -> None:
    assert "3 no gateway is running" in " ".join(run("--help")[1].split())


def test_strict_check_takes_warnings_for_errors(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(
        "listeners: ':8080'\nupstreams: {a: '127.0.0.1:1', b: '127.0.0.1:2'}\nroutes: [{to: a}]\n"
    )
    assert run("check", file)[0] == 0
    code, _, errors = run("check", file, "--strict")
    assert code == 2 and "nothing leads to the upstream `b`" in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["json:lods"], "`json` has no function `lods`\n  hint: did you mean `loads`?"),
        (["no_such_module:serve"], "hint: start it in the folder of `no_such_module`, or set PYTHONPATH"),
        (["json"], "hint: write `module:function`"),
        (["json:loads", "--list", "a"], "hint: give both, on the command line `--redis` and `--list`"),
        (["json:loads", "--to", "http://b/w"], "on the command line `--redis` and `--list`"),
        (
            ["json:loads", "--redis", "http://:secret@c", "--list", "a"],
            "not a Redis URL\n  hint: write `redis://",
        ),
    ],
)
def test_a_worker_that_cannot_start_says_what_to_write(arguments: list[str], told: str) -> None:
    code, _, errors = run("pull", "worker", *arguments, "--to", "http://a/w", "--token", "t" * 32)
    assert code == 2 and told in errors and "secret" not in errors


def test_compacting_without_a_bound_says_which_there_are() -> None:
    code, _, errors = run("compact")
    assert code == 2 and "--keep or --older-than is required\n  hint: write `--keep 1000`" in errors
