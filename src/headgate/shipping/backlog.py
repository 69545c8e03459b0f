"""Lines that wait for their target: bounded by number and bytes, given away in batches by size and age."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice


class Backlog:
    """Lines stay in it until they are sent, so that what is bounded includes the batch that is on its way."""

    def __init__(self, *, most: int, most_bytes: int, batch: int, batch_bytes: int, flush_s: float) -> None:
        self._most, self._most_bytes, self._flush_s = most, most_bytes, flush_s
        self._batch, self._batch_bytes = min(batch, most), min(batch_bytes, most_bytes)
        self._lines: deque[bytes] = deque()
        self.bytes = 0
        self._arrived, self._filled = asyncio.Event(), asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, line: bytes) -> bool:
        """Adds a line; false where there is no room for it."""
        size = self.bytes + len(line)
        if len(self._lines) >= self._most or size > self._most_bytes:
            self._filled.set()
            return False
        self._lines.append(line)
        self.bytes = size
        if len(self._lines) == 1:
            self._arrived.set()
        if len(self._lines) >= self._batch or size >= self._batch_bytes:
            self._filled.set()
        return True

    def close(self) -> None:
        """What is there is due at once."""
        self._is_closed = True
        self._arrived.set()
        self._filled.set()

    async def is_due(self) -> bool:
        """Waits until a batch is full or its first line old enough; false once it is closed and empty."""
        await self._arrived.wait()
        if self._lines and not self._is_closed:
            try:
                async with asyncio.timeout(self._flush_s):
                    await self._filled.wait()
            except TimeoutError:
                pass
        return bool(self._lines)

    def batch(self, most: int) -> list[bytes]:
        """The next lines to send, one at least, which stay in it."""
        taken: list[bytes] = []
        size = 0
        for line in islice(self._lines, min(most, self._batch)):
            size += len(line)
            if taken and size > self._batch_bytes:
                break
            taken.append(line)
        return taken

    def remove(self, count: int) -> None:
        """The first `count` lines are done with."""
        for _ in range(count):
            self.bytes -= len(self._lines.popleft())
        if self._is_closed:
            return
        if not self._lines:
            self._arrived.clear()
        if len(self._lines) < self._batch and self.bytes < self._batch_bytes:
            self._filled.clear()
