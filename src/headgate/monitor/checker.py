"""Checks one server again and again, and says when its state changes.

How it works: one timer: for the next check while none is under way, else for the time limit of the one that is. What
is cut short because the server is not checked any more is no result.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Protocol

from headgate.monitor.judge import Judge
from headgate.monitor.target import Target
from headgate.monitor.wheel import Wheel, WheelTimer

log = logging.getLogger("headgate.monitor")

LOGGED: set[str] = set()
"""What was said of checks that could not be made, once for each reason."""

JITTER = 0.1
"""By so much of it, an interval varies."""
FIRST_WITHIN_S = 1.0
"""All first checks are made in this time, or in one interval if that is shorter."""

MOST_LATE_S = 0.1
"""If this process is later than that, a check gets more time, once."""


class NoResult(str):
    """Why a check could not be made, which says nothing of the server."""

    __slots__ = ()


class Done(Protocol):
    """Hears how a check went."""

    def __call__(self, failure: str | None, weight: int | None = None, /) -> None:
        """Why it failed, if it did; a `NoResult` counts for nothing. `weight` is the percentage of its weight that the
        server wants, if it has said one.
        """


class Probe(Protocol):
    """Makes the checks of one server, one at a time."""

    def begin(self, done: Done) -> None:
        """Begins a check; `done` is called once, later, unless it is cancelled."""

    def cancel(self) -> None:
        """Ends the check that is under way, and forgets it."""

    def close(self) -> None:
        """Lets go of what is kept between checks."""


class Checker:
    """The checks of one server; `told` hears of each result, with whether the state is another one."""

    def __init__(
        self,
        target: Target,
        probe: Probe,
        judge: Judge,
        wheel: Wheel,
        told: Callable[[Checker, str | None, bool], None],
    ) -> None:
        self.target, self.judge = target, judge
        check = target.check
        self._probe, self._told = probe, told
        self._interval_s, self._timeout_s = check["interval"] / 1000, check["timeout"] / 1000
        self._wheel, self._timer = wheel, WheelTimer(wheel, self._on_time)
        self.weight: int | None = None
        """The percentage of its weight that the server wants, if it has ever said one."""
        self._is_under_way = self._is_lenient = self._is_stopped = False
        self._due = 0.0

    def begin(self) -> None:
        """Makes the first check soon."""
        self._due = self._wheel.now() + random.uniform(0, min(self._interval_s, FIRST_WITHIN_S))
        self._timer.set(self._due)

    def stop(self) -> None:
        """Makes no check any more."""
        self._is_stopped = True
        self._timer.cancel()
        self._probe.cancel()
        self._probe.close()

    def _on_time(self) -> None:
        if self._is_under_way and self._wheel.late_s > MOST_LATE_S and not self._is_lenient:
            # this process did not run: what has come meanwhile is yet to be read
            self._is_lenient = True
            self._timer.set(self._wheel.now() + min(self._wheel.late_s, self._timeout_s))
            return
        if self._is_under_way:
            self._probe.cancel()
            self._done(f"no result within {self._timeout_s:g} s")
            return
        self._is_under_way, self._is_lenient = True, False
        self._timer.set(self._wheel.now() + self._timeout_s)
        self._probe.begin(self._done)

    def _done(self, failure: str | None, weight: int | None = None, /) -> None:
        if self._is_stopped or not self._is_under_way:
            return
        if weight is not None:
            self.weight = weight
        self._is_under_way = False
        # from the moment that was planned, not from the end of the check: the rate is as configured
        self._due += self._interval_s * random.uniform(1 - JITTER, 1 + JITTER)
        now = self._wheel.now()
        if self._due < now:
            self._due = now + self._interval_s * JITTER
        self._timer.set(self._due)
        if not isinstance(failure, NoResult):
            self._told(self, failure, self.judge.came(failure is None))
        elif failure not in LOGGED:
            LOGGED.add(failure)
            log.error("servers cannot be checked: %s", failure)
