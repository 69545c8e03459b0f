"""Bounds how often a client may ask, over all workers of a node, or over all nodes that share a Redis.

The algorithms are in `_rates` and `_rates_redis`, whom requests are counted for in `_clients`.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Redis, Request, Response, ResponseView
from headgate.native import Native, RateFields, Throttle, Who
from headgate.native import Rate as NativeRate

from ._clients import BY, ClientKeys, checked_by
from ._rates import Gcra, Limiter, Rate, SlidingWindow, Verdict, parsed_rate
from ._rates_redis import RedisLimiter
from ._store import RedisUrl, Store, WhenAway

MOST = 2**32 - 1
LONGEST = 3650 * 86400
"""What native actions can count, in requests and seconds."""
Algorithm = Literal["token-bucket", "sliding-window", "leaky-bucket"]


class RateLimit(Plugin):
    """A rate for each client, by its address, a header field, its consumer, or any of these together.

    Past it the reply is 429 with `Retry-After` (RFC 9110 section 10.2.3) in whole seconds; who waits so long is let
    in. Every response says what is left in `RateLimit` and `RateLimit-Policy`
    (draft-ietf-httpapi-ratelimit-headers-10). By consumer it runs at order 100.

    With `redis` all nodes count together: nothing is let in beyond the rate, and requests are counted up to `batch`
    seconds before they come, a twentieth of the burst for each worker at most.
    """

    order = -100  # before authentication: guessing keys has a rate too

    class Config(BaseModel):
        """Settings of `rate-limit`."""

        model_config = ConfigDict(extra="forbid")

        rate: str | list[str] = Field(
            description="Requests in a time, such as `10/s`, `100/minute`, `1000/24h`; of several each must hold."
        )
        burst: int | None = Field(
            default=None, ge=1, description="Requests that may come at once; null is the number in `rate`."
        )
        algorithm: Algorithm = Field(
            default="token-bucket",
            description="`token-bucket` (by the generic cell rate algorithm), `sliding-window` (no more than the rate "
            "in any window), or `leaky-bucket`, which holds requests back so that they go on one by one.",
        )
        delay: float = Field(
            default=1.0,
            gt=0,
            le=60,
            description="`leaky-bucket`: the longest a request is held back, in seconds.",
        )
        by: str = Field(default="address", description=BY)
        ipv6_prefix: int = Field(
            default=64, ge=1, le=128, description="The bits of an IPv6 address that are one client."
        )
        ipv4_prefix: int = Field(
            default=32, ge=1, le=32, description="The bits of an IPv4 address that are one client."
        )
        memory: str = Field(
            default="8m",
            description="The size of the table of clients; when it is full the ones seen longest ago go.",
        )
        redis: RedisUrl | None = Field(
            default=None,
            description="A Redis that all nodes count in: `redis://host`, `redis+sentinel://...`, `redis+cluster://...`.",
        )
        redis_timeout: float = Field(
            default=0.1, gt=0, description="The longest that Redis is waited for, in seconds."
        )
        batch: float = Field(
            default=0.1,
            ge=0,
            le=10,
            description="The longest that a worker lets in what it took from Redis at once, in seconds; 0 asks "
            "each time.",
        )
        when_away: WhenAway = Field(
            default="local",
            description="Without Redis: `local` counts on each node its part of the rate, `open` lets in, `closed` "
            "is a 503.",
        )
        nodes: int = Field(
            default=1, ge=1, description="`local`: how many nodes there are; each has that part of the rate."
        )
        status: int = Field(default=429, ge=400, le=599, description="The status of a refusal.")
        fields: bool = Field(
            default=True, description="Whether responses carry `RateLimit` and `RateLimit-Policy`."
        )

        @field_validator("rate")
        @classmethod
        def _rate(cls, rate: str | list[str]) -> str | list[str]:
            if not rate and isinstance(rate, list):
                raise ConfigError("a rate is missing", hint="write `10/s`, or a list of such")
            for one in [rate] if isinstance(rate, str) else rate:
                parsed_rate(one)
            return rate

        @field_validator("by")
        @classmethod
        def _by(cls, by: str) -> str:
            return checked_by(by)

        @model_validator(mode="after")
        def _leaky(self) -> RateLimit.Config:
            if self.algorithm == "leaky-bucket" and (self.redis or self.burst):
                raise ConfigError(
                    "`leaky-bucket` supports neither `redis` nor `burst`", hint="remove `burst` and `redis`"
                )
            return self

    def setup(self, context: PluginContext) -> None:
        """Makes the tables."""
        config = self.config
        self._keys = ClientKeys(config.by, config.ipv4_prefix, config.ipv6_prefix)
        # by who somebody is: after what finds that out
        self.order = 100 if self._keys.needs_consumer else -100
        self._rates = [
            Rate(limit, window, config.burst or limit)
            for limit, window in map(
                parsed_rate, [config.rate] if isinstance(config.rate, str) else config.rate
            )
        ]
        nodes = config.nodes if config.redis else 1
        self._limiters = [
            self._local(context, number, rate, nodes) for number, rate in enumerate(self._rates)
        ]
        self._shared: list[RedisLimiter] = []
        self._denied = context.counter("denied")
        self._log = context.log
        self._has_fields = config.fields
        self._key = f"{context.name} verdicts"
        self._name = re.sub(r"[^A-Za-z0-9_.-]", "-", context.name)
        names = [self._name, *(f"{self._name}-{n}" for n in range(2, len(self._rates) + 1))]
        self._names = names
        self._policy = ", ".join(
            f'"{name}";q={rate.burst};w={math.ceil(rate.burst * rate.step)}'
            for name, rate in zip(names, self._rates, strict=True)
        )
        if config.redis:
            redis = Redis(config.redis, timeout=config.redis_timeout)
            is_sliding = config.algorithm == "sliding-window"
            self._shared = [
                RedisLimiter(redis, rate, name, is_sliding=is_sliding, batch=config.batch)
                for name, rate in zip(names, self._rates, strict=True)
            ]
            self._store = Store(context)
            self.request = self._request_of_all_nodes  # type: ignore[method-assign, assignment]
        elif config.algorithm == "leaky-bucket":
            self.request = self._request_held_back  # type: ignore[method-assign, assignment]

    def native(self) -> Native:
        """Requests that are let in on one node; whom the hook has refused is its own."""
        config, by = self.config, self._keys.parts
        if config.redis or config.algorithm == "leaky-bucket" or by is None:
            return Native()
        is_sliding = config.algorithm == "sliding-window"
        rates = [
            NativeRate(
                rate.limit,
                rate.window,
                limiter.clients,
                limiter.refused,
                None if is_sliding else rate.burst * rate.step,
            )
            for rate, limiter in zip(self._rates, self._limiters, strict=True)
        ]
        if any(rate.limit > MOST or max(rate.window, rate.depth or 0) > LONGEST for rate in rates):
            return Native()
        note = self._key if config.fields else None
        throttle = Throttle(Who(by, config.ipv4_prefix, config.ipv6_prefix), rates, note)
        fields = [RateFields(self._key, self._names, self._policy)] if config.fields else []
        return Native(request=[throttle], response=fields)

    def request(self, request: Request) -> Response | None:
        """Counts the request."""
        return self._replied(request, self._decide(self._keys.of(request), time.monotonic()))

    def response(self, request: Request, response: ResponseView) -> None:
        """Says what is left."""
        if not self._has_fields:
            return
        verdicts = vars(request.state).get(self._key)
        if verdicts is not None:
            headers = response.headers
            headers.add("ratelimit-policy", self._policy)
            if len(verdicts) == 1:
                _, left, reset, _ = verdicts[0]
                value = f'"{self._name}";r={left};t={reset}'
            else:
                named = zip(self._names, verdicts, strict=False)
                value = ", ".join(f'"{name}";r={left};t={reset}' for name, (_, left, reset, _) in named)
            headers.add("ratelimit", value)

    async def _request_of_all_nodes(self, request: Request) -> Response | None:
        key, now = self._keys.of(request), time.monotonic()
        verdicts = await self._store.ask(lambda: self._decide_together(key, now))
        if verdicts is None:
            if self.config.when_away == "open":
                return None
            if self.config.when_away == "closed":
                return Response(503, "try again later\n", headers=[("retry-after", "1")])
            verdicts = self._decide(key, now)
        return self._replied(request, verdicts)

    async def _request_held_back(self, request: Request) -> Response | None:
        verdicts = self._decide(self._keys.of(request), time.monotonic())
        reply = self._replied(request, verdicts)
        delay = max(delay for *_, delay in verdicts)
        if reply is None and delay > 0:
            await asyncio.sleep(delay)
        return reply

    def _replied(self, request: Request, verdicts: list[Verdict]) -> Response | None:
        if self._has_fields:
            vars(request.state)[self._key] = verdicts
        wait = verdicts[-1][0]
        if wait == 0:
            return None
        self._denied.add()
        self._log.info("refused", extra={"by": self.config.by, "request_id": request.id})
        seconds = max(1, math.ceil(wait))
        return Response(self.config.status, "too many requests\n", headers=[("retry-after", str(seconds))])

    def _decide(self, key: bytes, now: float) -> list[Verdict]:
        """The verdicts of all rates, or up to the first that refuses."""
        if len(self._limiters) == 1:
            return [self._limiters[0].decide(key, now)]
        verdicts: list[Verdict] = []
        for limiter in self._limiters:
            verdicts.append(limiter.decide(key, now))
            if verdicts[-1][0] > 0:
                for former in self._limiters[: len(verdicts) - 1]:
                    former.undo(key, now)
                break
        return verdicts

    async def _decide_together(self, key: bytes, now: float) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for limiter in self._shared:
            verdicts.append(await limiter.decide(key, now))
            if verdicts[-1][0] > 0:
                for former in self._shared[: len(verdicts) - 1]:
                    former.undo(key)
                break
        return verdicts

    def _local(self, context: PluginContext, number: int, rate: Rate, nodes: int) -> Limiter:
        suffix = f"-{number + 1}" if number else ""
        clients = context.shared(f"clients{suffix}", self.config.memory)
        refused = context.shared(f"refused{suffix}", self.config.memory)
        part = Rate(rate.limit, rate.window * nodes, max(1, rate.burst // nodes)) if nodes > 1 else rate
        if self.config.algorithm == "sliding-window":
            return SlidingWindow(Rate(max(1, rate.limit // nodes), rate.window, rate.burst), clients, refused)
        delay = self.config.delay if self.config.algorithm == "leaky-bucket" else None
        return Gcra(part, clients, refused, delay)
