"""YAML with its lines, read as YAML 1.2: `on` and `yes` are texts, `1:30` is not a number, no key twice.

How it works: the module in Rust reads plain documents (no anchors, tags or merge keys), many times faster than a tree
of nodes is made. Everything else, and everything that is wrong, goes through the tree, which knows the lines.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from headgate._core import read_yaml

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


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    lowered = node.value.lower()
    return int(lowered, 0) if lowered.startswith(("0o", "0x")) else int(lowered)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def load(text: str) -> Any:
    """The values of the one document in `text`; raises `yaml.YAMLError`, with the place."""
    try:
        return read_yaml(text)
    except ValueError:
        return load_with_lines(text)[0]


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
