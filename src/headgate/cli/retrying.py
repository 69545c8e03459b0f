"""When a request that was refused for now is made again: as its response tells (RFC 9110 section 10.2.3)."""

from __future__ import annotations

import time
from collections.abc import Mapping

from headgate import _retry_after

RETRY_LIMIT_S = 10.0
"""Of all waits of one request together: a reload has replaced the agent by then, a store that is away may take long."""
LEAST_WAIT_S = 0.05
UNAVAILABLE = 503


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the next try; `now` as of the epoch. None: nothing is told, or nothing that can be read."""
    seconds = _retry_after.retry_after_s(headers.get("retry-after", ""), now)
    return None if seconds is None else max(seconds, LEAST_WAIT_S)


class Patience:
    """What is left of the time for one request."""

    def __init__(self) -> None:
        self._until = time.monotonic() + RETRY_LIMIT_S

    def waits(self, status: int, headers: Mapping[str, str]) -> bool:
        """Waits as a response tells; False where there is nothing to wait for, or it would take too long."""
        wait_s = retry_after_s(headers, time.time()) if status == UNAVAILABLE else None
        if wait_s is None or time.monotonic() + wait_s > self._until:
            return False
        time.sleep(wait_s)
        return True
