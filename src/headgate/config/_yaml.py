"""YAML with its lines, read as YAML 1.2: `on` and `yes` are texts, `1:30` is not a number, no key twice.

How it works: a plain document (no anchors, tags or merge keys) is built straight from libyaml's events, which takes a
fifth of the time and of the memory of a tree of nodes. Everything else, and everything that is wrong, goes through the
tree, which knows the lines.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from .errors import Path


# libyaml where PyYAML was built with it: ten times faster
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML reads YAML 1.1, in which the key `on` is `True`; its resolvers are replaced by the core schema's."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])


def _number(text: str) -> int:
    lowered = text.lower()
    return int(lowered, 0) if lowered.startswith(("0o", "0x")) else int(lowered)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    return _number(node.value)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


class _NotPlain(Exception):
    """The document has something that only the tree of nodes can read, or say where it is."""


def load(text: str) -> Any:
    """The values of the one document in `text`; raises `yaml.YAMLError`, with the place."""
    loader = _Loader(text)
    try:
        return _built(loader)
    except (_NotPlain, yaml.YAMLError, RecursionError):
        return load_with_lines(text)[0]
    finally:
        loader.dispose()


def _built(loader: _Loader) -> Any:
    """Builds lists and tables from events, with a stack of those that are open."""
    loader.get_event()  # the stream's start
    if isinstance(loader.get_event(), yaml.StreamEndEvent):
        return None
    scalars: dict[str, Any] = {}
    top: list[Any] = []
    open_now: list[Any] = []
    keys: list[Any] = []  # of each open table the key that waits for its value
    current: Any = top
    key: Any = _NO_KEY
    while True:
        event = loader.get_event()
        kind = type(event)
        if kind is yaml.ScalarEvent:
            value = _scalar(event, scalars)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            current, key = open_now.pop(), keys.pop()
            if current is top:
                break
            continue
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if event.anchor is not None or event.tag is not None:
                raise _NotPlain
            value = {} if kind is yaml.MappingStartEvent else []
        else:
            raise _NotPlain
        is_open = kind is not yaml.ScalarEvent
        if type(current) is list:
            current.append(value)
        elif key is _NO_KEY:
            if type(value) is not str or value in current:
                raise _NotPlain
            current[value] = None
            key = value
            continue
        else:
            current[key] = value
            key = _NO_KEY
        if is_open:
            open_now.append(current)
            keys.append(key)
            current, key = value, _NO_KEY
        elif current is top:
            break
    loader.get_event()  # the document's end
    if not isinstance(loader.get_event(), yaml.StreamEndEvent):
        raise _NotPlain
    return top[0]


_NO_KEY: Any = object()
_UNKNOWN: Any = object()


def _scalar(event: yaml.ScalarEvent, known: dict[str, Any]) -> Any:
    text: str = event.value
    if event.anchor is not None or event.tag is not None:
        raise _NotPlain
    if not event.implicit[0]:
        return text  # in quotes
    value = known.get(text, _UNKNOWN)
    if value is _UNKNOWN:
        value = _resolved(text)
        if len(text) < 64:
            known[text] = value
    return value


def _resolved(text: str) -> Any:
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            kind = tag.rpartition(":")[2]
            if kind == "int":
                return _number(text)
            if kind == "float":
                return float(text)
            if kind == "bool":
                return text.lower() == "true"
            if kind == "null":
                return None
            raise _NotPlain
    return text


def load_with_lines(text: str) -> tuple[Any, dict[Path, int]]:
    """The one document in `text`, and the line of each key and item in it."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines: dict[Path, int] = {}
        _walk(node, (), lines, ())
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], above: tuple[int, ...]) -> None:
    if id(node) in above:
        raise yaml.MarkedYAMLError(
            problem="an alias stands inside what it names", problem_mark=node.start_mark
        )
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            if inner in lines and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key `{key.value}`", problem_mark=key.start_mark
                )
            lines[inner] = key.start_mark.line + 1
            _walk(value, inner, lines, above)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            lines[(*path, position)] = item.start_mark.line + 1
            _walk(item, (*path, position), lines, above)
