"""The source of an untrusted plugin: read before any of it runs, with everything of its own that it imports.

How it works: imports are found in the syntax, without running anything. Modules of the standard library, and those
that the user trusts, are imported before the process is locked down; all others are kept as text, and run after.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import NamedTuple

from .finding import found_spec, places_of

MOST_MODULES, MOST_BYTES = 500, 16 << 20
NEVER = frozenset(("antigravity", "this", "idlelib", "test", "turtledemo", "lib2to3", "__main__"))
"""Modules of the standard library that do something when they are imported."""

LATE = ("difflib", "traceback", "headgate.ConfigError", "headgate.Response")
"""What is imported later otherwise, by what is given."""

GIVEN = frozenset(("headgate", "pydantic", "pydantic_core", "typing_extensions", "annotated_types"))


class Unreadable(Exception):
    """A module that cannot be isolated; the text says why."""


class Source(NamedTuple):
    """A module as it is in its file."""

    text: bytes
    file: str
    is_package: bool


class Sources(MetaPathFinder, InspectLoader):
    """Modules that are in memory; once they are all there is, nothing is imported from files any more."""

    def __init__(self, name: str, path: Sequence[str], trusted: Sequence[str] = ()) -> None:
        self._path = list(path)
        self._given = GIVEN | set(trusted)
        self.known: dict[str, Source] = {}
        self.trusted: set[str] = set()
        """What is to be imported before the process is locked down."""
        self._read(name)

    @property
    def digest(self) -> str:
        """SHA-256 of all that is kept, in hex."""
        whole = hashlib.sha256()
        for name, source in sorted(self.known.items()):
            whole.update(f"{name}\0{len(source.text)}\0".encode() + source.text)
        return whole.hexdigest()

    def import_trusted(self) -> None:
        """Imports what is trusted; what is not there fails when the plugin imports it."""
        for name in sorted((*self.trusted, *LATE)):
            stem, _, last = name.rpartition(".")
            with suppress(ImportError, AttributeError):
                if stem == "headgate" or (stem and last == "*"):
                    module = importlib.import_module(stem)
                    for one in getattr(module, "__all__", ()) if last == "*" else (last,):
                        with suppress(ImportError):  # of an extra that is not installed
                            getattr(module, one)
                    continue
                try:
                    importlib.import_module(name)
                except ModuleNotFoundError:
                    getattr(importlib.import_module(stem or name), last)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Where a module is: here, or nowhere."""
        source = self.known.get(fullname)
        if source is None:
            return None
        return ModuleSpec(fullname, self, origin=source.file, is_package=source.is_package)

    def get_code(self, fullname: str) -> CodeType:
        """The compiled module."""
        source = self.known[fullname]
        code: CodeType = compile(source.text, source.file, "exec", dont_inherit=True)
        return code

    def get_source(self, fullname: str) -> str:
        """Its text."""
        return importlib.util.decode_source(self.known[fullname].text)

    def is_package(self, fullname: str) -> bool:
        """Whether it has modules below it."""
        return self.known[fullname].is_package

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As Python does it."""
        return None

    def _read(self, name: str) -> None:
        wanted, seen, size = [name], set[str](), 0
        while wanted:
            one = wanted.pop()
            if one in seen:
                continue
            seen.add(one)
            top = one.partition(".")[0]
            if top in sys.stdlib_module_names or top in self._given:
                if top not in NEVER and not (top == "headgate" and one.count(".") > 1):
                    self.trusted.add(one)
                continue
            source = self._found(one)
            if source is None:
                continue
            self.known[one] = source
            size += len(source.text)
            if len(self.known) > MOST_MODULES or size > MOST_BYTES:
                raise Unreadable(f"`{name}` imports more than {MOST_MODULES} modules, or {MOST_BYTES} bytes")
            parents = one.split(".")
            wanted += [".".join(parents[:count]) for count in range(1, len(parents))]
            wanted += _imports(source, one)
        if name not in self.known:
            raise Unreadable(f"there is no module `{name}`")

    def _found(self, name: str) -> Source | None:
        places: list[str] | None = self._path
        parent = name.rpartition(".")[0]
        if parent:
            above = self._parent(parent)
            places = places_of(above) if above else None
        spec = found_spec(name, places) if places else None
        if spec is None:
            return None
        if spec.loader is None or spec.origin is None:
            return Source(b"", name, True)  # a folder without `__init__.py`
        if not isinstance(spec.loader, SourceFileLoader):
            raise Unreadable(f"`{name}` is compiled: list it in `modules` if you trust it")
        text = spec.loader.get_data(spec.origin)
        return Source(text, spec.origin, spec.submodule_search_locations is not None)

    def _parent(self, name: str) -> ModuleSpec | None:
        places: list[str] = self._path
        spec = None
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            spec = found_spec(".".join(parts[:count]), places)
            if spec is None:
                return None
            places = places_of(spec)
        return spec


def _imports(source: Source, name: str) -> Iterator[str]:
    """What a module names in `import` and `from`; also what may be only names in a module."""
    package = name if source.is_package else name.rpartition(".")[0]
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise Unreadable(f"`{name}` is not valid Python: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                stem = f"{above}.{stem}" if stem else above
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)
