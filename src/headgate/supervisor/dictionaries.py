"""The memory of users' shared dictionaries: held here, so that it outlives workers, reloads and upgrades.

A worker asks for each dictionary while it loads. Which of them are kept is decided when a generation is promoted: those
it asked for. One of another size is another dictionary, and begins empty.
"""

import logging
import os
from collections.abc import Iterable

from headgate import _core

Key = tuple[str, int]
"""Name and size in bytes."""

log = logging.getLogger("headgate.supervisor")


class Dictionaries:
    """The descriptors, by name and size."""

    def __init__(self) -> None:
        self._known: dict[Key, int] = {}

    def lend(self, key: Key) -> int:
        """The descriptor of a dictionary, which stays ours; made if there is none. ValueError for a bad size."""
        if key not in self._known:
            name, size = key
            if any(other == name for other, _ in self._known):
                log.warning("shared dictionary has a new size and starts empty", extra={"dictionary": name})
            descriptor = _core.create_dictionary(size)
            os.set_inheritable(descriptor, False)  # workers get it over their channel
            self._known[key] = descriptor
        return self._known[key]

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Lets go of all others; workers that still drain keep theirs."""
        kept = set(keys)
        for key in [known for known in self._known if known not in kept]:
            os.close(self._known.pop(key))

    def descriptors(self) -> list[tuple[str, int, int]]:
        """Name, size and descriptor of each, for a successor."""
        return [(name, size, descriptor) for (name, size), descriptor in self._known.items()]

    def inherit(self, descriptors: Iterable[tuple[str, int, int]]) -> None:
        """Takes over a predecessor's; one that this program cannot read begins empty."""
        for name, size, descriptor in descriptors:
            try:
                _core.Dictionary(descriptor)
            except ValueError as error:
                log.warning("shared dictionary starts empty: %s", error, extra={"dictionary": name})
                os.close(descriptor)
                continue
            os.set_inheritable(descriptor, False)
            self._known[name, size] = descriptor
