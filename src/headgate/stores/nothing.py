"""The store of a gateway that has none: nothing is ever in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta

from .base import Document, Entry, Health, Key, RegisteredNode, Revision, Snapshot, Transaction, Update
from .errors import StoreReadOnly


class NoStore:
    """See the module."""

    async def load(self) -> Snapshot:
        """See `Store`."""
        return Snapshot(Revision("", 0))

    async def watch(self, since: Revision | None = None) -> AsyncIterator[Update]:
        """See `Store`."""
        await asyncio.get_running_loop().create_future()
        yield await self.load()

    def foresee(self, transaction: Transaction) -> None:
        """See `Store`."""

    async def apply(self, transaction: Transaction) -> Revision:
        """See `Store`."""
        raise StoreReadOnly("the gateway has no store")

    async def finished(self) -> None:
        """See `Store`."""

    async def history(
        self, *, limit: int = 100, before: int | None = None, key: Key | None = None
    ) -> Sequence[Entry]:
        """See `Store`."""
        return ()

    async def at(self, number: int) -> Snapshot:
        """See `Store`."""
        raise LookupError(number)

    async def compact(self, *, keep: int | None = None, older_than: timedelta | None = None) -> int:
        """See `Store`."""
        return 0

    def announce(self, node: str, facts: Document, *, ttl_s: float = 15) -> AbstractAsyncContextManager[None]:
        """See `Store`."""
        return nullcontext()

    async def nodes(self) -> Sequence[RegisteredNode]:
        """See `Store`."""
        return ()

    @property
    def health(self) -> Health:
        """See `Store`."""
        return Health(is_connected=True)

    async def close(self) -> None:
        """See `Store`."""

    async def __aenter__(self) -> NoStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
