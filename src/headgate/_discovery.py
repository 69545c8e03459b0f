"""Servers that functions of the user's say."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from ._caller import caller
from ._parts import Parts, ServerSource
from .config.errors import ConfigError
from .config.units import parse_duration
from .config.upstreams import UpstreamOptions
from .route import Upstream

F = TypeVar("F", bound=Callable[[], Any])


class GatewayDiscovery:
    """The part of a gateway that has functions say the servers of upstreams."""

    _parts: Parts

    def upstream(self, name: str, *servers: Any, **options: Unpack[UpstreamOptions]) -> Upstream:
        """See `Gateway`."""
        raise NotImplementedError

    def discover(
        self, upstream: str, *, every: float | str = "10s", **options: Unpack[UpstreamOptions]
    ) -> Callable[[F], F]:
        """An upstream whose servers the decorated function says, such as `["10.0.0.2:9000 weight=2"]`.

        It is called in the agent, `every` so often, and may be async; or it is an async generator, which yields a list
        whenever there is another one. While it fails, the last list stays in use. `options` are those of `upstream`.
        """
        every_s = _duration(every)
        self.upstream(upstream, f"discover:{upstream}", **options)

        def register(function: F) -> F:
            if not callable(function):
                raise ConfigError(f"what says the servers of `{upstream}` is not a function", where=caller())
            _check_arguments(upstream, function)
            self._parts.discover[upstream] = ServerSource(function, every_s)
            return function

        return register


def _check_arguments(upstream: str, function: Callable[..., Any]) -> None:
    """Refuses a function that cannot be called without arguments."""
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ConfigError(
            f"what says the servers of `{upstream}` is called without arguments: {error}",
            hint="give its parameters defaults",
            where=caller(),
        ) from None
    except ValueError:
        return  # some builtins have no signature to check


def _duration(value: float | str) -> float:
    """Seconds from what was written, more than none."""
    try:
        seconds = parse_duration(value)
    except ConfigError as error:
        raise ConfigError([one._replace(where=caller()) for one in error.problems]) from None
    if seconds <= 0:
        raise ConfigError(f"`every` is `{value}`", hint="write a time such as `10s`", where=caller())
    return seconds
