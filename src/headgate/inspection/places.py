"""Finds the code that `file.py:LINE` or `module:function` means, among what is loaded.

How it works: a function's code is shared by all functions made from the same `def`, so that one place is one code
object. Functions are found by walking from the module's names, through classes, closures, containers and the
gateway's own objects (a decorated hook is held by a route, not by its name). Nothing is imported and nothing is run.
"""

from __future__ import annotations

import difflib
import functools
import gc
import sys
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from headgate._digits import whole_number

MOST_OBJECTS = 100_000
"""A walk ends after so many; about 50 ms."""


class NotFound(LookupError):
    """There is no such code; the text says what is near."""


@dataclass(frozen=True)
class CodePlace:
    """Where to look: the entry of a function, or a line of it."""

    code: CodeType
    line: int | None
    """None is the function's entry."""
    functions: tuple[FunctionType, ...]
    """Those that have this code, or code that makes functions of it."""

    def __str__(self) -> str:
        line = self.line or self.code.co_firstlineno
        return f"{self.code.co_filename}:{line} in {self.code.co_qualname}"


def find(at: str, roots: Iterable[object] = ()) -> CodePlace:
    """The place that `at` names; `roots` are objects to walk besides the modules' names."""
    where, colon, what = at.rpartition(":")
    if not colon or not where or not what:
        raise NotFound(f"`{at}` is not a valid place; hint: write `file.py:LINE` or `module:function`")
    line = whole_number(what)
    if line is not None:
        return _line(where, line, roots)
    return _function(where, what, roots)


def _line(file: str, line: int, roots: Iterable[object]) -> CodePlace:
    modules = [module for module in _modules() if _is_named(file, getattr(module, "__file__", None))]
    functions = _functions_of(modules, file, roots)
    files = {code.co_filename for code, _ in functions}
    if len(files) > 1:
        raise NotFound(f"`{file}` is several files: {', '.join(sorted(files))}; hint: write more of its path")
    holding = [(code, of) for code, of in functions if line in _lines(code)]
    if not holding:
        if modules and not functions:
            raise NotFound(f"`{file}` has no functions, so nothing of it runs for a request")
        if not functions:
            raise NotFound(f"no module of file `{file}` is loaded{_near_file(file)}")
        lines = sorted({number for code, _ in functions for number in _lines(code)})
        near = min(lines, key=lambda number: (abs(number - line), number))
        raise NotFound(f"no function has code at line {line} of `{file}`; hint: line {near} has")
    # the innermost: its `def` stands last
    code = max((code for code, _ in holding), key=lambda code: code.co_firstlineno)
    is_entry = line == code.co_firstlineno or line < min(_body_lines(code), default=line)
    return CodePlace(code, None if is_entry else line, _having(code, functions))


def _function(module_name: str, name: str, roots: Iterable[object]) -> CodePlace:
    modules = [module for module in _modules() if module.__name__ == module_name]
    if not modules:
        # a gateway's file is not a module that could be imported: it is meant by its name all the same
        wanted = module_name.removesuffix(".py") + ".py"
        modules = [module for module in _modules() if _is_named(wanted, getattr(module, "__file__", None))]
    if not modules:
        near = difflib.get_close_matches(module_name, [module.__name__ for module in _modules()], 1)
        hint = f"; hint: did you mean `{near[0]}`?" if near else ""
        raise NotFound(f"no module `{module_name}` is loaded{hint}")
    file = getattr(modules[0], "__file__", None) or ""
    functions = _functions_of(modules, file, roots)
    found = [code for code, _ in functions if _plain(code.co_qualname) in (name, _plain(name))]
    if not found:
        member: Any = modules[0]
        for part in name.split("."):
            member = getattr(member, part, None)
        if member is not None and not isinstance(member, FunctionType | MethodType):
            raise NotFound(f"`{name}` of `{module_name}` is not a function written in Python")
        names = sorted({_plain(code.co_qualname) for code, _ in functions})
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; hint: did you mean `{near[0]}`?" if near else ""
        raise NotFound(f"`{module_name}` has no function `{name}`{hint}")
    code = min(found, key=lambda code: code.co_firstlineno)
    return CodePlace(code, None, _having(code, functions))


def _functions_of(
    modules: list[ModuleType], file: str, roots: Iterable[object]
) -> list[tuple[CodeType, FunctionType]]:
    """All code of that file, inner code too, each with a function that has it or makes functions of it."""
    found: dict[int, FunctionType] = {}
    for module in modules:
        for function in _walk(module, roots):
            found[id(function)] = function
    return [
        (code, function)
        for function in found.values()
        for code in inner_codes(original(function.__code__))
        if _is_named(file, code.co_filename)
    ]


def _walk(module: ModuleType, roots: Iterable[object]) -> Iterator[FunctionType]:
    own = vars(module)
    seen: set[int] = set()
    waiting: list[Any] = [*own.values(), *roots]
    while waiting and len(seen) < MOST_OBJECTS:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, FunctionType):
            yield one
            waiting += [cell.cell_contents for cell in one.__closure__ or () if _is_full(cell)]
            waiting += [*(one.__defaults__ or ()), *vars(one).values()]
        elif isinstance(one, type):
            waiting += vars(one).values() if one.__module__ == module.__name__ else ()
        elif isinstance(one, MethodType):
            waiting += [one.__func__, one.__self__]
        elif isinstance(one, dict):
            waiting += one.values() if "__builtins__" not in one else ()  # another module's names
        elif _is_container(one) or type(one).__module__.partition(".")[0] in ("headgate", module.__name__):
            waiting += gc.get_referents(one)


def _is_container(one: object) -> bool:
    kinds = (list, tuple, set, frozenset, staticmethod, classmethod, property, functools.partial)
    return isinstance(one, kinds) or type(one).__name__ == "_lru_cache_wrapper"


def _is_full(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


_originals: weakref.WeakKeyDictionary[CodeType, CodeType] = weakref.WeakKeyDictionary()
"""Code that `rewriting` has put in place of other code."""


def original(code: CodeType) -> CodeType:
    """The code as it was written, whatever has been put in its place."""
    return _originals.get(code, code)


def inner_codes(code: CodeType) -> Iterator[CodeType]:
    """The code and all that it makes functions, classes and comprehensions of."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from inner_codes(constant)


def _having(code: CodeType, functions: list[tuple[CodeType, FunctionType]]) -> tuple[FunctionType, ...]:
    return tuple(function for held, function in functions if held is code)


def _lines(code: CodeType) -> set[int]:
    return {line for _, _, line in code.co_lines() if line is not None}


def _body_lines(code: CodeType) -> set[int]:
    return _lines(code) - {code.co_firstlineno}


def _modules() -> list[ModuleType]:
    found: list[object] = list(sys.modules.values())  # anybody may put anything there
    return [module for module in found if isinstance(module, ModuleType)]


def _is_named(given: str, file: str | None) -> bool:
    return file is not None and (file == given or file.endswith("/" + given.removeprefix("./")))


def _near_file(file: str) -> str:
    names = {str(getattr(module, "__file__", None) or "").rpartition("/")[2] for module in _modules()}
    near = difflib.get_close_matches(file.rpartition("/")[2], names - {""}, 1)
    return f"; hint: did you mean `{near[0]}`?" if near else ""


def _plain(qualified: str) -> str:
    return qualified.replace("<locals>.", "")
