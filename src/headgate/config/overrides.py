"""Settings from the environment: `HEADGATE_CONFIG_LIMITS__MAX_BODY_BYTES=1m` says what `limits.max_body_bytes` would.

How it works: what follows the prefix is a path in lower case, its parts divided by `__`; the value is read as YAML. A
variable has the last word over the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .documents import Document
from .errors import ConfigError, Path, Where

PREFIX = "HEADGATE_CONFIG_"


def overrides(environment: Mapping[str, str] | None = None) -> dict[tuple[str, ...], tuple[str, Any]]:
    """The variable and the value of each path that the environment sets; raises `ConfigError`."""
    found: dict[tuple[str, ...], tuple[str, Any]] = {}
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if not name.startswith(PREFIX):
            continue
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if not all(path):
            raise ConfigError(
                f"`{name}` names no setting",
                hint=f"write `{PREFIX}LIMITS__MAX_BODY_BYTES`",
                where=Where(name),
            )
        found[path] = (name, _read(name, text))
    return found


def _read(name: str, text: str) -> Any:
    import yaml

    from ._yaml import load

    try:
        return load(text)
    except yaml.YAMLError:
        raise ConfigError(
            f"the value of `{name}` is not valid YAML", hint="put it in quotes", where=Where(name)
        ) from None


def overridden(document: Document, environment: Mapping[str, str] | None = None) -> Document:
    """A document with what the environment sets in the place of what it says."""
    found = overrides(environment)
    if not found:
        return document
    for path, (name, value) in found.items():
        table = document.values
        for part in path[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"`{part}` is not a table, so `{name}` cannot set a key of it", where=Where(name)
                )
            table = inner
        table[path[-1]] = value
    return _Overridden(document, {path: name for path, (name, _) in found.items()})


class _Overridden(Document):
    """A document parts of which the environment has set."""

    def __init__(self, document: Document, names: dict[Path, str]) -> None:
        super().__init__(document.file, document.values, dict)
        self._document, self._names = document, names

    def locate(self, path: Path) -> Where:
        """The variable, or the line, that said what stands at a path."""
        for known, name in self._names.items():
            if path[: len(known)] == known:
                return Where(name)
        return self._document.locate(path)
