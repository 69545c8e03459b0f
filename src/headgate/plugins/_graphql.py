"""What GraphQL operations ask for: their depth, fields, aliases and complexity, with fragments expanded.

How it works: each fragment is measured once, and what it comes to is added wherever it is spread; so a document whose
fragments double each other is as quick to measure as its text is long.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from headgate import ConfigError

from ._bodies import BadBody


class Size(NamedTuple):
    """What a set of fields comes to."""

    depth: int = 0
    fields: int = 0
    """The fields of the set itself, not of those below."""
    aliases: int = 0
    complexity: int = 0
    introspects: bool = False

    def beside(self, other: Size) -> Size:
        """Both sets at one level."""
        return Size(
            max(self.depth, other.depth),
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.complexity + other.complexity,
            self.introspects or other.introspects,
        )


class Costs(NamedTuple):
    """What fields cost: by name, and by the arguments that say how many are wanted."""

    of: Mapping[str, int]
    counts: frozenset[str]


class GraphqlParser:
    """Reads documents; the library is loaded with it."""

    def __init__(self) -> None:
        try:
            self._graphql: Any = importlib.import_module("graphql")
        except ImportError:
            raise ConfigError(
                "GraphQL needs the library `graphql-core`", hint="pip install 'headgate[plugins]'"
            ) from None

    def document(self, text: str, max_tokens: int) -> Any:
        """The document; raises `BadBody`."""
        try:
            return self._graphql.parse(text, no_location=True, max_tokens=max_tokens)
        except self._graphql.GraphQLError as error:
            raise BadBody(f"the query is not taken: {error.message}"[:300]) from None
        except RecursionError:
            raise BadBody("the query is nested too deep") from None


def measured(document: Any, variables: Mapping[str, Any], costs: Costs) -> list[Size]:
    """The size of each operation of a document; raises `BadBody` for one that no server could run."""
    fragments: dict[str, Any] = {}
    operations = []
    for one in document.definitions:
        if one.kind == "operation_definition":
            operations.append(one)
        elif one.kind == "fragment_definition":
            if fragments.setdefault(one.name.value, one) is not one:
                raise BadBody("a fragment is defined twice")
        else:
            raise BadBody("the query defines types")
    if not operations:
        raise BadBody("the query has no operation")
    try:
        return [
            _Measure(fragments, _values(one, variables), costs).size(one.selection_set) for one in operations
        ]
    except RecursionError:
        raise BadBody("the query is nested too deep") from None


class _Measure:
    def __init__(self, fragments: dict[str, Any], variables: dict[str, Any], costs: Costs) -> None:
        self._fragments, self._variables, self._costs = fragments, variables, costs
        self._known: dict[str, Size | None] = {}

    def size(self, selections: Any) -> Size:
        whole = Size()
        for one in (selections.selections or ()) if selections else ():
            if one.kind == "field":
                whole = whole.beside(self._field(one))
            elif one.kind == "inline_fragment":
                whole = whole.beside(self.size(one.selection_set))
            else:
                whole = whole.beside(self._fragment(one.name.value))
        return whole

    def _field(self, field: Any) -> Size:
        below, name = self.size(field.selection_set), field.name.value
        wanted = max((self._count(one) for one in field.arguments or ()), default=1)
        return Size(
            below.depth + 1,
            1,
            below.aliases + (field.alias is not None),
            self._costs.of.get(name, 1) + wanted * below.complexity,
            below.introspects or name in ("__schema", "__type"),
        )

    def _fragment(self, name: str) -> Size:
        if name not in self._known:
            if name not in self._fragments:
                raise BadBody("a fragment is not defined")
            self._known[name] = None
            self._known[name] = self.size(self._fragments[name].selection_set)
        found = self._known[name]
        if found is None:
            raise BadBody("a fragment contains itself")
        return found

    def _count(self, argument: Any) -> int:
        """How many are wanted, by an argument or by a member of what it is."""
        return _wanted(argument.name.value, _plain(argument.value, self._variables), self._costs.counts)


def _values(operation: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Its variables, with their defaults."""
    return {
        one.variable.name.value: given.get(
            one.variable.name.value, _plain(one.default_value, {}) if one.default_value else None
        )
        for one in operation.variable_definitions or ()
    }


def _plain(value: Any, variables: Mapping[str, Any]) -> Any:
    if value.kind == "variable":
        return variables.get(value.name.value)
    if value.kind == "object_value":
        return {one.name.value: _plain(one.value, variables) for one in value.fields or ()}
    if value.kind == "list_value":
        return [_plain(one, variables) for one in value.values or ()]
    if value.kind in ("int_value", "float_value"):
        return float(value.value) if len(value.value) < 400 else math.inf
    return None


def _wanted(name: str, value: Any, counts: frozenset[str]) -> int:
    if isinstance(value, Mapping):
        return max((_wanted(key, one, counts) for key, one in value.items()), default=1)
    if isinstance(value, list):
        return max((_wanted(name, one, counts) for one in value), default=1)
    if name not in counts or isinstance(value, bool) or not isinstance(value, int | float):
        return 1
    return max(1, int(min(abs(value), 10**18)))
