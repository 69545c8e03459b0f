"""Configuration in an SQLite file: the embedded store, for one node with an Admin API.

How it works: one connection in one thread of its own. Every transaction begins IMMEDIATE, so a second process (the
command line beside the agent) waits for its turn instead of failing in the middle. `resources` is the present,
`changes` the way back from it. Own writes wake the watch at once; those of other processes are noticed by events of
the WAL file, and by `PRAGMA data_version` at the latest.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from headgate.stores import sqlite_tables as tables
from headgate.stores.base import (
    Changes,
    Document,
    Entry,
    Key,
    RegisteredNode,
    Revision,
    Snapshot,
    Timing,
    Transaction,
)
from headgate.stores.errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from headgate.stores.inotify import FolderEvents
from headgate.stores.places import Signature, path_of, refuse_network, signature_of
from headgate.stores.planning import changes_by
from headgate.stores.watching import WatchedStore, announced

T = TypeVar("T")

OTHERS_POLL_S = 0.5


class SqliteStore(WatchedStore):
    """See the module; `sqlite:///absolute/path` or `sqlite:relative`."""

    def __init__(self, url: str, path: Path, timing: Timing) -> None:
        super().__init__(url, timing)
        self.path = path
        self._thread = ThreadPoolExecutor(1, "headgate-sqlite")
        self._connection: sqlite3.Connection | None = None
        self._is_read_only = False
        self._journal = path.with_name(f"{path.name}-wal")
        self._written: Signature | None = None
        """How the WAL file was after the last write from here: events of that are no news. What another process has
        written in the very same moment is noticed by `PRAGMA data_version`."""
        self._events: FolderEvents | None = None
        self._poller: asyncio.Task[None] | None = None

    @classmethod
    def of_url(cls, url: str, timing: Timing) -> "SqliteStore":
        """The store of a URL; raises `ValueError`."""
        path = path_of(url)
        if not path or path.endswith("/"):
            raise ValueError(f"`{url}` is not a valid store\n  hint: sqlite:///var/lib/headgate/config.db")
        return cls(url, Path(path), timing)

    async def load(self) -> Snapshot:
        """See `Store`."""
        return await self._run(tables.snapshot)

    async def changes_since(self, position: Revision) -> Changes | None:
        """See `WatchedStore`."""
        return await self._run(lambda connection: tables.changes_since(connection, position))

    async def apply(self, transaction: Transaction) -> Revision:
        """See `Store`."""
        if self._events is not None:
            self._events.pause()
        try:
            revision, before, steps = await self._run(
                lambda connection: tables.apply(connection, transaction), writes=True
            )
        except BaseException:
            self.wake()
            raise
        if steps:
            self.made(before, changes_by(revision, steps))
        return revision

    async def history(
        self, *, limit: int = 100, before: int | None = None, key: Key | None = None
    ) -> Sequence[Entry]:
        """See `Store`."""
        return await self._run(lambda connection: tables.history(connection, limit, before, key))

    async def at(self, number: int) -> Snapshot:
        """See `Store`."""
        return await self._run(lambda connection: tables.at(connection, number))

    async def compact(self, *, keep: int | None = None, older_than: timedelta | None = None) -> int:
        """See `Store`."""
        return await self._run(lambda connection: tables.compact(connection, keep, older_than), writes=True)

    @contextlib.asynccontextmanager
    async def announce(self, node: str, facts: Document, *, ttl_s: float = 15) -> AsyncIterator[None]:
        """See `Store`."""

        async def say() -> None:
            await self._run(lambda to: tables.announce(to, node, facts, ttl_s), writes=True)

        async def withdraw() -> None:
            await self._run(lambda to: tables.withdraw(to, node), writes=True)

        async with announced(say, withdraw, ttl_s):
            yield

    async def nodes(self) -> Sequence[RegisteredNode]:
        """See `Store`."""
        return await self._run(tables.nodes)

    async def listen(self) -> None:
        """See `WatchedStore`."""
        if self._poller is None:
            await self._run(lambda connection: None)
            self._events = FolderEvents(self._on_events)
            self._events.watch([self.path.parent])
            self._poller = asyncio.create_task(self._poll())

    def _on_events(self, paths: set[Path] | None) -> None:
        """Wakes the watch for the store's own files: others may lie in the same folder, and be written as often."""
        if paths is None or any(path.name.startswith(self.path.name) for path in paths):
            signature = signature_of(self._journal)
            if signature is None or signature != self._written:
                self.wake()

    async def _poll(self) -> None:
        """Wakes the watch when another connection has written, also where the kernel gave no event."""
        known = None
        while True:
            await asyncio.sleep(min(OTHERS_POLL_S, self.timing.poll_s))
            with contextlib.suppress(StoreError):
                version = await self._run(tables.data_version)
                if version != known:
                    self.wake()
                known = version

    async def close(self) -> None:
        """See `Store`."""
        await super().close()
        if self._poller is not None:
            self._poller.cancel()
        if self._events is not None:
            self._events.close()
        with contextlib.suppress(RuntimeError):  # closed already
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """Runs a call within one transaction, in the thread."""

        def run() -> T:
            try:
                with tables.transaction(self._connected(), writes=writes) as connection:
                    result = call(connection)
            except sqlite3.Error as error:
                self._disconnect()
                raise _failure(error, self.path) from None
            if writes:
                self._written = signature_of(self._journal)
            return result

        if self.is_closed:
            raise StoreUnavailable("the store was closed")
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except (StoreUnavailable, StoreCorrupt) as error:
            self.is_ill(error)
            raise
        self.is_well()
        return result

    def _connected(self) -> sqlite3.Connection:
        is_read_only = tables.is_read_only(self.path.parent)
        if is_read_only != self._is_read_only:
            self._disconnect()
        if self._connection is None:
            refuse_network(self.path.parent)
            connect = tables.connect_read_only if is_read_only else tables.connect
            self._connection = connect(self.path, self.timing.response_s)
            self._is_read_only = is_read_only
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _failure(error: sqlite3.Error, path: Path) -> StoreError:
    """What SQLite's error means for the caller."""
    code: Any = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreReadOnly(f"`{path}`: {error}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH):
        return StoreCorrupt(f"`{path}`: {error}")
    hint = ""
    if code == sqlite3.SQLITE_CANTOPEN and not os.access(path.parent, os.W_OK):
        hint = "\n  hint: its folder cannot be written to by this user, which SQLite needs to read it as well"
    return StoreUnavailable(f"`{path}`: {error}{hint}")
