"""The shared memory of one gateway: which worker uses which slot of it.

A worker adds to the cells of its own slot only. When it has exited its slot is cleared, so its share of every
sum (open connections to a server, say) vanishes with it. Draining workers of older generations keep their
slots, so there are several slots for each place a worker may have.
"""

import os
from collections.abc import Iterable
from typing import Any, cast

from headgate import _core
from headgate.control import commands

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

    def set_server_state(self, upstream: str, server: str, admin: commands.AdminState) -> None:
        """What an operator wants of a server: all workers act on it, and those to come."""
        _core.set_server_state(self.descriptor, upstream, server, admin=admin)

    def server_states(self) -> list[commands.ServerStatus]:
        """The servers of which something is said that is not as by default."""
        return [commands.ServerStatus(**state) for state in _core.server_states(self.descriptor)]

    def forget_checks(self, servers: Iterable[tuple[str, str]]) -> None:
        """What active checks have said of these servers, by upstream and address, is no longer believed."""
        for upstream, server in servers:
            _core.set_server_state(self.descriptor, upstream, server, check="unknown", weight=100)

    def states_for_successor(self) -> list[dict[str, Any]]:
        """The same for a successor, as many as go into one datagram; ejections are found out anew."""
        servers = (one for one in self.server_states() if not one.is_circuit)
        said = (one.plain() for one in servers if not one.ejected_ms or one.admin != "ready")
        return list(said)[:400]

    def restore(self, states: list[dict[str, Any]]) -> None:
        """What a predecessor said of servers."""
        for one in (commands.ServerStatus(**state) for state in states):
            _core.set_server_state(
                self.descriptor,
                one.upstream,
                one.server,
                check=cast(Any, one.check),
                admin=cast(Any, one.admin),
                weight=one.weight,
            )
