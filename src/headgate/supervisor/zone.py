"""The shared memory of one gateway: which worker uses which slot of it.

A worker adds to the cells of its own slot only. When it has exited its slot is cleared, so its share of every
sum (open connections to a server, say) vanishes with it. Draining workers of older generations keep their
slots, so there are several slots for each place a worker may have.
"""

import os

from headgate import _core

CELLS = _core.ZONE_CELLS
SLOTS_PER_WORKER = 8
SPARE_SLOTS = 4


class ZoneSlots:
    """Creates the memory and hands out its slots."""

    def __init__(self, workers: int) -> None:
        self.size = workers * SLOTS_PER_WORKER + SPARE_SLOTS
        # the last one is nobody's: it holds what workers that have ended had counted
        self.descriptor = _core.create_zone(self.size + 1, CELLS)
        os.set_inheritable(self.descriptor, False)  # workers get it over their channel
        self._free = set(range(self.size))

    def take(self) -> int | None:
        """A free slot, or None: too many old workers are still draining, and the new one counts for
        itself."""
        if not self._free:
            return None
        slot = min(self._free)
        self._free.remove(slot)
        return slot

    def clear(self, slot: int) -> None:
        """The slot's worker has exited: its gauges go back to 0, its counters are kept here."""
        _core.retire_slot(self.descriptor, slot, self.size)
        self._free.add(slot)

    def counters(self) -> dict[str, int]:
        """The named counters, summed over all workers of this supervisor, past ones included."""
        return _core.zone_stats(self.descriptor)
