"""Burn rates: how much faster than allowed an objective's error budget is used up (Google, Site Reliability Workbook,
chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

STEPS = 60
"""How many parts a window is counted in: what leaves it leaves in parts of a sixtieth."""


class Table(Protocol):
    """A shared dictionary."""

    def get(self, key: str, default: int, /) -> int:
        """A count."""

    def incr(self, key: str, by: int, default: int, ttl: float, /) -> int:
        """Adds to a count."""


class Count(NamedTuple):
    """Requests of a window."""

    total: int
    bad: int

    def burn(self, budget: float) -> float:
        """How many times faster than allowed the budget is used; 1 uses it up at the end of the period."""
        return self.bad / self.total / budget if self.total else 0.0


def add(table: Table, windows: set[float], now: float, count: Count) -> None:
    """Counts requests in each window."""
    for window in windows:
        for name, number in (("t", count.total), ("b", count.bad)):
            if number:
                table.incr(f"{name}{window:g}:{_part(window, now)}", number, 0, window * 1.1)


def within(table: Table, window: float, now: float) -> Count:
    """What was counted in a window that ends now."""
    last = _part(window, now)
    parts = range(last - STEPS + 1, last + 1)
    total, bad = (sum(table.get(f"{name}{window:g}:{part}", 0) for part in parts) for name in "tb")
    return Count(total, bad)


def _part(window: float, now: float) -> int:
    return int(now / window * STEPS)
