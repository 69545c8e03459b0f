"""Reads YAML, TOML and JSON into plain values, and remembers on which line each key stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, Path, Where, suggestion

if TYPE_CHECKING:
    import yaml

Lines = dict[Path, int]


class Document:
    """The values of a file; the lines of its keys are looked for when the first of them is asked for."""

    def __init__(self, file: str, values: dict[str, Any], find_lines: Callable[[], Lines]) -> None:
        self.file = file
        self.values = values
        self._find_lines = find_lines

    @cached_property
    def lines(self) -> Lines:
        """The line of each key and item, by its path; costs about as much as reading the file."""
        return self._find_lines()

    def locate(self, path: Path) -> Where:
        """The line of the value at `path`, or of the innermost table that is written in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return Where(self.file, self.lines[path[:length]])
        return Where(self.file)


@dataclass(frozen=True)
class _Format:
    read: Callable[[str, str], Any]
    """The values in a text; the second argument is the file's name."""
    lines: Callable[[str], Lines]
    """The lines of the keys in a text that can be read."""


def read_document(path: FilePath) -> Document:
    """Reads `path` by its suffix; what cannot be read is a `ConfigError` with its line."""
    yaml = _Format(_read_yaml, _yaml_lines)
    formats = {
        ".yaml": yaml,
        ".yml": yaml,
        ".toml": _Format(_read_toml, _toml_lines),
        ".json": _Format(_read_json, _json_lines),
    }
    chosen = formats.get(path.suffix.lower())
    if chosen is None:
        raise ConfigError(
            f"`{path.name}` is not a configuration file: its suffix is unknown",
            hint=suggestion(path.suffix, (".py", *formats)),
            where=Where(str(path)),
        )
    text = read_text(path)
    try:
        values = chosen.read(text, str(path))
    except RecursionError:
        raise ConfigError(
            "tables are nested too deeply",
            hint="check for a bracket that is never closed",
            where=Where(str(path)),
        ) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"a file of configuration must be a table, not a {_SHAPES.get(type(values), 'single value')}",
            hint="write keys, each with its value: `name: value`"
            if chosen is yaml
            else "write a table: `{...}`",
            where=Where(str(path), 1),
        )
    values.pop("$schema", None)
    return Document(str(path), values, partial(chosen.lines, text))


_SHAPES: dict[type, str] = {list: "list", str: "text"}


def read_text(path: FilePath) -> str:
    """The text of a configuration file, which is UTF-8; without a byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8",
            where=Where(str(path), line),
        ) from None
    except OSError as error:
        raise ConfigError(
            f"`{path}` cannot be read: {(error.strerror or '').lower()}", where=Where(str(path))
        ) from None


def load_yaml_reader() -> None:
    """To be called before other threads read YAML: the module's allocator does not outlive the thread that loads it."""
    import headgate._core  # noqa: F401


def _read_yaml(text: str, file: str) -> Any:
    # Imported here, since a gateway written in Python needs no YAML, and most YAML no library for all of it.
    from headgate._core import read_yaml

    try:
        return read_yaml(text)
    except ValueError:
        return _read_any_yaml(text, file)


def _read_any_yaml(text: str, file: str) -> Any:
    import yaml

    from ._yaml import load_with_lines

    try:
        return load_with_lines(text)[0]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise _yaml_error(error, text, Where(file, line)) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(error).splitlines()[0], where=Where(file)) from None


def _yaml_error(error: yaml.MarkedYAMLError, text: str, where: Where) -> ConfigError:
    lines = text.splitlines()
    for number in (where.line or 0, (where.line or 0) + 1):
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return ConfigError(
                "a tab cannot be used for indentation", hint="use spaces", where=Where(where.file, number)
            )
    reason = ", ".join(part for part in (error.context, error.problem) if part)
    if reason.startswith("duplicate"):
        return ConfigError(reason, hint="remove one of them", where=where)
    return ConfigError(reason, hint="check for a missing bracket, quote or `:`, here or above", where=where)


def _yaml_lines(text: str) -> Lines:
    import yaml

    from ._yaml import load_with_lines

    try:
        return load_with_lines(text)[1]
    except yaml.YAMLError:  # what YAML 1.2 allows and libyaml does not
        return {}


def _read_toml(text: str, file: str) -> Any:
    import tomllib  # which other formats do without

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\s*\(at line (\d+).*\)$", str(error))
        message = str(error)[: place.start()] if place else str(error).removesuffix(" (at end of document)")
        line = int(place[1]) if place else text.count("\n") + 1
        hint = "texts stand in quotes, and each key once: see https://toml.io"
        raise ConfigError(message[:1].lower() + message[1:], hint=hint, where=Where(file, line)) from None


def _read_json(text: str, file: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        hint = "JSON has no comments, no comma after the last item, and texts in double quotes"
        reason = error.msg[:1].lower() + error.msg[1:]
        raise ConfigError(reason, hint=hint, where=Where(file, error.lineno)) from None
    except _Duplicate as error:
        raise ConfigError(
            f"duplicate key `{error}`",
            hint="remove one of them",
            where=Where(file, _second_line(text, str(error))),
        ) from None


class _Duplicate(Exception):
    """A key stands twice in one table."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Duplicate(next(name for name in names if names.count(name) > 1))
    return table


def _second_line(text: str, key: str) -> int:
    """The line on which a table has `key` for the second time."""
    seen: set[Path] = set()
    for path, line, is_key in _json_keys(text):
        if is_key and path[-1:] == (key,) and path in seen:
            return line
        if is_key:
            seen.add(path)
    return 1


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
    lines: Lines = {}
    for path, line, _ in _json_keys(text):
        lines.setdefault(path, line)
    return lines


def _json_keys(text: str) -> Iterator[tuple[Path, int, bool]]:
    """Walks the tokens of valid JSON; the path of each key, item and value, its line, and whether it is a key."""
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
            yield tuple(places), number, True
            expects_key = False
        else:
            yield tuple(places), number, False
            if mark in "[{":
                kinds.append(mark)
                places.append(0 if mark == "[" else "")
                expects_key = mark == "{"
