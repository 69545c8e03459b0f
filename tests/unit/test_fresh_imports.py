"""Which imports are compiled from their source each time."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.compile import fresh_imports
from headgate.compile.fresh_imports import FreshLoader, import_fresh_from


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    monkeypatch.setattr(sys, "path_importer_cache", dict(sys.path_importer_cache))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_and_packages_of_the_folder_leave_no_bytecode(folder: Path) -> None:
    (folder / "fresh_package").mkdir()
    (folder / "fresh_package" / "__init__.py").write_text("from .inner import VALUE\n")
    inner = folder / "fresh_package" / "inner.py"
    inner.write_text("VALUE = 1\n")
    import_fresh_from(folder)
    import_fresh_from(folder)
    module = importlib.import_module("fresh_package")
    assert module.VALUE == 1 and isinstance(module.__loader__, FreshLoader)
    assert not list(folder.rglob("*.pyc"))
    times = inner.stat()
    inner.write_text("VALUE = 2\n")
    os.utime(inner, ns=(times.st_atime_ns, times.st_mtime_ns))
    del sys.modules["fresh_package"], sys.modules["fresh_package.inner"]
    assert importlib.import_module("fresh_package").VALUE == 2


@pytest.mark.parametrize("place", ["site-packages", ".venv/lib/python3.11/site-packages", "library"])
def test_installed_libraries_are_imported_as_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(fresh_imports, "LIBRARY", (folder / "library",))
    (folder / place).mkdir(parents=True)
    (folder / place / "installed_one.py").write_text("VALUE = 1\n")
    sys.path.insert(0, str(folder / place))
    import_fresh_from(folder)
    module = importlib.import_module("installed_one")
    assert not isinstance(module.__loader__, FreshLoader)
