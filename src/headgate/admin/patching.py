"""Changes of documents: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902). Nothing is changed in place."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from .problems import Refusal

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
MOST_OPERATIONS = 10_000


def merge_patched(value: Any, patch: Any) -> Any:
    """`value` with what `patch` says; null takes a key out."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    merged = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patched(merged.get(key), change)
    return merged


def json_patched(value: Any, operations: Any) -> Any:
    """`value` after the operations, all or none of them; raises a 422 for one that cannot be done."""
    if not isinstance(operations, list) or len(operations) > MOST_OPERATIONS:
        raise Refusal(400, "a JSON Patch is a list of operations", "see RFC 6902")
    root = [deepcopy(value)]  # the whole stands at index 0 of it, so that it can be replaced as anything else
    for position, operation in enumerate(operations):
        try:
            _apply(root, operation)
        except _CannotBeDone as error:
            raise Refusal(error.status, f"operation {position}: {error}") from None
    return root[0]


class _CannotBeDone(Exception):
    status = 422


class _Malformed(_CannotBeDone):
    status = 400


def _apply(root: list[Any], operation: Any) -> None:
    if not isinstance(operation, dict):
        raise _Malformed("it is not an object")
    kind = operation.get("op")
    path = _path(operation, "path")
    match kind:
        case "add":
            _add(root, path, deepcopy(_value(operation)))
        case "remove":
            _remove(root, path)
        case "replace":
            _found(root, path)
            _replace(root, path, deepcopy(_value(operation)))
        case "move":
            start = _path(operation, "from")
            if path[: len(start)] == start and path != start:
                raise _CannotBeDone("a value cannot move into itself")
            value = _found(root, start)
            _remove(root, start)
            _add(root, path, value)
        case "copy":
            _add(root, path, deepcopy(_found(root, _path(operation, "from"))))
        case "test":
            if not same(_found(root, path), _value(operation)):
                raise _CannotBeDone(f"`{operation['path']}` has another value")
        case _:
            raise _Malformed("`op` is one of `add`, `remove`, `replace`, `move`, `copy`, `test`")


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise _Malformed("`value` is missing")
    return operation["value"]


def _path(operation: dict[str, Any], key: str) -> list[str]:
    text = operation.get(key)
    if not isinstance(text, str) or (text and not text.startswith("/")) or _BAD_ESCAPE.search(text):
        raise _Malformed(f"`{key}` is not a JSON Pointer")
    return ["0", *(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])]


def _parent(root: list[Any], path: list[str]) -> Any:
    return _found(root, path[:-1]) if len(path) > 1 else root


def _found(root: list[Any], path: list[str]) -> Any:
    value: Any = root
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list):
            value = value[_index(part, len(value) - 1)]
        else:
            raise _CannotBeDone(f"there is nothing at `/{'/'.join(path[1:])}`")
    return value


def _index(part: str, last: int) -> int:
    if not _INDEX.fullmatch(part) or int(part) > last:
        raise _CannotBeDone(f"the list has no item `{part[:20]}`")
    return int(part)


def _add(root: list[Any], path: list[str], value: Any) -> None:
    parent = _parent(root, path)
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif parent is root:
        root[0] = value
    elif isinstance(parent, list):
        position = len(parent) if path[-1] == "-" else _index(path[-1], len(parent))
        parent.insert(position, value)
    else:
        raise _CannotBeDone("a value without keys cannot get one")


def _replace(root: list[Any], path: list[str], value: Any) -> None:
    parent = _parent(root, path)
    if isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        parent[_index(path[-1], len(parent) - 1)] = value


def _remove(root: list[Any], path: list[str]) -> None:
    parent = _parent(root, path)
    _found(root, path)
    if parent is root:
        root[0] = None
    elif isinstance(parent, dict):
        del parent[path[-1]]
    else:
        del parent[_index(path[-1], len(parent) - 1)]
