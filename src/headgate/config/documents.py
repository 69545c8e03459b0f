"""Reads YAML, TOML and JSON into plain values, and remembers on which line each key stands."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from .errors import ConfigError, Path, Where, suggestion

Lines = dict[Path, int]


@dataclass(frozen=True)
class Document:
    """The values of a file and the lines of its keys."""

    file: str
    values: dict[str, Any]
    lines: Lines

    def locate(self, path: Path) -> Where:
        """The line of the value at `path`, or of the innermost table that is written in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return Where(self.file, self.lines[path[:length]])
        return Where(self.file)


def read_document(path: FilePath) -> Document:
    """Reads `path` by its suffix; what cannot be read is a `ConfigError` with its line."""
    readers: dict[str, Callable[[str, str], tuple[Any, Lines]]] = {
        ".yaml": _read_yaml,
        ".yml": _read_yaml,
        ".toml": _read_toml,
        ".json": _read_json,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"`{path.name}` is no configuration",
            hint=suggestion(path.suffix, (".py", *readers)),
            where=Where(str(path)),
        )
    values, lines = reader(read_text(path), str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            "a configuration is a table", hint="begin with `listeners:`", where=Where(str(path), 1)
        )
    values.pop("$schema", None)
    return Document(str(path), values, lines)


def read_text(path: FilePath) -> str:
    """The text of a configuration file, which is UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"`{path}` is not UTF-8", where=Where(str(path))) from None
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {(error.strerror or '').lower()}") from None


def _read_yaml(text: str, file: str) -> tuple[Any, Lines]:
    # Imported here, since a gateway written in Python needs no YAML.
    import yaml

    from ._yaml import load_with_lines

    try:
        return load_with_lines(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(reason, where=Where(file, mark.line + 1 if mark else None)) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(error), where=Where(file)) from None


def _read_toml(text: str, file: str) -> tuple[Any, Lines]:
    try:
        return tomllib.loads(text), _toml_lines(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\s*\(at line (\d+).*\)$", str(error))
        message = str(error)[: place.start()] if place else str(error)
        line = int(place[1]) if place else text.count("\n") + 1
        raise ConfigError(message[:1].lower() + message[1:], where=Where(file, line)) from None


def _read_json(text: str, file: str) -> tuple[Any, Lines]:
    try:
        values = json.loads(text, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as error:
        raise ConfigError(error.msg[:1].lower() + error.msg[1:], where=Where(file, error.lineno)) from None
    except ConfigError as error:
        raise error.at(Where(file)) from None
    return values, _json_lines(text)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ConfigError(f"the key `{next(n for n in names if names.count(n) > 1)}` is there twice")
    return table


def _toml_lines(text: str) -> Lines:
    """The lines of table headers and keys; keys inside inline tables have the line of their table."""
    lines: Lines = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$", line):
            if "=" in header[2]:
                continue
            table = _in_arrays(_toml_keys(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif key := re.match(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=", line):
            path = table
            for part in _toml_keys(key[1]):
                path = (*path, part)
                lines.setdefault(path, number)
    return lines


def _toml_keys(text: str) -> list[str]:
    return [part.strip(" \"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", text)]


def _in_arrays(keys: list[str], counts: dict[Path, int]) -> Path:
    """The path of a header; a name of an array of tables before its end means the array's latest table."""
    path: Path = ()
    for position, key in enumerate(keys):
        path = (*path, key)
        if path in counts and position < len(keys) - 1:
            path = (*path, counts[path])
    return path


def _json_lines(text: str) -> Lines:
    """Walks the tokens of valid JSON."""
    lines: Lines = {}
    places: list[str | int] = []
    kinds: list[str] = []
    expects_key = False
    number, counted_to = 1, 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', text):
        mark = token[0]
        number += text.count("\n", counted_to, token.start())
        counted_to = token.start()
        if mark in "]}":
            kinds.pop()
            places.pop()
            expects_key = False
        elif mark == ",":
            expects_key = kinds[-1] == "{"
            if kinds[-1] == "[":
                places[-1] = int(places[-1]) + 1
        elif mark == ":":
            continue
        elif expects_key:
            places[-1] = json.loads(mark)
            lines[tuple(places)] = number
            expects_key = False
        else:
            lines.setdefault(tuple(places), number)
            if mark in "[{":
                kinds.append(mark)
                places.append(0 if mark == "[" else "")
                expects_key = mark == "{"
    return lines
