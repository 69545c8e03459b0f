"""The event loop of the supervisor, and of workers without Python code: descriptors and timers, nothing else.

asyncio would do it too, but importing it costs 40 ms, and they do nothing that needs tasks.
"""

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Protocol


class HasDescriptor(Protocol):
    """Anything with a file descriptor."""

    def fileno(self) -> int:
        """Its number."""


Watched = int | HasDescriptor
Callback = Callable[[], None]


class TimerHandle:
    """A call to come; `cancel` makes it never happen."""

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Forgets the call."""
        self.callback = None


class Reactor:
    """Calls back when descriptors are readable and when timers are due, until stopped."""

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._selector = selector or selectors.DefaultSelector()
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._order = itertools.count()
        self._running = True

    def watch(self, what: Watched, callback: Callback) -> None:
        """Calls `callback` whenever `what` is readable."""
        self._selector.register(what, selectors.EVENT_READ, callback)

    def unwatch(self, what: Watched) -> None:
        """Stops watching; no matter if it was not watched."""
        try:
            self._selector.unregister(what)
        except (KeyError, ValueError):
            pass

    def call_later(self, delay_s: float, callback: Callback) -> TimerHandle:
        """Calls `callback` once, `delay_s` seconds from now."""
        timer = TimerHandle(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Serves callbacks until `stop`."""
        while self._running:
            for key, _ in self._selector.select(self._due_timers_timeout()):
                if self._selector.get_map().get(key.fd) is key:  # an earlier callback may have unwatched it
                    key.data()
        self._selector.close()

    def stop(self) -> None:
        """Lets `run` return after the callback that runs now."""
        self._running = False

    def _due_timers_timeout(self) -> float | None:
        while self._timers and self._running:
            due, _, timer = self._timers[0]
            if timer.callback is None:
                heapq.heappop(self._timers)
            elif (wait := due - time.monotonic()) > 0:
                return wait
            else:
                heapq.heappop(self._timers)
                timer.callback()
        return None if self._running else 0
