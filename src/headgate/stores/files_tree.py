"""The documents in a folder of files: read as one state, with what is needed to notice the next change.

How it works: `KIND/NAME.yaml` (or `.yml`, `.json`, `.toml`) is one resource; a file at the top is a bundle,
`kind: {name: document}`. Hidden files, and names of other endings, are not looked at (editors and ConfigMaps have
them). A file is read anew when its identity, time or size differs; a state counts when the folder is the same
before and after the reading.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from headgate.config.documents import read_document
from headgate.config.errors import ConfigError
from headgate.stores.base import Key, checked_key
from headgate.stores.errors import StoreCorrupt, StoreUnavailable
from headgate.stores.places import Signature, signature_of

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
MOST_READINGS = 20


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a resource is written: its document, its file, and whether the file holds nothing else."""

    document: dict[str, Any]
    path: Path
    is_alone: bool


class FolderTree:
    """A folder, and the files in it that were read before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, tuple[Signature, dict[Key, FilePlace]]] = {}
        self._folders = {folder}
        self._has_links = False
        self.places: dict[Key, FilePlace] = {}
        """What was read last, and what was written since."""

    def read(self) -> dict[Key, FilePlace]:
        """All resources, of one state of the folder.

        Raises `StoreCorrupt` for a file that cannot be understood, `StoreUnavailable` for a folder that is away.
        """
        for _ in range(MOST_READINGS):
            before = self._signatures()
            try:
                found = self._read_files(before)
            except StoreCorrupt:
                if self._signatures() == before:
                    raise
                continue
            if self._signatures() == before:
                return found
        raise StoreUnavailable(f"`{self.folder}` keeps changing")

    def reread(self, paths: set[Path]) -> set[Key]:
        """Reads those of some files that changed; gives the keys that they hold, or held."""
        keys: set[Key] = set()
        for path in sorted(paths):
            known = self._known.get(path)
            signature = signature_of(path)
            if path.suffix not in SUFFIXES or signature == (known[0] if known else None):
                continue
            found = {} if signature is None else dict(self._read_file(path))
            for key in found:
                other = self.places.get(key)
                if other is not None and other.path != path and signature_of(other.path) is not None:
                    raise StoreCorrupt(f"`{key}` is in `{other.path}` and in `{path}`")
            former = known[1] if known else {}
            keys |= former.keys() | found.keys()
            for key in former:
                if key not in found and self.places[key].path == path:
                    del self.places[key]
            self.places.update(found)
            if signature is None:
                self._known.pop(path, None)
            else:
                self._known[path] = (signature, found)
        return keys

    def differing(self) -> set[Path]:
        """The files that are not as they were when they were read; may be called in any thread, takes no lock."""
        known = {path: one[0] for path, one in list(self._known.items())}
        now = self._signatures()
        return {path for path in known.keys() | now.keys() if known.get(path) != now.get(path)}

    @property
    def has_links(self) -> bool:
        """Whether files are reached by links, so that a change elsewhere changes them."""
        return self._has_links

    def is_known(self, path: Path) -> bool:
        """Whether a file is as it was when it was read or written; may be called in any thread, takes no lock."""
        known = self._known.get(path)
        return signature_of(path) == (known[0] if known else None)

    def wrote(self, path: Path, key: Key, document: dict[str, Any] | None) -> None:
        """A file was written, or removed, by ourselves."""
        signature = signature_of(path)
        if document is None or signature is None:
            self._known.pop(path, None)
            self.places.pop(key, None)
        else:
            place = FilePlace(document, path, is_alone=True)
            self._known[path] = (signature, {key: place})
            self.places[key] = place

    def folders(self) -> set[Path]:
        """What is to be watched: the folders, and those of every link on the way to a file."""
        return self._folders

    def _signatures(self) -> dict[Path, Signature]:
        found = {}
        for path in self._files():
            if (signature := signature_of(path)) is not None:
                found[path] = signature
        return found

    def _files(self) -> Iterator[Path]:
        if not self.folder.is_dir():
            raise StoreUnavailable(
                f"the directory `{self.folder}` does not exist\n  hint: create it; it may be empty"
            )
        for path in _listed(self.folder):
            if path.suffix in SUFFIXES:
                yield path
            elif "." not in path.name and path.is_dir():
                yield from (inner for inner in _listed(path) if inner.suffix in SUFFIXES)

    def _read_files(self, signatures: Mapping[Path, Signature]) -> dict[Key, FilePlace]:
        found: dict[Key, FilePlace] = {}
        known = {}
        for path, signature in signatures.items():
            before = self._known.get(path)
            places = before[1] if before and before[0] == signature else dict(self._read_file(path))
            known[path] = (signature, places)
            for key, place in places.items():
                if key in found:
                    raise StoreCorrupt(f"`{key}` is in `{found[key].path}` and in `{path}`")
                found[key] = place
        self._known = known
        self.places = dict(found)
        self._folders = self._found_folders()
        return found

    def _found_folders(self) -> set[Path]:
        listed = _listed(self.folder)
        inner = {path for path in listed if path.is_dir()}
        linked = [path for path in [self.folder, *listed, *self._known] if path.is_symlink()]
        self._has_links = bool(linked)
        return {self.folder, *inner, *(f for path in [self.folder, *linked] for f in _links(path))}

    def _read_file(self, path: Path) -> Iterator[tuple[Key, FilePlace]]:
        try:
            values = read_document(path).values
            if path.parent != self.folder:
                key = checked_key(path.parent.name, unquote(path.name[: -len(path.suffix)], errors="strict"))
                yield key, FilePlace(values, path, is_alone=True)
                return
            for kind, resources in values.items():
                for name, document in _named(kind, resources, path):
                    yield checked_key(kind, name), FilePlace(document, path, is_alone=False)
        except ConfigError as error:
            raise StoreCorrupt(str(error)) from None
        except ValueError as error:
            raise StoreCorrupt(f"`{path}`: {error}") from None


def file_of(folder: Path, key: Key) -> Path:
    """Where a new resource is written."""
    name = key.name.replace("%", "%25").replace("/", "%2F")
    return folder / key.kind / f"{'%2E' + name[1:] if name.startswith('.') else name}.json"


def existing_file(new: Path) -> Path:
    """The file that holds the resource which would be written to `new`: of another format, where there is one."""
    others = (new.with_name(new.name.removesuffix(".json") + suffix) for suffix in SUFFIXES)
    return new if new.exists() else next((path for path in others if path.exists()), new)


def _named(kind: str, resources: object, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The resources of a kind in a bundle: a table by name, or a list of tables with names."""
    if isinstance(resources, list) and all(isinstance(one, dict) and "name" in one for one in resources):
        pairs = [(one["name"], {key: one[key] for key in one if key != "name"}) for one in resources]
    else:
        pairs = list(resources.items()) if isinstance(resources, dict) else []
    if (
        not isinstance(resources, dict | list)
        or len(dict(pairs)) != len(pairs)
        or len(pairs) != len(resources)
    ):
        raise StoreCorrupt(f"`{path}`: `{kind}` is not a table of resources by their names")
    for name, document in pairs:
        if not isinstance(name, str) or not isinstance(document, dict):
            raise StoreCorrupt(f"`{path}`: `{kind}/{name}` is not a table")
        yield name, document


def _listed(folder: Path) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(folder) if name[0] != ".")
    except OSError:
        return []
    return [folder / name for name in names]


def _links(path: Path) -> Iterator[Path]:
    """The folders of the links that lead to a path."""
    place = path
    for _ in range(40):
        for part in (place, *place.parents):
            if part.is_symlink():
                break
        else:
            return
        yield part.parent
        target = part.parent / os.readlink(part)
        place = target / place.relative_to(part)
        yield place.parent
