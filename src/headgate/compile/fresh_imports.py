"""Imports from the user's own folder are always compiled from their source.

Python's bytecode files are matched to their source by its size and the second it was saved in. A module that is saved
twice within a second would be loaded as its former self, and a reload must never do that. Installed libraries are
imported as ever.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Callable
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.importlib import PathEntryFinderProtocol as PathEntryFinder

INSTALLED = ("site-packages", "dist-packages")
LIBRARY = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
OWN = Path(__file__).parent.parent


class FreshLoader(SourceFileLoader):
    """Neither reads nor writes bytecode files."""

    def get_code(self, fullname: str) -> CodeType:
        """The module's source, compiled."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module; the gateway's own file is refused, which is loaded under another name already."""
        file = Path(self.path)
        loaded = LOADED.get(file.resolve())
        if loaded is not None and loaded is not module:
            raise SecondLoad(file, loaded.__name__, module.__name__)
        super().exec_module(module)


MADE_UP = "headgate_file_"
"""How the module begins of a gateway's file whose own name no `import` can say."""


def _importable(stem: str) -> str:
    name = re.sub(r"\W", "_", stem)
    return name if name.isidentifier() else f"gate_{name}"


LOADED: dict[Path, ModuleType] = {}
"""The gateways' files that this process has run, as the modules they are."""


class SecondLoad(ImportError):
    """A gateway's file would be run a second time, and make a second gateway that no request meets."""

    def __init__(self, file: Path, first: str, second: str) -> None:
        self.sentence = f"`{file.name}` is loaded as module `{first}` and cannot be `{second}` too"
        self.hint = f"write `import {first}`"
        if first.startswith(MADE_UP):
            name = _importable(file.stem)
            self.hint = f"rename `{file.name}` to `{name}.py`, and write `import {name}`"
        super().__init__(f"{self.sentence}; hint: {self.hint}", name=second, path=str(file))


def import_fresh_from(folder: Path) -> None:
    """Lets modules in and below `folder` be loaded so; asked again for the same folder it does nothing."""
    if any(getattr(hook, "folder", None) == folder for hook in sys.path_hooks):
        return
    sys.path_hooks.insert(0, _hook(folder))
    for path in [known for known in sys.path_importer_cache if _is_in(known, folder)]:
        del sys.path_importer_cache[path]


def _hook(folder: Path) -> Callable[[str], PathEntryFinder]:
    finder = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (FreshLoader, SOURCE_SUFFIXES))

    def hook(path: str) -> PathEntryFinder:
        if not _is_in(path, folder):
            raise ImportError(path)  # as a path hook says that it is another one's
        return finder(path)

    hook.folder = folder  # type: ignore[attr-defined]
    return hook


def _is_in(path: str, folder: Path) -> bool:
    place = Path(path)
    if not place.is_relative_to(folder) or any(place.is_relative_to(library) for library in (*LIBRARY, OWN)):
        return False  # Python itself may be installed below the user's folder
    return not set(place.relative_to(folder).parts) & set(INSTALLED)
