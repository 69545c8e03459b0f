"""Decides from the results of checks whether a server is up. Pure: no clock, no I/O.

How it works: nothing is known at first, and the first result decides alone. From then on `fall` failures in a row take
a server out, and `rise` successes in a row bring it back. A server that falls again soon after it came back needs
twice as many successes each time, up to eight times `rise`, until it has stayed up for a while.
"""

from __future__ import annotations

from typing import Literal

State = Literal["unknown", "up", "down"]

STEADY_CHECKS = 20
"""A server that has passed so many checks since it came back is no longer taken to flap."""
MOST_DOUBLINGS = 3


class Judge:
    """One server's results, and what follows from them."""

    def __init__(self, rise: int, fall: int, state: State = "unknown") -> None:
        self._rise, self._fall = rise, fall
        self.state: State = state
        self._in_a_row = 0
        """Results in a row that speak against the state."""
        self._passed = STEADY_CHECKS
        """Checks since it came back."""
        self._doublings = 0

    @property
    def rise(self) -> int:
        """How many successes bring it back now."""
        return self._rise << self._doublings

    def came(self, is_well: bool) -> bool:
        """Takes a result; gives whether the state is another one now."""
        if self.state == "unknown":
            return self._becomes("up" if is_well else "down")
        if is_well == (self.state == "up"):
            self._in_a_row = 0
            self._passed += 1
            if is_well and self._passed >= STEADY_CHECKS:
                self._doublings = 0
            return False
        self._in_a_row += 1
        if self._in_a_row < (self.rise if is_well else self._fall):
            return False
        return self._becomes("up" if is_well else "down")

    def _becomes(self, state: State) -> bool:
        if state == "down" and self._passed < STEADY_CHECKS:
            self._doublings = min(self._doublings + 1, MOST_DOUBLINGS)
        if state == "up" and self.state == "down":
            self._passed = 0
        self.state, self._in_a_row = state, 0
        return True
