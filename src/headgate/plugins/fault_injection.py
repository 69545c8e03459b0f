"""Makes some requests late or fail, to see what clients do about it."""

from __future__ import annotations

import asyncio
import random

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response


class Delay(BaseModel):
    """How requests are made late."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(
        gt=0, le=3600, description="How long they wait; a use that waits long needs a longer `deadline` too."
    )
    jitter: float = Field(default=0, ge=0, le=3600, description="Up to so many seconds more, at random.")
    percent: float = Field(default=100, gt=0, le=100, description="How many of them.")


class Abort(BaseModel):
    """How requests are made to fail."""

    model_config = ConfigDict(extra="forbid")

    status: int = Field(default=503, ge=200, le=599, description="The status they get.")
    body: str = Field(default="a fault that was asked for\n", description="The body they get.")
    percent: float = Field(default=100, gt=0, le=100, description="How many of them.")


class FaultInjection(Plugin):
    """Delays a part of the requests, replies to a part with an error; `when` of the use chooses which may be hit.

    A request that is both is delayed first. What waits costs a timer; the client that leaves ends it.
    """

    order = 430

    class Config(BaseModel):
        """Settings of `fault-injection`."""

        model_config = ConfigDict(extra="forbid")

        delay: Delay | None = Field(default=None, description="Makes requests late.")
        abort: Abort | None = Field(default=None, description="Makes requests fail.")
        seed: int | None = Field(default=None, description="Makes chance repeat itself, in each worker.")

        @model_validator(mode="after")
        def _something(self) -> FaultInjection.Config:
            if self.delay is None and self.abort is None:
                raise ConfigError("no fault is configured", hint="write `delay` or `abort`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares chance."""
        self._random = random.Random(self.config.seed)
        self._injected = context.counter("injected")

    async def request(self, request: Request) -> Response | None:
        """Waits, then replies, each with its chance."""
        delay, abort = self.config.delay, self.config.abort
        if delay is not None and self._hits(delay.percent):
            await asyncio.sleep(delay.seconds + self._random.random() * delay.jitter)
        if abort is not None and self._hits(abort.percent):
            self._injected.add()
            return Response(abort.status, abort.body)
        return None

    def _hits(self, percent: float) -> bool:
        return self._random.random() * 100 < percent
