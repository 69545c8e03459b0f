"""The lease by which one of several nodes orders.

How it works: a document in the store names the owner, who writes it anew (a beat) each third of its lease. Each step is
one transaction that happens only if the document is still the one that was read. A node that has seen the same beat for
a whole lease, by its own clock that cannot be set, takes it; the former owner then fails at its next write, since every
write of what was ordered is on the same condition.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from headgate.stores import Key, Resource, Store, StoreConflict, StoreError, Transaction, Write

log = logging.getLogger("headgate.acme")


class LeaseLost(Exception):
    """Another node orders now."""


class Lease:
    """One lease of one node; `owner` is a name that no other has."""

    def __init__(self, store: Store, name: str, owner: str, length_s: float) -> None:
        self.key = Key("locks", name)
        self._store, self._owner, self._length_s = store, owner, length_s
        self._revision: int | None = None
        self._beats = 0
        self._renewed_at = 0.0
        self._seen: tuple[int, float] | None = None
        """The beat of somebody else that was seen last, and when first."""
        self._turn = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None

    async def take(self, current: Resource | None) -> bool:
        """Whether it is ours now; `current` is what the store holds. Raises `StoreError`."""
        if (
            current is not None
            and current.document.get("owner") != self._owner
            and not self._is_over(current)
        ):
            return False
        try:
            await self._write((), current.revision if current else None)
        except StoreConflict:
            return False
        self._seen = None
        self._beating = asyncio.create_task(self._beat())
        return True

    def _is_over(self, current: Resource) -> bool:
        now = asyncio.get_running_loop().time()
        if self._seen is None or self._seen[0] != current.revision:
            self._seen = (current.revision, now)
        return now - self._seen[1] >= self._length_s

    async def write(self, *writes: Write) -> int:
        """Writes if the lease is still ours; gives the revision. Raises `LeaseLost` and `StoreError`."""
        async with self._turn:
            if self._revision is None:
                raise LeaseLost("another node orders now")
            try:
                return await self._write(writes, self._revision)
            except StoreConflict:
                return await self._again(writes)

    async def _again(self, writes: tuple[Write, ...]) -> int:
        """Writes once more, where only the response to a write of ours was lost."""
        current = (await self._store.load()).resources.get(self.key)
        try:
            if current is not None and current.document.get("owner") == self._owner:
                return await self._write(writes, current.revision)
        except StoreConflict:
            pass
        self._revision = None
        raise LeaseLost("another node orders now")

    async def _write(self, writes: tuple[Write, ...], expected: int | None) -> int:
        self._beats += 1
        beat = Write(self.key, {"owner": self._owner, "beat": self._beats})
        transaction = Transaction((*writes, beat), author=self._owner, expected={self.key: expected})
        self._revision = (await self._store.apply(transaction)).number
        self._renewed_at = asyncio.get_running_loop().time()
        return self._revision

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._length_s / 3)
            try:
                await self.write()
            except LeaseLost:
                log.error(
                    "another node has taken the lease `%s`: what is ordered here is not kept", self.key.name
                )
                return
            except StoreError as error:
                log.warning("the lease `%s` cannot be renewed: %s", self.key.name, error)

    async def release(self) -> None:
        """Gives it back at once; whoever dies instead loses it after its length. Raises nothing."""
        if self._beating:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        async with self._turn:
            revision, self._revision = self._revision, None
            if revision is not None:
                expected: Mapping[Key, Any] = {self.key: revision}
                with contextlib.suppress(StoreError):
                    await self._store.apply(Transaction((Write(self.key, None),), expected=expected))
