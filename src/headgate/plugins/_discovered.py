"""The paths of an API, as they are learnt from requests: a tree of bounded size, whose parameters are inferred.

How it works: each segment of a path is a literal or a parameter. One that looks like a number, a UUID, a date or a
token is a parameter at once; a place with too many different literals becomes one as a whole, and the branches below
them are merged. So the tree has few branches however many paths are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MOST_SEGMENTS, MOST_SEGMENT, MOST_NAMES = 24, 200, 50
SHAPES = (
    ("integer", re.compile(r"-?[0-9]{1,18}")),
    ("uuid", re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
    ("date", re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")),
    ("number", re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")),
    ("boolean", re.compile(r"true|false")),
)
LITERAL = re.compile(r"[A-Za-z0-9._~@:+-]{1,64}")
TOKEN = re.compile(r"(?=.*[0-9])[A-Za-z0-9_=-]{16,}|[0-9a-fA-F]{12,}|.*@.*|[0-9]{19,}")
"""What is hardly a name: identifiers, hashes, keys, addresses of mail."""
KINDS = ("integer", "number", "boolean", "uuid", "date", "string")


@dataclass
class Seen:
    """What is known of a method on a path."""

    calls: int = 0
    anonymous: int = 0
    """Calls that had no credentials."""
    first: int = 0
    last: int = 0
    documented: str = ""
    """The path in the document that was given, empty if it has none."""
    query: dict[str, str] = field(default_factory=dict)
    bodies: set[str] = field(default_factory=set)
    statuses: dict[str, set[str]] = field(default_factory=dict)

    def add(self, other: Seen) -> None:
        """Takes what another knows."""
        self.first = min(self.first or other.first, other.first or self.first)
        self.last = max(self.last, other.last)
        self.calls += other.calls
        self.anonymous += other.anonymous
        self.documented = self.documented or other.documented
        for name, kind in other.query.items():
            if name in self.query or len(self.query) < MOST_NAMES:
                self.query[name] = common(self.query.get(name, kind), kind)
        self.bodies |= set(list(other.bodies)[: max(MOST_NAMES - len(self.bodies), 0)])
        for status, types in other.statuses.items():
            if status in self.statuses or len(self.statuses) < MOST_NAMES:
                kept = self.statuses.setdefault(status, set())
                kept |= set(list(types)[: max(MOST_NAMES - len(kept), 0)])


@dataclass
class Node:
    """A place in the tree."""

    children: dict[str, Node] = field(default_factory=dict)
    parameter: Node | None = None
    kind: str = "string"
    """Of the values, if it is a parameter."""
    takes_any: bool = False
    """Whether all literals but those that are there already are values of the parameter."""
    methods: dict[str, Seen] = field(default_factory=dict)

    def merge(self, other: Node) -> None:
        """Takes all that is below another."""
        for method, seen in other.methods.items():
            self.methods.setdefault(method, Seen()).add(seen)
        for name, child in other.children.items():
            self.children.setdefault(name, Node()).merge(child)
        self.takes_any = self.takes_any or other.takes_any
        if other.parameter is not None:
            if self.parameter is None:
                self.parameter = Node(kind=other.parameter.kind)
            self.parameter.kind = common(self.parameter.kind, other.parameter.kind)
            self.parameter.merge(other.parameter)


class Tree:
    """All paths; at most `most` endpoints, and `distinct` literals in a place."""

    def __init__(self, most: int, distinct: int) -> None:
        self._most, self._distinct = most, distinct
        self._root = Node()
        self.size = 0

    def add(self, path: str, method: str, seen: Seen, *, creates: bool = True) -> bool | None:
        """Takes what was seen of a path: true if the endpoint is new, false if not; `None` if there is no room, or if
        it is not there and only what is shall be added to.
        """
        segments = path.split("/")[1:]
        if method not in METHODS or len(segments) > MOST_SEGMENTS:
            return None
        creates = creates and self.size < self._most
        node = self._reached(segments, creates)
        is_new = node is not None and method not in node.methods
        if node is None or (is_new and not creates):
            return None
        node.methods.setdefault(method, Seen()).add(seen)
        self.size += is_new
        self._narrow(segments)
        return is_new

    def endpoints(self) -> Iterator[tuple[str, list[tuple[str, str]], str, Seen]]:
        """Each endpoint: its path with parameters in braces, their names and kinds, the method, what is known."""
        pending: list[tuple[Node, str, list[tuple[str, str]], str]] = [(self._root, "", [], "")]
        while pending:
            node, path, parameters, before = pending.pop()
            for method, seen in sorted(node.methods.items()):
                yield path or "/", parameters, method, seen
            if node.parameter is not None:
                name = _named(before, [known for known, _ in parameters])
                more = [*parameters, (name, node.parameter.kind)]
                pending.append((node.parameter, f"{path}/{{{name}}}", more, ""))
            for literal, child in sorted(node.children.items(), reverse=True):
                pending.append((child, f"{path}/{literal}", parameters, literal))

    def _reached(self, segments: list[str], creates: bool) -> Node | None:
        """The place of a path, made if there is none and that is wanted."""
        node = self._root
        for segment in segments:
            kind = kind_of(segment)
            literal = None if kind else node.children.get(segment)
            if literal is None and (kind or node.takes_any):
                if node.parameter is None:
                    if not creates:
                        return None
                    node.parameter = Node(kind=kind)
                node.parameter.kind = common(node.parameter.kind, kind or "string")
                node = node.parameter
            elif literal is None and not creates:
                return None
            else:
                node = node.children.setdefault(segment, Node())
        return node

    def _narrow(self, segments: list[str]) -> None:
        """Makes a parameter of a place on the way that has too many literals."""
        node: Node | None = self._root
        for segment in segments:
            if node is None:
                return
            if len(node.children) > self._distinct:
                self._collapse(node)
            node = node.children.get(segment) or node.parameter

    def _collapse(self, node: Node) -> None:
        """Literals that are asked for much more often than most stay: `/users/me` beside `/users/{user_id}`."""
        calls = {name: _calls(child) for name, child in node.children.items()}
        usual = sorted(calls.values())[len(calls) // 2]
        often = sorted((name for name in calls if calls[name] > 20 * usual), key=lambda name: -calls[name])
        stay = set(often[: self._distinct // 2])
        if node.parameter is None:
            node.parameter = Node()
        node.parameter.kind = "string"
        for name in [name for name in node.children if name not in stay]:
            node.parameter.merge(node.children.pop(name))
        node.takes_any = True
        self.size = sum(1 for _ in self.endpoints())


def _calls(node: Node) -> int:
    below = [*node.children.values(), *([node.parameter] if node.parameter else [])]
    return sum(seen.calls for seen in node.methods.values()) + sum(map(_calls, below))


def kind_of(segment: str) -> str:
    """The kind of value that a segment looks like, empty for a name; a kind in braces is itself."""
    if segment.startswith("{") and segment.endswith("}"):
        return segment[1:-1] if segment[1:-1] in KINDS else "string"
    kind = value_kind(segment)
    if kind not in ("string", "boolean"):
        return kind
    return "string" if TOKEN.fullmatch(segment) or (segment and not LITERAL.fullmatch(segment)) else ""


def value_kind(text: str) -> str:
    """The kind of a value: `integer`, `uuid`, ..., or `string`."""
    return next((kind for kind, shape in SHAPES if shape.fullmatch(text)), "string")


def common(one: str, other: str) -> str:
    """The kind that has the values of both."""
    if one == other:
        return one
    return "number" if {one, other} == {"integer", "number"} else "string"


def _named(before: str, taken: list[str]) -> str:
    """The name of a parameter: `user_id` behind `users`, else `id`."""
    stem = re.sub(r"[^a-z0-9]+", "_", before.lower()).strip("_")
    stem = re.sub(r"ies$", "y", stem) if stem.endswith("ies") else re.sub(r"(?<=[^s])s$", "", stem)
    name = f"{stem}_id" if stem and len(stem) <= 40 else "id"
    number = 2
    while name in taken:
        name, number = f"{name.rstrip('0123456789')}{number}", number + 1
    return name
