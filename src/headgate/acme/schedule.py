"""When a certificate is renewed, and when a failed order is tried again: pure functions of time.

A certificate is due after two thirds of its life, one that lives less than ten days after half, or when its authority
says so (ARI, RFC 9773). Jitter spreads many certificates of one age.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Literal

SHORT_LIFE = timedelta(days=10)
LONGEST_BACKOFF = timedelta(days=1)

Alert = Literal["none", "warning", "error", "critical"]
"""How urgent a certificate's renewal is."""


def due(not_before: datetime, not_after: datetime, jitter: float) -> datetime:
    """When to renew a certificate; `jitter`, between 0 and 1, moves it up to 5 % of the life earlier."""
    life = not_after - not_before
    share = 0.5 if life < SHORT_LIFE else 2 / 3
    return not_before + life * (share - 0.05 * jitter)


def settled(ordered_at: datetime, life: timedelta, now: datetime) -> datetime:
    """Until when a certificate that was ordered then is not due by its age: a clock that has jumped must not order for
    ever. A time to come is of such a clock, and says nothing.
    """
    return ordered_at + life / 4 if ordered_at <= now else now


def plausible(when: datetime | None, now: datetime, longest: timedelta) -> datetime | None:
    """A time to wait for, unless the clock must have been wrong when it was noted."""
    return when if when is not None and when - now <= longest else None


def retry_after(failures: int, told: timedelta | None, chance: random.Random) -> timedelta:
    """How long to wait after that many failures in a row: 1 minute, doubled each time, at most a day, with full jitter
    in its upper half; never less than the authority has told.
    """
    doubled = timedelta(minutes=1) * int(2 ** min(failures - 1, 11))
    backoff = min(doubled, LONGEST_BACKOFF)
    spread: timedelta = backoff * (0.5 + 0.5 * chance.random())
    return max(spread, told) if told is not None else spread


def alert(not_before: datetime, not_after: datetime, now: datetime) -> Alert:
    """How urgent it is, by the share of its life that is left: below a third a renewal should have succeeded."""
    if now >= not_after:
        return "critical"
    left = (not_after - now) / (not_after - not_before)
    if left < 0.1:
        return "critical"
    if left < 0.2:
        return "error"
    return "warning" if left < 0.3 else "none"
