"""How requests are held to a rate on one node: two algorithms over shared dictionaries.

How it works. `Gcra` is the generic cell rate algorithm (ITU-T I.371), a token bucket that is one number for each
client: the moment at which its bucket will be full again. Each request moves it on by `window / limit`; one that would
move it further than the bucket is deep is refused. A moment in the past means nothing, so an entry lives until it has
come. It is one operation of the dictionary, `Shared.throttle`, and exact among workers. `SlidingWindow` counts in fixed
windows, and takes the window before for as much as still lies within one window's length; workers that count for one
client in the same instant may refuse one request each too many, and never let one too many in.

Clients that were refused are kept in a table of their own: any number of clients that ask once cannot push them out.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple, Protocol

from headgate import ConfigError, Shared

UNITS = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
RATE = re.compile(r"\s*([0-9]+)\s*/\s*([0-9]*)\s*([a-z]+)\s*")


class Rate(NamedTuple):
    """So many requests in a window of seconds, and so many at once."""

    limit: int
    window: float
    burst: int

    @property
    def step(self) -> float:
        """Seconds between two requests at this rate."""
        return self.window / self.limit


Verdict = tuple[float, int, int, float]
"""What a request got: how many seconds to wait (0: let in), how many requests are left, in how many seconds all are
there again, and how many seconds the request itself is to be held back. A plain tuple: one is made for each request."""


class Limiter(Protocol):
    """Decides on requests by their clients' keys."""

    clients: Shared
    refused: Shared

    def decide(self, key: bytes, now: float) -> Verdict:
        """Counts a request at a moment of the monotonic clock; one that is refused does not count."""

    def undo(self, key: bytes, now: float) -> None:
        """Undoes the last admission: another limit refused it."""


class Gcra:
    """The generic cell rate algorithm. With `delay` requests over the rate are held back for so many seconds at most,
    so that they go on one by one (a leaky bucket)."""

    def __init__(self, rate: Rate, clients: Shared, refused: Shared, delay: float | None = None) -> None:
        self._step = rate.step
        self._is_leaky = delay is not None
        self._depth = rate.step + delay if delay is not None else rate.burst * rate.step
        self.clients = clients
        self.refused = refused

    def decide(self, key: bytes, now: float) -> Verdict:
        """See `Limiter`."""
        # a client that was refused is counted where it cannot be pushed out
        known = self.refused.get(key)
        if isinstance(known, str):  # a sliding window's, of an earlier configuration
            self.refused.delete(key)
            known = None
        table = self.clients if known is None else self.refused
        wait, full_in = table.throttle(key, self._step, self._depth, now)
        if (
            wait and full_in > 2 * self._depth + 1
        ):  # never at this rate: counted at a slower one, before a reload
            table.delete(key)
            wait, full_in = table.throttle(key, self._step, self._depth, now)
        if wait:
            if table is self.clients:
                self.refused.add(key, now + full_in, max(full_in, 0.001))
            return wait, 0, math.ceil(full_in), 0.0
        left = math.floor((self._depth - full_in) / self._step + 1e-6)
        delay = max(full_in - self._step, 0.0) if self._is_leaky else 0.0
        return 0.0, left if left > 0 else 0, math.ceil(full_in), delay

    def undo(self, key: bytes, now: float) -> None:
        """See `Limiter`."""
        for table in (self.refused, self.clients):
            if table.get(key) is not None:
                table.incr(key, -self._step)
                return


class SlidingWindow:
    """Counts of this window and the one before, the latter by the part of it that lies within one window's length."""

    def __init__(self, rate: Rate, clients: Shared, refused: Shared) -> None:
        self._limit = rate.limit
        self._window = rate.window
        self._rate = f"{rate.limit}/{rate.window}"
        self.clients = clients
        self.refused = refused

    def decide(self, key: bytes, now: float) -> Verdict:
        """See `Limiter`."""
        until = self._refused_until(key)
        number, part = self._place(now)
        if until > now:
            return until - now, 0, math.ceil(self._window), 0.0
        before = int(self.clients.get(self._name(key, number - 1), 0))
        count = int(self.clients.incr(self._name(key, number), 1, 0, 2 * self._window))
        free = self._limit - before * (1 - part) - count
        if free < -1e-9:
            count = int(self.clients.incr(self._name(key, number), -1))
            wait = self._wait(before, count, part)
            self.refused.set(key, f"{now + wait!r} {self._rate}", max(wait, 0.001))
            return wait, 0, math.ceil(self._window), 0.0
        return 0.0, max(math.floor(free + 1e-9), 0), math.ceil((1 - part) * self._window), 0.0

    def undo(self, key: bytes, now: float) -> None:
        """See `Limiter`."""
        name = self._name(key, self._place(now)[0])
        if self.clients.get(name, 0) > 0:
            self.clients.incr(name, -1)

    def _refused_until(self, key: bytes) -> float:
        """Until when a client is refused at this rate; what an earlier configuration said of another one is over."""
        said = self.refused.get(key)
        if said is None:
            return 0.0
        until, _, rate = said.partition(" ") if isinstance(said, str) else ("", "", "")
        if rate == self._rate:
            return float(until)
        self.refused.delete(key)
        return 0.0

    def _place(self, now: float) -> tuple[int, float]:
        number, rest = divmod(now, self._window)
        return int(number), rest / self._window

    def _wait(self, before: int, count: int, part: float) -> float:
        """Seconds until another request is admitted, if none comes until then."""
        hair = self._window * 1e-6
        if count < self._limit:
            return max((1 - (self._limit - 1 - count) / before - part) * self._window, 0) + hair
        into_next = max(1 - (self._limit - 1) / count, 0)
        return (1 - part + into_next) * self._window + hair

    @staticmethod
    def _name(key: bytes, number: int) -> bytes:
        return b"%s\0%d" % (key, number)


def parsed_rate(rate: str) -> tuple[int, float]:
    """`100/minute` as requests and seconds; raises `ConfigError`."""
    found = RATE.fullmatch(rate)
    unit = UNITS.get(found[3]) if found else None
    count, number = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
    if unit is None or not count or not number:
        raise ConfigError(
            f"`{rate}` is not a valid rate", hint="write a number and a time, such as `10/s` or `100/minute`"
        )
    return count, float(number * unit)
