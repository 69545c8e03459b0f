"""Files that a configuration is put together from: `include` lists paths and globs, and lines stay known.

How it works: tables of the same name are merged, lists follow each other, and what is said twice is refused with both
places. A path of the whole leads to the document that said it, and to the path there.
"""

from __future__ import annotations

import glob
from pathlib import Path as FilePath
from typing import Any

from .documents import Document, read_document
from .errors import ConfigError, Path, Where

KEY = "include"
MOST_FILES = 10_000


def read_with_includes(path: FilePath) -> Document:
    """A file and all that it includes, and those include; raises `ConfigError` with the line."""
    whole = _Whole(path)
    whole.take(path, ())
    return whole


class _Whole(Document):
    """Several documents as one."""

    def __init__(self, path: FilePath) -> None:
        super().__init__(str(path), {}, dict)
        self._origins: dict[Path, tuple[Document, Path]] = {}
        self._seen: set[FilePath] = set()

    def locate(self, path: Path) -> Where:
        """The line of the file that said what stands at a path of the whole."""
        for length in range(len(path), 0, -1):
            if found := self._origins.get(path[:length]):
                document, start = found
                return document.locate((*start, *path[length:]))
        return Where(self.file)

    def take(self, file: FilePath, above: tuple[FilePath, ...], by: Where | None = None) -> None:
        """Adds a file, and then those that it includes, in the order of their names."""
        real = file.resolve()
        if real in above:
            chain = " includes ".join(f"`{one.name}`" for one in (*above[above.index(real) :], real))
            raise ConfigError(f"files include each other: {chain}", hint="leave one `include` out", where=by)
        if real in self._seen:
            raise ConfigError(f"`{file}` is included twice", hint="leave one of them out", where=by)
        self._seen.add(real)
        if len(self._seen) > MOST_FILES:
            raise ConfigError(f"more than {MOST_FILES} files are included", where=by)
        document = read_document(file)
        included = document.values.pop(KEY, ())
        for key, value in document.values.items():
            self._add((key,), value, document, (key,))
        for position, pattern in enumerate(
            [included] if isinstance(included, str) else _listed(included, document)
        ):
            where = document.locate((KEY, position) if not isinstance(included, str) else (KEY,))
            for one in _files(pattern, file.parent, where):
                self.take(one, (*above, real), where)

    def _add(self, path: Path, value: Any, document: Document, origin: Path) -> None:
        """Puts a value at a path of the whole, which stands at `origin` of a document."""
        parent: Any = self.values
        for part in path[:-1]:
            parent = parent[part]
        known = parent.get(path[-1])
        if path[-1] not in parent:
            parent[path[-1]] = value
            self._origins[path] = (document, origin)
        elif isinstance(known, dict) and isinstance(value, dict):
            for key, inner in value.items():
                self._add((*path, key), inner, document, (*origin, key))
        elif isinstance(known, list) and isinstance(value, list):
            for position, item in enumerate(value):
                self._origins[*path, len(known)] = (document, (*origin, position))
                known.append(item)
        else:
            raise ConfigError(
                f"`{'.'.join(map(str, path))}` is set twice",
                hint=f"it stands at {self.locate(path)} as well",
                where=document.locate(origin),
            )


def _listed(included: Any, document: Document) -> list[str]:
    if not isinstance(included, list | tuple) or not all(isinstance(one, str) for one in included):
        raise ConfigError(
            "`include` is a path, or a list of them",
            hint="write `include: conf.d/*.yaml`",
            where=document.locate((KEY,)),
        )
    return list(included)


def _files(pattern: str, folder: FilePath, where: Where) -> list[FilePath]:
    if glob.has_magic(pattern):
        found = sorted(glob.glob(pattern, root_dir=folder, recursive=True))
        return [folder / one for one in found if (folder / one).is_file()]
    if not (folder / pattern).is_file():
        raise ConfigError(
            f"the included file `{pattern}` does not exist",
            hint=f"the full path is `{folder / pattern}`",
            where=where,
        )
    return [folder / pattern]
