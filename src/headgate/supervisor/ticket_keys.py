"""The keys of TLS session tickets: made here, the same for all workers, replaced from time to time.

A client may come back to any worker, also after a reload or an upgrade; its ticket is of use to it as long as the key
it was made with is among these. The newest encrypts; the older ones only decrypt. No key is ever written to a file or
an environment: a successor gets them over the line that it talks to its predecessor on.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from headgate.control.reactor import Reactor

KEY_BYTES = 48  # the engine's: 16 of name, 32 of secret
SECRET_BYTES = 32
KEPT = 3
ROTATE_S = 6 * 3600.0
"""A ticket is valid for 12 hours, and its key is kept as long."""


class TicketKeys:
    """Creates the keys, or continues with those of a predecessor (what its `for_successor` gave).

    Calls `changed` with all of them after each rotation.
    """

    def __init__(
        self,
        reactor: Reactor,
        changed: Callable[[list[str]], None],
        inherited: dict[str, Any] | None = None,
    ) -> None:
        self._reactor, self._changed = reactor, changed
        self._keys, wait_s = [os.urandom(KEY_BYTES)], ROTATE_S
        self.http3_secret = os.urandom(SECRET_BYTES)
        """What workers issue ids, resets and tokens of HTTP/3 with; it does not change, so that each can read all."""
        if inherited:
            self._keys = [bytes.fromhex(key) for key in inherited["keys"]]
            if secret := inherited.get("http3_secret"):
                self.http3_secret = bytes.fromhex(secret)
            wait_s = min(max(inherited["rotate_in_s"], 0.0), ROTATE_S)
        self._again(wait_s)

    def in_hex(self) -> list[str]:
        """The keys in hex, the newest first."""
        return [key.hex() for key in self._keys]

    def for_successor(self) -> dict[str, Any]:
        """The state for a successor: the keys, and the time until the next rotation."""
        return {
            "keys": self.in_hex(),
            "rotate_in_s": self._due - time.monotonic(),
            "http3_secret": self.http3_secret.hex(),
        }

    def rotate(self) -> None:
        """Puts a new key before the others and forgets the oldest."""
        self._keys = [os.urandom(KEY_BYTES), *self._keys][:KEPT]
        self._changed(self.in_hex())

    def _again(self, wait_s: float = ROTATE_S) -> None:
        def turn() -> None:
            self.rotate()
            self._again()

        self._due = time.monotonic() + wait_s
        self._reactor.call_later(wait_s, turn)
