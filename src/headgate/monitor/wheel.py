"""Timers of many checks, in steps: what is due in the same step is done in one turn of the loop.

A timer of the loop for each check, and a turn of the loop for each of those, would cost more than the check.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

STEP_S = 0.025


class WheelTimer:
    """One thing that is due once; it may be set again and again."""

    __slots__ = ("_callback", "_slot", "_wheel")

    def __init__(self, wheel: Wheel, callback: Callable[[], None]) -> None:
        self._wheel, self._callback = wheel, callback
        self._slot = 0

    @property
    def is_set(self) -> bool:
        """Whether it is to come."""
        return self._slot > 0

    def set(self, at_s: float) -> None:
        """Is due at that time of the loop, in place of the one before; at most a step later."""
        self.cancel()
        self._slot = self._wheel.add(self, at_s)

    def cancel(self) -> None:
        """Is no longer due."""
        if self._slot:
            self._wheel.remove(self, self._slot)
            self._slot = 0

    def fire(self) -> None:
        """It is due."""
        self._slot = 0
        self._callback()


class Wheel:
    """The timers by the step in which they are due."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: dict[int, dict[WheelTimer, None]] = {}
        self._current = 0
        """The step that was done last."""
        self._handle: asyncio.TimerHandle | None = None
        self.late_s = 0.0
        """By how much the turn that is under way is late, because this process did not run."""

    def now(self) -> float:
        """The time of the loop."""
        return self._loop.time()

    def add(self, timer: WheelTimer, at_s: float) -> int:
        """Notes a timer; gives its step."""
        if self._handle is None:
            self._current = int(self._loop.time() / STEP_S)
            self._turn_later()
        slot = max(math.ceil(at_s / STEP_S), self._current + 1)
        self._slots.setdefault(slot, {})[timer] = None
        return slot

    def remove(self, timer: WheelTimer, slot: int) -> None:
        """Forgets a timer."""
        if timers := self._slots.get(slot):
            timers.pop(timer, None)

    def _turn_later(self) -> None:
        self._handle = self._loop.call_at((self._current + 1) * STEP_S, self._turn)

    def _turn(self) -> None:
        now = self._loop.time()
        self.late_s = now - (self._current + 1) * STEP_S
        reached = max(int(now / STEP_S), self._current + 1)
        while self._current < reached:
            self._current += 1
            timers = self._slots.get(self._current, {})
            while timers:
                timers.popitem()[0].fire()
            self._slots.pop(self._current, None)
        if self._slots:
            self._turn_later()
        else:
            self._handle = None
