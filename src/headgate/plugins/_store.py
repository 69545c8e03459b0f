"""A store that may be away: asked within a short time, left alone for a while after failures, logged once."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator

from headgate import ConfigError, PluginContext, Redis, RedisError

T = TypeVar("T")

WhenAway = Literal["local", "open", "closed"]
"""What is done without the store."""


def _checked(url: str) -> str:
    try:
        Redis(url)  # connects when it is first used
    except ValueError as error:
        problem, _, hint = str(error).partition("; hint: ")
        raise ConfigError(problem, hint=hint or "write `redis://host:6379/0`") from None
    return url


RedisUrl = Annotated[str, AfterValidator(_checked)]
"""Where a Redis is: one, a list, those that Sentinels know, or a cluster."""

SHORTEST, LONGEST = 0.5, 10.0
"""Seconds for which a failing store is not asked: the first time, and at most."""


class Store:
    """Asks through a breaker: after a failure no request waits for the store until a pause is over."""

    def __init__(self, context: PluginContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = context.log
        self._failures = context.counter("store_failures")
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """What the store says; `None` if it is away."""
        now = self._clock()
        if now < self._until:
            return None
        if self._pause:
            self._until = now + self._pause  # only this one tries it
        try:
            reply = await question()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        if self._pause:
            self._pause = self._until = 0.0
            self._log.warning("the store is available again")
        return reply

    def _failed(self, error: Exception) -> None:
        self._failures.add()
        if not self._pause:
            self._log.error("the store is unavailable", extra={"reason": str(error) or type(error).__name__})
        self._pause = min(self._pause * 2, LONGEST) if self._pause else SHORTEST
        self._until = self._clock() + self._pause
