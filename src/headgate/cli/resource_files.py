"""Files of resources, as `apply` reads them: the keys that a configuration has, each resource with its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headgate.config.documents import Document, read_document
from headgate.config.errors import ConfigError, suggestion
from headgate.config.resources import KINDS, Kind

SUFFIXES = (".yaml", ".yml", ".toml", ".json")

Found = dict[str, dict[str, Any]]
"""Documents by kind and name."""


def read_resources(path: Path) -> Found:
    """The resources of a file, or of all files of a folder; raises `ConfigError` with the line."""
    found: Found = {}
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    else:
        files = [path]
    for file in files:
        document = read_document(file)
        for key, value in document.values.items():
            kind = next((one for one in KINDS.values() if key in (one.key, one.name)), None)
            if kind is None:
                keys = [one.key for one in KINDS.values()]
                raise ConfigError(
                    f"`{key}` is not a kind of resource",
                    hint=suggestion(key, keys),
                    where=document.locate((key,)),
                )
            _add(found.setdefault(kind.name, {}), kind, key, value, document)
    return found


def _add(found: dict[str, Any], kind: Kind, key: str, value: Any, document: Document) -> None:
    if isinstance(value, dict):
        named = [(name, one, (key, name)) for name, one in value.items()]
    elif isinstance(value, list):
        named = [(_name(kind, one, (key, n), document), one, (key, n)) for n, one in enumerate(value)]
    else:
        raise ConfigError(f"`{key}` is a table or a list", where=document.locate((key,)))
    for name, one, path in named:
        if name in found:
            raise ConfigError(f"duplicate {kind.one} `{name}`", where=document.locate(path))
        table = kind.model.expand(one)
        if not isinstance(table, dict):
            raise ConfigError(f"the {kind.one} `{name}` is a table", where=document.locate(path))
        found[str(name)] = {part: inner for part, inner in table.items() if part != "name" or inner != name}


def _name(kind: Kind, one: Any, path: tuple[str | int, ...], document: Document) -> str:
    name = one.get("name") if isinstance(one, dict) else None
    if not isinstance(name, str):
        raise ConfigError(
            f"a {kind.one} has no `name`", hint="a resource's name is its key", where=document.locate(path)
        )
    return name
