"""Servers that functions of the user's say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ._caller import caller
from ._hook_checks import check_call
from ._parts import Parts, ServerSource
from .config.errors import ConfigError
from .config.units import parse_duration

F = TypeVar("F", bound=Callable[[], Any])


def registering(parts: Parts, upstream: str, every: float | str) -> Callable[[F], F]:
    """A decorator that has a function say the servers of an upstream."""
    every_s = _duration(every)

    def register(function: F) -> F:
        check_call(
            function,
            (),
            what=f"the discovery function of `{upstream}`",
            called="without arguments",
            hint="give its parameters defaults",
        )
        parts.discover[upstream] = ServerSource(function, every_s)
        return function

    return register


def _duration(value: float | str) -> float:
    """Seconds from what was written, more than none."""
    try:
        seconds = parse_duration(value)
    except ConfigError as error:
        raise ConfigError([one._replace(where=caller()) for one in error.problems]) from None
    if seconds <= 0:
        raise ConfigError(f"`every` is `{value}`", hint="write a time such as `10s`", where=caller())
    return seconds
