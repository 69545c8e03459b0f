"""The keys of TLS session tickets: made here, the same for all workers, replaced from time to time.

A client may come back to any worker, also after a reload; its ticket is of use to it as long as the key it was
made with is among these. The newest encrypts; the older ones only decrypt. No key is ever written to a file.
"""

import os
from collections.abc import Callable

from headgate.process.reactor import Reactor

KEY_BYTES = 48  # the engine's: 16 of name, 32 of secret
KEPT = 3
ROTATE_S = 6 * 3600.0
"""A ticket lives 12 hours, so that its key is there as long as it."""


class TicketKeys:
    """Makes the keys, and calls `changed` with all of them after each rotation."""

    def __init__(self, reactor: Reactor, changed: Callable[[list[str]], None]) -> None:
        self._reactor, self._changed = reactor, changed
        self._keys = [os.urandom(KEY_BYTES)]
        self._again()

    def told(self) -> list[str]:
        """The keys in hex, the newest first."""
        return [key.hex() for key in self._keys]

    def rotate(self) -> None:
        """Puts a new key before the others and forgets the oldest."""
        self._keys = [os.urandom(KEY_BYTES), *self._keys][:KEPT]
        self._changed(self.told())

    def _again(self) -> None:
        def turn() -> None:
            self.rotate()
            self._again()

        self._reactor.call_later(ROTATE_S, turn)
