"""Brings a new version to more and more of the requests, and takes it back by itself when it is worse."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Expression, Plugin, PluginContext, Request, ResponseView

from ._clients import BY, ClientKeys, checked_by
from ._fields import FieldName
from ._rollouts import BUCKETS, Limits, Numbers, bucket_of, judged

Side = Literal["canary", "baseline"]
BACK = -1
"""The step of a canary that was rolled back."""


class Canary(Plugin):
    """Sends a growing part of the requests to another upstream, and none as soon as that one is worse than before.

    Each step lasts `interval`, and until the canary had `requests` requests: without traffic nothing changes. In
    every state, also when it holds or has all requests, too many failures or too much time take it back to 0 %, with
    the numbers in the log, until `release` is another text. State and counts are of the node, over all its workers;
    they outlive reloads and upgrades, but not a stop. With `by`, clients stay on their side while the part grows. Those
    that `always` or `never` means are on that side whatever the part is, until it is taken back.
    """

    order = 400

    class Config(BaseModel):
        """Settings of `canary`."""

        model_config = ConfigDict(extra="forbid")

        to: str = Field(description="The upstream of the new version.")
        baseline: str | None = Field(
            default=None, description="The upstream before; null is the route's own."
        )
        release: str = Field(default="", max_length=64, description="Another text begins at the first step.")
        steps: list[float] = Field(
            default=[1, 5, 10, 25, 50, 100], min_length=1, description="The percentages, in ascending order."
        )
        interval: float = Field(default=60, gt=0, description="The least seconds of each step.")
        check: float = Field(default=2, ge=0.01, description="Numbers are looked at each so many seconds.")
        requests: int = Field(default=50, ge=1, description="Fewer of the canary in a step decide nothing.")
        hold_at: float | None = Field(
            default=None,
            ge=0,
            le=100,
            description="It goes no further than this percentage; null: to the end.",
        )
        by: str | None = Field(default=None, description=f"Null is at random, request by request. {BY}")
        always: str | None = Field(
            default=None,
            description="An expression: requests for which it is true are the canary's from the first step on.",
        )
        never: str | None = Field(
            default=None,
            description="An expression: requests for which it is true are the baseline's, also at 100 %.",
        )
        failure_percent: float = Field(
            default=1, ge=0, le=100, description="How many points above the baseline's its failures may be."
        )
        statuses: list[int] = Field(default=[500, 502, 503, 504], description="Statuses that are failures.")
        retries_fail: bool = Field(
            default=True, description="Whether a request that needed a second attempt is a failure."
        )
        percentile: float = Field(
            default=95, gt=0, le=100, description="Of the times until the response begins."
        )
        time: float | None = Field(
            default=None, gt=0, description="Its greatest time, in seconds; null: any."
        )
        time_ratio: float | None = Field(
            default=2, gt=1, description="Its greatest time, in times of the baseline's; null: any."
        )
        header: FieldName | None = Field(
            default=None, description="A field that tells servers `canary` or `baseline`."
        )

        @field_validator("by")
        @classmethod
        def _by(cls, by: str | None) -> str | None:
            return None if by is None else checked_by(by)

        @field_validator("always", "never")
        @classmethod
        def _condition(cls, text: str | None) -> str | None:
            if text is None:
                return None
            expression = Expression(text)
            if expression.kind != "truth" or expression.names_response:
                raise ConfigError(
                    f"`{text}` does not say whether a request is meant",
                    hint='write `request.headers["x-canary"] == "always"`',
                )
            return text

        @field_validator("steps")
        @classmethod
        def _steps(cls, steps: list[float]) -> list[float]:
            if steps != sorted(set(steps)) or steps[0] <= 0 or steps[-1] > 100:
                raise ConfigError(
                    f"the steps `{steps}` are not ascending percentages", hint="write `[1, 10, 100]`"
                )
            return steps

    def setup(self, context: PluginContext) -> None:
        """Makes the table, and the timer that decides."""
        config = self.config
        self._key = f"{context.name} side"
        self._table = context.shared("rollout", "256k")
        self._keys = ClientKeys(config.by) if config.by else None
        self._always = Expression(config.always) if config.always else None
        self._never = Expression(config.never) if config.never else None
        self._salt = f"{context.name}\0{config.release}\0".encode()
        self._statuses = frozenset(config.statuses)
        self._log = context.log
        self._gauge = context.metrics.gauge(
            "percent", "The part of requests that goes to the canary.", merge="max"
        )
        self._clock: Callable[[], float] = time.monotonic
        self._limits = Limits(
            config.requests, config.failure_percent, config.percentile, config.time, config.time_ratio
        )
        last = [n for n, step in enumerate(config.steps) if config.hold_at is None or step <= config.hold_at]
        self._last = last[-1] if last else BACK
        context.every(config.check, self._decide, once_per="node")

    def request(self, request: Request) -> None:
        """Chooses the side."""
        side = self._side(request)
        upstream = self.config.to if side == "canary" else self.config.baseline
        if upstream is not None:
            request.upstream = upstream
        if self.config.header is not None:
            request.headers[self.config.header] = side
        vars(request.state)[self._key] = [side, self._get("window"), self._clock(), None]

    def response(self, request: Request, response: ResponseView) -> None:
        """Notes how long it took."""
        noted = getattr(request.state, self._key, None)
        if noted is not None:
            noted[3] = self._clock() - noted[2]

    def log(self, request: Request, response: ResponseView | None) -> None:
        """Counts what became of it; a request whose client has left says nothing of its server."""
        noted = getattr(request.state, self._key, None)
        if noted is None or response is None or request.attempt == 0:
            return
        side, window, _, seconds = noted
        is_failure = response.status in self._statuses or (self.config.retries_fail and request.attempt > 1)
        self._count(side, window, "all")
        if is_failure:
            self._count(side, window, "failed")
        if seconds is not None:
            self._count(side, window, str(bucket_of(seconds)))

    # ---- the state of the node

    def _decide(self) -> None:
        """Takes a step, goes back, or waits; in one worker of the node."""
        config, now = self.config, self._clock()
        step, window = self._get("step"), self._get("window")
        self._gauge.set(self._percent())
        if step == BACK:
            return
        if self._table.add(self._name("since"), now):
            return
        canary, baseline = self._numbers("canary", window), self._numbers("baseline", window)
        verdict, reason = judged(canary, baseline, self._limits)
        facts = {
            "release": config.release,
            "percent": self._percent(),
            "canary": canary.shown(config.percentile),
            "baseline": baseline.shown(config.percentile),
        }
        if verdict is None:
            self._begin(BACK, window, now)
            self._log.error("the canary is rolled back: %s", reason, extra=facts)
        elif verdict == "good" and now - self._table.get(self._name("since"), now) >= config.interval:
            self._begin(min(step + 1, max(self._last, step)), window, now)
            if self._get("step") != step:
                self._log.info("the canary goes on to %g %%", self._percent(), extra=facts)

    def _begin(self, step: int, window: int, now: float) -> None:
        self._table.set(self._name("step"), step)
        self._table.set(self._name("since"), now)
        self._table.set(self._name("window"), window + 1)
        for side in ("canary", "baseline"):
            for what in ("all", "failed", *map(str, range(BUCKETS))):
                self._table.delete(self._name(f"{side} {window - 1} {what}"))
        self._gauge.set(self._percent())

    def _percent(self) -> float:
        step = self._get("step")
        if step == BACK or self._last == BACK:
            return 0.0
        return float(self.config.steps[min(step, self._last)])

    def _side(self, request: Request) -> Side:
        percent = self._percent()
        if percent == 0 or (self._never and self._never(request)):
            return "baseline"
        if self._always and self._always(request):
            return "canary"
        return "canary" if self._share(request) * 100 < percent else "baseline"

    def _share(self, request: Request) -> float:
        """A number from 0 to 1, without the 1."""
        if self._keys is None:
            return random.random()
        digest = hashlib.blake2b(self._salt + self._keys.of(request), digest_size=6).digest()
        return int.from_bytes(digest, "big") / (1 << 48)

    def _numbers(self, side: Side, window: int) -> Numbers:
        def count(what: str) -> int:
            return int(self._table.get(self._name(f"{side} {window} {what}"), 0))

        times = {bucket: found for bucket in range(BUCKETS) if (found := count(str(bucket)))}
        return Numbers(count("all"), count("failed"), times)

    def _count(self, side: Side, window: int, what: str) -> None:
        self._table.incr(self._name(f"{side} {window} {what}"), 1, 0)

    def _get(self, what: str) -> int:
        return int(self._table.get(self._name(what), 0))

    def _name(self, what: str) -> str:
        return f"{self.config.release} {what}"
