"""Bounds how much a consumer may ask for in a period of the calendar, kept in a file or in a Redis."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Redis, Request, Response, ResponseView
from headgate.native import Count, Native, RateFields, Who, can_set
from headgate.native import Period as Span

from ._clients import BY, ClientKeys, checked_by
from ._store import RedisUrl, Store, WhenAway

Period = Literal["hour", "day", "week", "month", "year"]

COUNT = """
local used = tonumber(redis.call('GET', KEYS[1]) or 0)
if used >= tonumber(ARGV[1]) then return used + 1 end
redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return used + 1
"""
SKEW_S = 86_400
"""How far a node's clock may be from another's: a count is kept so much longer, since its name has the period.

It is told in seconds from now: the clock of Redis counts for nothing.
"""


class Quota(Plugin):
    """A number of requests for each consumer in an hour, a day, a week, a month or a year of the calendar.

    Past it the reply is 429, with `Retry-After` until the period ends. Responses say what is left in `RateLimit`.
    Counts outlive restarts in `file`, or in `redis`, where all nodes count together.
    """

    order = 120

    class Config(BaseModel):
        """Settings of `quota`."""

        model_config = ConfigDict(extra="forbid")

        amount: int = Field(ge=1, description="Requests in a period.")
        period: Period = Field(description="The period; a week begins on Monday.")
        timezone: str = Field(default="UTC", description="Whose calendar it is, such as `Europe/Berlin`.")
        by: str = Field(default="consumer", description=BY)
        memory: str = Field(default="8m", description="The size of the table of consumers.")
        file: str | None = Field(
            default=None, description="Where counts are kept over restarts; written every few seconds."
        )
        redis: RedisUrl | None = Field(
            default=None, description="A Redis that keeps the counts of all nodes."
        )
        redis_timeout: float = Field(
            default=0.1, gt=0, description="The longest that Redis is waited for, in seconds."
        )
        when_away: WhenAway = Field(
            default="local",
            description="Without Redis: `local` counts on each node, `open` lets in, `closed` is a 503.",
        )
        fields: bool = Field(
            default=True, description="Whether responses carry `RateLimit` and `RateLimit-Policy`."
        )

        @field_validator("by")
        @classmethod
        def _by(cls, by: str) -> str:
            return checked_by(by)

        @field_validator("timezone")
        @classmethod
        def _timezone(cls, name: str) -> str:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError):
                raise ConfigError(f"there is no time zone `{name}`", hint="such as `Europe/Berlin`") from None
            return name

    def setup(self, context: PluginContext) -> None:
        """Reads what was kept."""
        config = self.config
        self._keys = ClientKeys(config.by)
        self._zone = ZoneInfo(config.timezone)
        self._used = context.shared("used", config.memory)
        self._denied = context.counter("denied")
        self._name = context.name
        self._log = context.log
        self._begin = self._end = 0.0
        self._span = Span()
        if config.file:
            self._file = Path(config.file)
            self._read()
            context.every(5, self._write, once_per="node")
        if config.redis:
            self._redis = Redis(config.redis, timeout=config.redis_timeout)
            self._store = Store(context)
            self.request = self._request_of_all_nodes  # type: ignore[method-assign, assignment]

    def native(self) -> Native:
        """Requests that are let in on one node, while the period lasts."""
        config, by = self.config, self._keys.parts
        if config.redis or not config.fields or by is None:
            return Native()
        note = f"{self._name} quota"
        policy = f'"{self._name}";q={config.amount}'
        if not can_set("ratelimit-policy", policy):
            return Native()
        count = Count(Who(by), config.amount, self._used, self._span, note)
        return Native(request=[count], response=[RateFields(note, [self._name], policy, self._span)])

    def close(self) -> None:
        """Keeps the counts."""
        if self.config.file:
            self._write()

    def request(self, request: Request) -> Response | None:
        """Counts the request."""
        now = time.time()
        return self._replied(request, self._count(self._keys.of(request), now), now)

    def response(self, request: Request, response: ResponseView) -> None:
        """Says what is left."""
        told = getattr(request.state, "quotas", {}).get(id(self)) if self.config.fields else None
        if told is not None:
            left, seconds = told
            window = math.ceil(self._end - self._begin)
            response.headers.add("ratelimit-policy", f'"{self._name}";q={self.config.amount};w={window}')
            response.headers.add("ratelimit", f'"{self._name}";r={left};t={seconds}')

    async def _request_of_all_nodes(self, request: Request) -> Response | None:
        now, key = time.time(), self._keys.of(request)
        name = f"headgate:{self._name}:".encode() + self._place(key, now)
        arguments = [self.config.amount, math.ceil(self._end - now) + SKEW_S]
        used: Any = await self._store.ask(lambda: self._redis.eval(COUNT, keys=[name], args=arguments))
        if used is None:
            if self.config.when_away == "open":
                return None
            if self.config.when_away == "closed":
                return Response(503, "try again later\n", headers=[("retry-after", "1")])
            used = self._count(key, now)
        return self._replied(request, used, now)

    def _count(self, key: bytes, now: float) -> int:
        name = self._place(key, now).hex()
        used = int(self._used.incr(name, 1, 0, max(self._end - now, 0.001)))
        if used > self.config.amount:
            self._used.incr(name, -1)
        return used

    def _replied(self, request: Request, used: int, now: float) -> Response | None:
        seconds = max(1, math.ceil(self._end - now))
        left = max(self.config.amount - used, 0)
        vars(request.state).setdefault("quotas", {})[id(self)] = (left, seconds)
        if used <= self.config.amount:
            return None
        self._denied.add()
        return Response(429, "the quota is used up\n", headers=[("retry-after", str(seconds))])

    def _place(self, key: bytes, now: float) -> bytes:
        """The name of a consumer's count in the period of a moment."""
        if not self._begin <= now < self._end:
            self._begin, self._end = period_of(now, self.config.period, self._zone)
            self._span.set(self._begin, self._end)
        return b"%d\0%s" % (int(self._begin), key)

    def _read(self) -> None:
        try:
            kept = json.loads(self._file.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise ConfigError(f"`{self._file}` cannot be read: {error}", hint="move it away") from None
        now = time.time()
        for name, (used, end) in kept.items():
            if end > now:
                self._used.add(name, used, end - now)

    def _write(self) -> None:
        now = time.time()
        self._place(b"", now)
        kept = {name: (self._used.get(name, 0), self._end) for name in self._used.keys(None)}
        beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(kept))
            beside.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            self._log.error("the quota's file cannot be written", extra={"reason": str(error)})


def period_of(now: float, period: Period, zone: ZoneInfo) -> tuple[float, float]:
    """Begin and end of the period that a moment lies in, in seconds since 1970."""
    here = datetime.fromtimestamp(now, zone)
    day = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "hour":
        # of an hour that a clock shows twice each is a period of its own
        begin = now - (here.minute * 60 + here.second + here.microsecond / 1e6)
        return float(round(begin)), float(round(begin)) + 3600
    begins: dict[str, datetime] = {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "year": day.replace(month=1, day=1),
    }
    start = begins[period]
    ends = {
        "day": start + timedelta(days=1),
        "week": start + timedelta(days=7),
        "month": (start.replace(day=1) + timedelta(days=32)).replace(day=1),
        "year": start.replace(year=start.year + 1, month=1, day=1),
    }
    return start.timestamp(), ends[period].timestamp()
