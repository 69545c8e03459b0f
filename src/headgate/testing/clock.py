"""A loop whose clock a test can put forward."""

from __future__ import annotations

from headgate.worker.loop import Loop


class TestLoop(Loop):
    """asyncio's time runs as always, plus what the test has added."""

    __test__ = False

    def __init__(self) -> None:
        self._ahead_s = 0.0
        super().__init__()

    def time(self) -> float:
        """Seconds, monotonic."""
        return super().time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Puts the clock forward: timers that are due by then fire in the next turn."""
        self._ahead_s += seconds
