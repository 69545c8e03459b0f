"""The quick reader must understand a command line exactly as typer does, or not at all."""

import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from headgate.cli import checking, quick, starting
from headgate.cli.app import app

PLAIN = [
    "proxy :8080 --to localhost:9000",
    "proxy --to a:1 --to=b:2 :8080 --workers 3",
    "proxy :8080 --to a:1 --workers=1 --access-log json --log-format json --log-level debug",
    "proxy :8080 --to a:1 --pid-file x.pid --user nobody --group nogroup",
    "run gate.py",
    "run gate.py --reload --workers 2",
    "run --pid-file=x.pid gate.yaml",
    "run --require-fips gate.yaml",
    "proxy :8080 --to a:1 --require-fips",
    "run gate.yaml --user nobody --keep-net-admin",
    "check gate.yaml",
    "check gate.yaml --strict",
    "check --strict gate.yaml",
]
OTHERS = [
    "",
    "--help",
    "status",
    "proxy",
    "proxy --help",
    "proxy :8080",
    "proxy :8080 :8081 --to a:1",
    "proxy :8080 --to",
    "proxy :8080 --to --workers",
    "proxy :8080 --to a:1 --workers 0",
    "proxy :8080 --to a:1 --workers many",
    "proxy :8080 --to a:1 --workers 1 --workers 2",
    "proxy :8080 --to a:1 -w 2",
    "proxy :8080 --to a:1 --wor 2",
    "proxy :8080 --to a:1 --access_log json",
    "proxy :8080 --to a:1 --pid-file .",
    "proxy -- :8080 --to a:1",
    "run",
    "run gate.py --to a:1",
    "run gate.py --reload=1",
    "check",
    "check --help",
    "check --strict",
    "check --strict --strict gate.yaml",
    "check --stric gate.yaml",
    "check -- gate.yaml",
    "check ''",
    "check one.yaml two.yaml",
]


@pytest.mark.parametrize("line", PLAIN)
def test_plain_line_means_the_same_to_both_readers(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, Any] = {}
    for command in ("proxy", "run"):
        monkeypatch.setattr(starting, command, lambda **arguments: heard.update(arguments))
    monkeypatch.setattr(checking, "check", lambda **arguments: heard.update(arguments))
    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code == 0, result.output
    read = quick.read(shlex.split(line))
    assert read is not None
    assert read.arguments == {key: str(value) if key == "file" else value for key, value in heard.items()}


def test_environment_gives_the_same_to_both_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_LOG_FORMAT", "json")
    test_plain_line_means_the_same_to_both_readers("run gate.py", monkeypatch)


@pytest.mark.parametrize("line", OTHERS)
def test_everything_else_is_left_to_typer(line: str) -> None:
    assert quick.read(shlex.split(line)) is None
