"""What a gateway was loaded from: the user's own files by their content, libraries by size and date."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from .fresh_imports import INSTALLED, LIBRARY, OWN

GRAIN_NS = 20_000_000
"""Dates of files are no finer than that."""


class Sources:
    """The files behind the modules that were loaded, as they were then. `begun_ns` is when loading began."""

    def __init__(self, begun_ns: int, files: tuple[Path, ...] = ()) -> None:
        self._begun_ns = begun_ns
        self.users: dict[str, str] = {str(file): _content(str(file)) for file in files}
        """Digest of the content, by path."""
        self._libraries: dict[str, tuple[int, int]] = {}
        for path in _files():
            if is_users_file(path):
                self.users[path] = _content(path)
            else:
                self._libraries[path] = _stamp(path)
        for path in self.users:
            if _stamp(path)[1] > begun_ns - GRAIN_NS:
                self.users[path] = "saved while it was loaded"  # which version is in memory is not known

    def changed(self, others: dict[str, str]) -> str | None:
        """A file that is not what it was when it was loaded here; `others` is what another process has loaded now."""
        for path, digest in others.items():
            if self.users.get(path) != digest:
                return path
        for path, stamp in self._libraries.items():
            if _stamp(path) != stamp:
                return path
        for path in _files():  # loaded later, such as by an import within a hook
            known = path in self.users or path in self._libraries
            if not known and _stamp(path)[1] > self._begun_ns - GRAIN_NS:
                return path
        return None


def is_users_file(path: str) -> bool:
    """Whether a file is neither of Python, nor an installed package's, nor headgate's."""
    place = Path(path)
    if any(place.is_relative_to(library) for library in (*LIBRARY, OWN)):
        return False
    return not set(place.parts) & set(INSTALLED)


def is_users_module(name: str) -> bool:
    """Whether a module of that name is loaded, from a file of the user's."""
    path = _file_of(sys.modules.get(name))
    return path is not None and is_users_file(path)


def now_ns() -> int:
    """The time that files are dated by."""
    return time.time_ns()


def _files() -> list[str]:
    return [path for module in list(sys.modules.values()) if (path := _file_of(module)) is not None]


def _file_of(module: Any) -> str | None:
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) else None


def _content(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return "gone"


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)
