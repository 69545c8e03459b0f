"""What the workers of one node agree on, in a shared dictionary of the gateway's own.

How it works: who leads is who holds the lock `leader`. It has no time limit: it is free when its holder dies or gives
it back, and a holder gives it back as soon as it begins to stop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headgate.shared import open_shared

from .locks import Locks

if TYPE_CHECKING:
    from headgate.shared import Shared

NAME = "_headgate"
BYTES = 4 << 20  # about 30,000 locks at a time
LOOK_AGAIN_S = 0.5


class Node:
    """The shared memory of the gateway itself, opened when it is first needed."""

    def __init__(self) -> None:
        self.locks = Locks(self)
        self._memory: Shared | None = None
        self._leads = False
        self._resigned = False
        self._looked_at = 0.0

    @property
    def memory(self) -> Shared:
        """The dictionary that holds locks and what timers know of each other."""
        if self._memory is None:
            self._memory = open_shared(NAME, BYTES, self.locks)
        return self._memory

    @property
    def is_leader(self) -> bool:
        """Whether this worker is the leader of its node; it becomes the leader if there is none."""
        if self._leads or self._resigned:
            return self._leads
        now = time.monotonic()
        if now - self._looked_at >= LOOK_AGAIN_S or not self._looked_at:
            self._looked_at = now
            self._leads = self.memory._acquire("leader", 0)
        return self._leads

    def join(self) -> None:
        """May lead again: a test begins anew with the same gateway."""
        self._resigned, self._looked_at = False, 0.0

    def resign(self) -> None:
        """Gives up the lead for good: this worker begins to stop."""
        self._resigned = True
        if self._leads:
            self._leads = False
            self.memory._release("leader", 0)

    def seconds_until_due(self, timer: str, every: float, now: float) -> float:
        """How long until a timer of the node is due, whoever ran it last; not above 0: it is.

        `now` is the loop's time, which is the same in all processes of a machine.
        """
        key = f"timer/{timer}"
        last = self.memory.get(key)
        if last is None or last > now:  # never, or by the clock of another test
            self.memory.set(key, now)
            return every
        return float(last) + every - now

    def ran(self, timer: str, now: float) -> None:
        """Notes that a timer of the node runs now."""
        self.memory.set(f"timer/{timer}", now)
