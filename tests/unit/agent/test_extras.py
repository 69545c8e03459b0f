"""The agent of a gateway without an Admin API needs none of the packages of extras."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.compile.loading import load
from headgate.config.errors import ConfigError
from headgate.worker.source import node_settings

BLOCKED = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("starlette", "acme", "asyncpg", "h2", "redis", "wsproto", "cryptography"):
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
import headgate.agent.process
import headgate.agent.discovering
import headgate.discovery.finding
"""


def test_agent_starts_without_the_packages_of_extras() -> None:
    ended = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_admin_api_without_its_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("listeners: ':8080'\nadmin: unix:/run/admin.sock\nroutes: []\n")
    gateway = load(file)
    assert node_settings(gateway, file)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "starlette" else found(name)
    )
    with pytest.raises(ConfigError, match="the Admin API needs the package `starlette`"):
        node_settings(gateway, file)
