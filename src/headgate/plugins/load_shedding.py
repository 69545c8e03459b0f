"""Refuses requests by their importance while a worker is overloaded."""

from __future__ import annotations

import asyncio
import random
import time

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Expression, Plugin, PluginContext, Request, Response

TICK = 0.05
"""How often the delay is measured, in seconds."""
DECAY = 0.8
"""What is left of a measured delay a tick later, so that one late tick counts for about half a second."""


class RequestClass(BaseModel):
    """Requests of one importance."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$", description="The name in counters.")
    when: str | None = Field(
        default=None, description="Which requests, as an expression; null is all others."
    )
    above: float | None = Field(
        default=None,
        gt=0,
        le=60,
        description="From which delay on some are refused, in seconds; null: never.",
    )

    @field_validator("when")
    @classmethod
    def _when(cls, when: str | None) -> str | None:
        if when is not None:
            expression = Expression(when)
            if expression.kind != "truth":
                raise ConfigError(f"`{when}` is neither true nor false", hint='write `request.path == "/"`')
            if expression.names_response:
                raise ConfigError(
                    "`when` reads the response, which is not there yet", hint="use `request` only"
                )
        return when


class LoadShedding(Plugin):
    """Refuses some requests with 503 while the event loop of their worker is late, those of lower classes first.

    The first class whose `when` holds counts; requests of no class are never refused. From its `above` on some of a
    class are refused, at twice that delay all of them, so that the delay settles between. It is measured twenty times
    a second, for each worker: how much later than wanted the loop runs what is due, be it for many requests or for
    Python code that blocks. It runs early, so that a refusal costs little; at 60 if a class is about the consumer.
    """

    order = -890

    class Config(BaseModel):
        """Settings of `load-shedding`."""

        model_config = ConfigDict(extra="forbid")

        classes: list[RequestClass] = Field(
            default=[RequestClass(name="all", above=0.5)],
            min_length=1,
            max_length=20,
            description="Classes of requests, each with `name`, `when` and `above`; the first that fits counts.",
        )
        retry_after: int = Field(
            default=2, ge=1, description="The seconds after which clients may try again."
        )

        @field_validator("classes")
        @classmethod
        def _classes(cls, classes: list[RequestClass]) -> list[RequestClass]:
            if len({one.name for one in classes}) < len(classes):
                raise ConfigError("duplicate class", hint="give each a name of its own")
            if any(one.when is None for one in classes[:-1]):
                raise ConfigError(
                    "a class after one without `when` has no requests", hint="put that one last"
                )
            return classes

    def setup(self, context: PluginContext) -> None:
        """Prepares the classes."""
        self._classes = [
            (one.when and Expression(one.when), one.above, context.counter(f"shed_{one.name}"))
            for one in self.config.classes
        ]
        self._delay, self._due = 0.0, float("inf")
        self._timer: asyncio.TimerHandle | None = None
        if any(expression and expression.names_consumer for expression, _, _ in self._classes):
            self.order = 60

    def request(self, request: Request) -> Response | None:
        """Refuses what is too much."""
        if self._timer is None:
            self._next()
        # what is late now has not been measured yet
        delay = max(self._delay, time.monotonic() - self._due)
        if delay <= 0:
            return None
        for expression, above, shed in self._classes:
            if expression and not expression(request, None):
                continue
            if above is None or delay <= above or random.random() >= (delay - above) / above:
                return None
            shed.add()
            fields = [("retry-after", str(self.config.retry_after))]
            return Response(503, "overloaded, try again later\n", headers=fields)
        return None

    def close(self) -> None:
        """Ends the measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def _next(self) -> None:
        self._due = time.monotonic() + TICK
        self._timer = asyncio.get_running_loop().call_later(TICK, self._measure)

    def _measure(self) -> None:
        self._delay = max(time.monotonic() - self._due - TICK / 5, self._delay * DECAY, 0.0)
        self._next()
