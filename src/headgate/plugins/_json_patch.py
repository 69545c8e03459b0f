"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396) on values that were parsed; patches are read when they are
loaded.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from headgate import ConfigError

from ._bodies import BadBody

INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
BAD_ESCAPE = re.compile(r"~(?![01])")
HAS_VALUE = ("add", "replace", "test")
HAS_FROM = ("move", "copy")
MEMBERS = frozenset(("op", "path", "from", "value"))

Pointer = tuple[str, ...]


class TestFailed(BadBody):
    """A `test` operation found something else."""


class Operation(NamedTuple):
    """One step of a patch."""

    name: str
    path: Pointer
    source: Pointer
    value: Any


def operations(said: list[dict[str, Any]]) -> list[Operation]:
    """The operations of a patch; raises `ConfigError`."""
    return [_operation(number, one) for number, one in enumerate(said)]


def _operation(number: int, said: dict[str, Any]) -> Operation:
    name = said.get("op")
    if name not in ("add", "remove", "replace", "move", "copy", "test"):
        hint = "write `add`, `remove`, `replace`, `move`, `copy` or `test`"
        raise ConfigError(f"operation {number}: `{name}` is not a valid `op`", hint=hint)
    unknown = sorted(set(said) - MEMBERS)
    if unknown:
        raise ConfigError(f"operation {number}: unknown key `{unknown[0]}`", hint="see RFC 6902")
    if (name in HAS_VALUE) != ("value" in said):
        hint = "leave it out" if "value" in said else "write `value: null` for null"
        raise ConfigError(f"operation {number}: `value` of `{name}`", hint=hint)
    if (name in HAS_FROM) != ("from" in said):
        hint = "leave it out" if "from" in said else "say where the value is"
        raise ConfigError(f"operation {number}: `from` of `{name}`", hint=hint)
    path = pointer(said.get("path"))
    source = pointer(said["from"]) if name in HAS_FROM else ()
    if name == "move" and path != source and path[: len(source)] == source:
        raise ConfigError(f"operation {number}: a value cannot move into itself", hint=None)
    return Operation(name, path, source, said.get("value"))


def pointer(text: Any) -> Pointer:
    """The names of a JSON Pointer (RFC 6901); raises `ConfigError`."""
    if not isinstance(text, str) or (text and not text.startswith("/")) or BAD_ESCAPE.search(text):
        raise ConfigError(f"`{text}` is not a valid JSON Pointer", hint="write `/order/items/0`")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


class Patching:
    """A value while it is patched; the copies that a patch makes are bounded in all."""

    def __init__(self, value: Any, most_copied: int) -> None:
        self._root = [value]  # the whole stands at index 0 of it, so that it can be replaced as anything else
        self._left = most_copied

    def patched(self, steps: list[Operation]) -> Any:
        """The value after all of them; raises `BadBody`."""
        for number, step in enumerate(steps):
            try:
                self._do(step)
            except BadBody as error:
                raise type(error)(f"operation {number}: {error}", error.status) from None
        return self._root[0]

    def _do(self, step: Operation) -> None:
        path = ("0", *step.path)
        match step.name:
            case "add":
                self._add(path, self._copied(step.value))
            case "remove":
                self._remove(path)
            case "replace":
                self._replace(path, self._copied(step.value))
            case "move":
                value = self._found(("0", *step.source))
                self._remove(("0", *step.source))
                self._add(path, value)
            case "copy":
                self._add(path, self._copied(self._found(("0", *step.source))))
            case _:
                if not same(self._found(path), step.value):
                    raise TestFailed(f"`/{'/'.join(step.path)}` has another value")

    def _copied(self, value: Any) -> Any:
        self._left -= 1 + (len(value) if isinstance(value, str) else 0)
        if self._left < 0:
            raise BadBody("the body becomes too large", 413)
        if isinstance(value, dict):
            return {key: self._copied(one) for key, one in value.items()}
        return [self._copied(one) for one in value] if isinstance(value, list) else value

    def _found(self, path: Pointer) -> Any:
        value: Any = self._root
        for part in path:
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list):
                value = value[_index(part, len(value) - 1)]
            else:
                raise BadBody(f"there is nothing at `/{'/'.join(path[1:])}`"[:200])
        return value

    def _add(self, path: Pointer, value: Any) -> None:
        parent = self._found(path[:-1]) if len(path) > 1 else self._root
        if isinstance(parent, dict):
            parent[path[-1]] = value
        elif parent is self._root:
            self._root[0] = value
        elif isinstance(parent, list):
            parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent)), value)
        else:
            raise BadBody("a value without members cannot get one")

    def _replace(self, path: Pointer, value: Any) -> None:
        self._found(path)
        parent: Any = self._found(path[:-1]) if len(path) > 1 else self._root
        parent[path[-1] if isinstance(parent, dict) else int(path[-1])] = value

    def _remove(self, path: Pointer) -> None:
        self._found(path)
        if len(path) == 1:
            self._root[0] = None
            return
        parent = self._found(path[:-1])
        del parent[path[-1] if isinstance(parent, dict) else int(path[-1])]


def _index(part: str, last: int) -> int:
    if not INDEX.fullmatch(part) or int(part) > last:
        raise BadBody(f"the list has no item `{part[:20]}`")
    return int(part)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def merged(value: Any, patch: Any) -> Any:
    """A value with what a merge patch says; null takes a member out."""
    if not isinstance(patch, dict):
        return patch
    made = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), change)
    return made
