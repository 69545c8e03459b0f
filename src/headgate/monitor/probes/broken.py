"""The check that cannot be made, because a file or a library for it is missing: it fails, and says why."""

from __future__ import annotations

import asyncio

from headgate.monitor.checker import Done


class BrokenProbe:
    """Fails with one reason."""

    def __init__(self, failure: str) -> None:
        self._failure = failure

    def begin(self, done: Done) -> None:
        """See `Probe`."""
        asyncio.get_running_loop().call_soon(done, self._failure)

    def cancel(self) -> None:
        """See `Probe`."""

    def close(self) -> None:
        """See `Probe`."""
