"""Directories and stores that a configuration needs: `check` refuses what `run` would end at."""

import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = {
    "access_log: {{to: 'file:{}'}}": "log",
    "error_log: {{to: 'file:{}'}}": "log",
    "metrics: 'unix:{}'": "socket",
    "admin: {{listen: 'unix:{}'}}": "socket",
    "tcp: [{{address: 'unix:{}', to: 'a:1'}}]": "socket",
}


def check(folder: Path, setting: str) -> tuple[int, str]:
    """The exit status of `headgate check`, and what it says."""
    file = folder / "gate.yaml"
    file.write_text(f"listeners: ':8080'\nroutes: [{{respond: x}}]\n{setting}\n")
    command = [sys.executable, "-m", "headgate", "check", str(file)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return made.returncode, made.stderr


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_file_in_a_missing_directory_is_refused_with_its_line(tmp_path: Path, setting: str) -> None:
    status, told = check(tmp_path, setting.format(tmp_path / "missing" / "x"))
    assert status == 2
    assert f"gate.yaml:3: the {SETTINGS[setting].replace('log', 'log file')} `" in told
    assert f"the directory `{tmp_path}/missing` does not exist\n  hint: create it with `mkdir -p" in told


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_file_in_a_directory_that_exists_is_taken(tmp_path: Path, setting: str) -> None:
    assert check(tmp_path, setting.format(tmp_path / "x"))[0] == 0


def test_a_relative_log_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    assert check(tmp_path, "access_log: {to: 'file:logs/a.log'}")[0] == 2
    (tmp_path / "logs").mkdir()
    assert check(tmp_path, "access_log: {to: 'file:logs/a.log'}")[0] == 0


def test_a_log_file_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    status, told = check(tmp_path, f"error_log: {{to: 'file:{tmp_path}'}}")
    assert (status, "is a directory" in told) == (2, True)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "error_log: {to: 'syslog:/missing'}",
            "the log is lost: the socket of `syslog:/missing` does not exist",
        ),
        (
            "access_log: {to: 'syslog:/missing'}",
            "the log is lost: the socket of `syslog:/missing` does not exist",
        ),
        ("store: 'sqlite:/missing/a.db'", "the directory `/missing` does not exist"),
        ("store: 'sqlite:///missing/a.db'", "the directory `/missing` does not exist"),
        ("store: 'files:/missing/conf.d'", "the directory `/missing/conf.d` does not exist"),
    ],
)
def test_what_a_gateway_runs_without_is_a_warning_with_its_line(
    tmp_path: Path, setting: str, said: str
) -> None:
    status, told = check(tmp_path, setting)
    assert status == 0
    assert "gate.yaml:3: " in told and said in told and "hint: " in told


def test_stores_whose_folders_exist_get_no_warning(tmp_path: Path) -> None:
    for setting in (f"store: 'sqlite:{tmp_path}/a.db'", f"store: 'files:{tmp_path}'"):
        assert "warning" not in check(tmp_path, setting)[1]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "store: 'mongo://10.0.0.1/db'",
            "`mongo` is not a valid store\n  hint: one of files, etcd, postgresql",
        ),
        ("store: 'files:'", "`files:` is not a valid store\n  hint: files:/etc/headgate/conf.d"),
        ("store: 'etcd:'", "`etcd:` is not a valid store\n  hint: etcd://127.0.0.1:2379/headgate"),
        (
            "store: 'postgresql://db/app?prefix=gate'",
            "`gate` is not a valid prefix\n  hint: it ends with `/`",
        ),
    ],
)
def test_a_store_that_cannot_be_opened_is_refused_with_its_line(
    tmp_path: Path, setting: str, said: str
) -> None:
    status, told = check(tmp_path, setting)
    assert status == 2
    assert f"gate.yaml:3: {said}" in told


def test_the_store_of_acme_is_looked_at_too(tmp_path: Path) -> None:
    keys = "store_keys: '0123456789abcdef0123456789abcdef'"
    status, told = check(tmp_path, f"acme: {{email: a@b.example, store: 'mongo:x', {keys}}}")
    assert status == 2
    assert "gate.yaml:3: `mongo` is not a valid store" in told


def test_a_store_that_is_away_is_not_asked(tmp_path: Path) -> None:
    for url in (
        "postgresql://u@127.0.0.1:1/db",
        "etcd://127.0.0.1:1/gate",
        "redis://127.0.0.1:1/0?name=gate",
    ):
        assert check(tmp_path, f"store: '{url}'") == (0, check(tmp_path, "")[1])
