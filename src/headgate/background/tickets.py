"""The queue for a lock among the workers of a node: tickets, served by number.

How it works: one number in shared memory counts, in its upper half, the tickets that were issued, in its lower half
those that were served; it is there only while somebody waits. Who waits holds an entry for the own ticket and renews it
at each look. The first in the queue takes the lock. If its entry is free, because its worker died, hangs, or gave up
waiting, whoever looks next passes it over. A worker that finds its own ticket gone takes a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate.shared import Shared

ISSUED = 1 << 32
RENEW_WITHIN_S = 1.0
FORGET_AFTER_S = 60.0


class Ticket:
    """A place in the queue for the lock `name`."""

    def __init__(self, memory: Shared, name: str, holder: int) -> None:
        self._memory, self._queue, self._holder = memory, f"queue/{name}", holder
        self._name = name
        self._number: int | None = None

    @staticmethod
    def is_queue_empty(memory: Shared, name: str) -> bool:
        """Whether the lock has no waiters."""
        return f"queue/{name}" not in memory

    def look(self, take: Callable[[], bool]) -> bool:
        """Calls `take` if it is this one's turn; says whether that was so and it gave true."""
        if self._number is None or not self._hold(self._number):
            self._number = self._memory.incr(self._queue, ISSUED, ttl=FORGET_AFTER_S) // ISSUED
            self._hold(self._number)
        self._memory.expire(self._queue, FORGET_AFTER_S)
        issued, served = divmod(self._memory.get(self._queue, 0), ISSUED)
        if not served < self._number <= issued:  # it was passed over, or the queue forgotten
            self.give_up()
        elif served + 1 < self._number:
            self._pass_over(served + 1)
        elif take():
            self._serve(self._number)
            return True
        return False

    def give_up(self) -> None:
        """Leaves the queue; no matter if it was left before."""
        if self._number is not None:
            self._memory._release(self._entry(self._number), self._holder)
            self._number = None

    def _pass_over(self, first: int) -> None:
        if self._hold(first):  # no waiters
            if self._memory.get(self._queue, 0) % ISSUED + 1 == first:
                self._memory.incr(self._queue, 1)
            self._memory._release(self._entry(first), self._holder)

    def _serve(self, number: int) -> None:
        issued, served = divmod(self._memory.incr(self._queue, 1), ISSUED)
        self.give_up()
        if issued == served:
            self._memory.delete(self._queue)  # a ticket issued right now is taken anew

    def _hold(self, number: int) -> bool:
        return self._memory._acquire(self._entry(number), self._holder, RENEW_WITHIN_S)

    def _entry(self, number: int) -> str:
        return f"ticket/{number}/{self._name}"
