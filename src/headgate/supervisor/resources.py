"""The resources that workers load with the file: in memory of the supervisor's, so that they outlive the agent."""

import itertools
import os

from headgate.control import memory

_NUMBERS = itertools.count(1)


class Held:
    """The resources of one state of the store, as JSON in memory; `number` tells them from all others."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.number = next(_NUMBERS)
        self.bytes = os.fstat(descriptor).st_size
        """What is behind them is not in force."""

    def add(self, difference: bytes) -> None:
        """Adds a line with what differs; this is another state."""
        os.lseek(self.descriptor, self.bytes, os.SEEK_SET)
        memory.append(self.descriptor, difference)
        self.bytes += len(difference)
        self.number = next(_NUMBERS)

    def close(self) -> None:
        """Frees the memory as soon as it has no readers."""
        os.close(self.descriptor)
