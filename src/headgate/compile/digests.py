"""Digests of what user code holds, the same in every process that has loaded the same source with the same data.

How it works: a function is its code, its defaults, what it closes over, and the variables of its module that its code
names; an object is its class and its attributes. What a library's object holds is not looked at beyond its texts: such
an object is known by the variable of the user's that it is in.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

MOST_VALUES = 50_000
"""A walk through more than that is given up: whatever it is, it is not a small setting."""

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))


class Unnamed(LookupError):
    """Something has no digest that another process could tell it by."""


class Digests:
    """Digests of values; `is_users` says whether a module is the user's own."""

    def __init__(self, is_users: Callable[[str], bool]) -> None:
        self._is_users = is_users
        self._known: dict[int, str] = {}
        self._kept: list[object] = []
        self._left = MOST_VALUES
        self._names = {
            id(value): f"{name}:{key}"
            for name, module in list(sys.modules.items())
            if is_users(name)
            for key, value in list(vars(module).items())
            if not isinstance(value, PLAIN)
        }

    def of(self, value: object) -> str:
        """The digest of a value; raises `Unnamed` if it is too large to look at."""
        if isinstance(value, PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if id(value) in self._known:
            return self._known[id(value)]
        self._left -= 1
        if self._left < 0:
            raise Unnamed(f"`{type(value).__name__}` leads to too many objects")
        self._kept.append(value)  # so that its id stays its own
        self._known[id(value)] = "within itself"
        found = self._known[id(value)] = _hashed(self._parts(value))
        return found

    def _parts(self, value: object) -> Iterable[str]:
        match value:
            case list() | tuple():
                return (type(value).__name__, *map(self.of, value))
            case set() | frozenset():
                return ("set", *sorted(map(self.of, value)))
            case Mapping():
                return ("mapping", *(text for pair in list(value.items()) for text in map(self.of, pair)))
            case ModuleType():
                return ("module", value.__name__)
            case FunctionType():
                return self._function(value)
            case MethodType():
                return ("method", self.of(value.__self__), value.__func__.__qualname__)
            case partial():
                return ("partial", self.of(value.func), self.of(value.args), self.of(value.keywords))
            case BuiltinFunctionType():
                return ("builtin", str(value.__module__), value.__qualname__)
            case type():
                return self._class(value)
            case _:
                return self._object(value)

    def _function(self, function: FunctionType) -> Iterable[str]:
        yield from ("function", str(function.__module__), function.__qualname__)
        is_users = self._is_users(str(function.__module__))
        if is_users:
            yield from _code(function.__code__)
            yield self.of(function.__defaults__)
            yield self.of(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                yield self.of(cell.cell_contents)
            except ValueError:
                yield "empty"
        if not is_users:
            return
        for name in _names(function.__code__):
            if name in function.__globals__:
                yield name
                yield self.of(function.__globals__[name])

    def _class(self, kind: type) -> Iterable[str]:
        module = str(kind.__module__)  # None for what `type()` made where no module is named
        yield from ("class", module, kind.__qualname__)
        if self._is_users(module):
            for name, value in list(vars(kind).items()):
                if not name.startswith("__") and isinstance(
                    value, (*PLAIN, list, tuple, dict, set, FunctionType)
                ):
                    yield name
                    yield self.of(value)

    def _object(self, value: object) -> Iterable[str]:
        kind = type(value)
        yield self.of(kind)
        yield self._names.get(id(value), "")
        held = _attributes(value)
        module = str(kind.__module__)
        is_users = self._is_users(module) or hasattr(kind, "__pydantic_fields__")
        is_own = module.partition(".")[0] == "headgate"
        for name, inner in held.items():
            # numbers of others are descriptors and process ids
            if is_users or (is_own and not isinstance(inner, int | float)) or isinstance(inner, str):
                yield name
                yield self.of(inner)


def _hashed(parts: Iterable[str]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode("utf-8", "surrogatepass"))
        sha.update(b"\0")
    return sha.hexdigest()[:24]


def _code(code: CodeType) -> Iterable[str]:
    yield code.co_code.hex()
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)


def _names(code: CodeType) -> Iterable[str]:
    """The names that a function's code may look up in its module, with those of the functions in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _attributes(value: object) -> dict[str, Any]:
    slots = [name for kind in type(value).__mro__ for name in _listed(kind.__dict__.get("__slots__", ()))]
    found = {name: getattr(value, name) for name in slots if name != "__dict__" and hasattr(value, name)}
    return found | dict(getattr(value, "__dict__", {}))


def _listed(slots: object) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else tuple(slots)  # type: ignore[arg-type]
