"""Inspection on this Python, and on every other one that is there: each has its own way to tap code."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
SOURCES = Path(__file__).parents[3] / "src"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("inspection_scenarios", FOLDER / "scenarios.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("scenario", load().SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_inspection(scenario: Callable[[], None]) -> None:
    scenario()


def others() -> list[Path]:
    """The newest of each minor version that has `sys.monitoring`, from pyenv."""
    found = {}
    for folder in sorted(Path.home().glob(".pyenv/versions/3.1[2-9].*")):
        if (python := folder / "bin" / "python").exists():
            found[folder.name.rpartition(".")[0]] = python
    return list(found.values())


@pytest.mark.skipif(not others(), reason="no other Python is here")
@pytest.mark.parametrize("python", others(), ids=lambda python: python.parents[1].name)
def test_inspection_on_another_python(python: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    ran = subprocess.run(
        [python, FOLDER / "scenarios.py"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert "scenarios" in ran.stdout
    assert sys.version_info >= (3, 11)
