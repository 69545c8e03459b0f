"""Hooks as functions: what they are called, where they are defined, and whether they fit their phase."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ._caller import caller
from .config.errors import ConfigError, Where, suggestion
from .phases import PHASES, Phase

if TYPE_CHECKING:
    from .native.telling import NativeHook

Hook = Callable[..., Any]
"""A function, sync or async, that the gateway calls in a phase."""

MATCH = Phase("match", ("request",), "routes are compared with the request", "say yes or no", "")
"""Not a phase of a request's life, but checked like one: the function given as `when` of a route. Sync only."""


@dataclass(frozen=True, slots=True)
class HookSpec:
    """A hook as the engine takes it."""

    phase: str
    function: Hook
    is_async: bool
    deadline_ms: int
    on_error: Literal["closed", "open"]
    name: str
    plugin: str | None = None
    """The class of the plugin whose hook it is."""
    native: NativeHook | None = None
    """What the engine does in place of calling it; see `headgate.native`."""


def is_async(function: Hook) -> bool:
    """Whether calling `function` gives a coroutine."""
    if inspect.iscoroutinefunction(function):
        return True
    # An object that is called: what counts is its class's `__call__`.
    return inspect.iscoroutinefunction(inspect.getattr_static(type(function), "__call__", None))


def check_call(function: Any, arguments: tuple[object, ...], *, what: str, called: str, hint: str) -> None:
    """Raises `ConfigError`, at the caller's line, for what cannot be called with these arguments.

    The texts say `what` it is and how it is `called`, such as `with a name`.
    """
    if not callable(function):
        raise ConfigError(f"{what} is not a function", where=caller())
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ConfigError(f"{what} is called {called}: {error}", hint=hint, where=caller()) from None
    except ValueError:
        return  # some builtins have no signature to check


def shown_name(function: Hook) -> str:
    """`gate.py:stamp` or `KeyAuth.request`: how logs and errors call a hook."""
    owner = getattr(function, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        return f"{type(owner).__name__}.{function.__name__}"
    name = getattr(function, "__qualname__", type(function).__qualname__).replace("<locals>.", "")
    where = defined_at(function)
    return f"{where.file.rpartition('/')[2]}:{name}" if where else str(name)


def defined_at(function: Hook) -> Where | None:
    """The line of a function's `def`, where Python knows it."""
    bare = inspect.unwrap(getattr(function, "func", function))
    code = getattr(getattr(bare, "__func__", bare), "__code__", None)
    if code is None:
        return None
    first = code.co_firstlineno
    if code.co_name != "<lambda>":
        # A decorated function begins, for Python, with its first decorator.
        lines = linecache.getlines(code.co_filename)[first - 1 : first + 49]
        first += next((below for below, line in enumerate(lines) if _DEF.match(line)), 0)
    return Where(code.co_filename, first)


_DEF = re.compile(r"\s*(async\s+)?def\s")


def check_hook(phase: Phase, function: Hook, *, is_method: bool = False) -> None:
    """Refuses what is not callable with the phase's arguments under their names. `is_method` skips `self`."""
    if not callable(function):
        raise ConfigError(f"`{function!r}` is not a function", hint=f"phase `{phase.name}` calls a function")
    name, where = shown_name(function), defined_at(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(
            f"hook `{name}` yields", hint="a hook returns; stream with `Response.stream`", where=where
        )
    if phase is MATCH and is_async(function):
        raise ConfigError(f"matcher `{name}` is async", hint="matchers cannot wait: write `def`", where=where)
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # Some builtins have none to check.
    parameters = list(signature.parameters.values())[1 if is_method else 0 :]
    if not _fits(parameters, phase.arguments):
        given = ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)
        wanted = ", ".join(phase.arguments)
        short = name.rpartition(":")[2].rpartition(".")[2]
        full = f"self, {wanted}".rstrip(", ") if is_method else wanted
        raise ConfigError(
            f"hook `{name}` takes `({given})`, but phase `{phase.name}` gives `({wanted})`",
            hint=f"write `def {short}({full})`",
            where=where,
        )


def check_phase_name(name: str) -> Phase:
    """The phase of that name; any other name is refused with the nearest right one."""
    if name not in PHASES:
        raise ConfigError(f"there is no phase `{name}`", hint=suggestion(name, PHASES))
    return PHASES[name]


def _fits(parameters: list[inspect.Parameter], wanted: tuple[str, ...]) -> bool:
    remaining = list(wanted)
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            remaining.clear()
        elif parameter.kind is parameter.VAR_KEYWORD:
            continue
        elif parameter.kind is parameter.KEYWORD_ONLY or not remaining:
            if parameter.default is parameter.empty:
                return False
        elif not _same_name(parameter.name, remaining.pop(0)):
            return False
    return not remaining


def _same_name(given: str, wanted: str) -> bool:
    """A leading underscore marks an argument that is not used."""
    return given.lstrip("_") in ("", wanted)
