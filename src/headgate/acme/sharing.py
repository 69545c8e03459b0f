"""A folder whose content several nodes share by a store: one orders, every one proves and serves.

How it works: what is written to the folder is written, sealed, to the store first. Each node follows the store and
writes what changes there into its own folder, where its workers look. The one that orders holds a lease; after it has
shown a challenge it waits until every other node has it too, since the authority may come to any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from headgate.stores import (
    Change,
    Changes,
    Document,
    Key,
    Snapshot,
    Store,
    StoreError,
    Transaction,
    Update,
    Write,
)

from .lease import Lease, LeaseLost
from .mirror import SHARED, Mirror, key_of
from .sealing import Seal
from .storage import Storage, StorageError

LEASE_S = 15.0
STORE_LIMIT_S = 30.0
"""The longest that one write may take."""
NODES_LIMIT_S = 10.0
"""The longest that other nodes are waited for; one that has died is not counted any more by then."""
KEPT_REVISIONS = 200

log = logging.getLogger("headgate.acme")


class SharedStorage(Storage):
    """See the module. To be used inside `following`."""

    def __init__(self, folder: Path, store: Store, seal: Seal, *, lease_s: float = LEASE_S) -> None:
        super().__init__(folder)
        self.retry_s = lease_s / 3
        self._store, self._seal, self._lease_s = store, seal, lease_s
        self.node = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._mirror = Mirror(seal, lambda path, content: Storage._put(self, path, content), self._unlink)
        self._leases: dict[str, Lease] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._lease: ContextVar[Lease | None] = ContextVar("lease", default=None)
        """Under which the present work is done, also in its threads."""

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follows the store meanwhile."""
        await asyncio.to_thread(self.prepare)
        self._loop = asyncio.get_running_loop()
        async with self._store:
            tasks = [asyncio.create_task(one) for one in (self._follow(), self._announce())]
            try:
                yield
            finally:
                self._loop = None
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=5)

    async def _follow(self) -> None:
        async for update in self._store.watch(None):
            try:
                await self._take(update)
                if any(one.key.kind == "challenges" and one.document for one in _changes(update)):
                    number = {"number": update.revision.number}
                    await self._store.apply(Transaction((Write(Key("seen", self.node), number),)))
            except (StorageError, StoreError) as error:
                log.error("what other nodes have ordered cannot be taken: %s", error)

    async def _announce(self) -> None:
        while True:
            try:
                async with self._store.announce(self.node, {}):
                    await asyncio.get_running_loop().create_future()
            except StoreError as error:
                log.warning("the store of certificates is unavailable: %s", error)
            await asyncio.sleep(self.retry_s)

    async def _take(self, update: Update) -> None:
        await asyncio.to_thread(self._mirror.take, update)
        self._changed.set()

    @contextlib.asynccontextmanager
    async def ordering(self, name: str = "lock") -> AsyncIterator[bool]:
        """Whether this node is the one that orders: of several processes on its folder, and of all nodes."""
        lease = self._leases.setdefault(name, Lease(self._store, name, self.node, self._lease_s))
        async with super().ordering(name) as is_ours:
            if not is_ours or not await self._taken(lease):
                yield False
                return
            token = self._lease.set(lease)
            try:
                await self._level(lease)
                yield True
            finally:
                self._lease.reset(token)
                await lease.release()
                with contextlib.suppress(StoreError):
                    await self._store.compact(keep=KEPT_REVISIONS)

    async def _taken(self, lease: Lease) -> bool:
        with _told():
            current = (await self._store.load()).resources.get(lease.key)
            return await lease.take(current)

    async def _level(self, lease: Lease) -> None:
        """Takes what others have ordered, gives what only this node has, and seals with the present key."""
        with _told():
            snapshot = await self._store.load()
            await self._take(snapshot)
            nodes = {one.name for one in await self._store.nodes()}
            gone = [key for key in snapshot.resources if key.kind == "seen" and key.name not in nodes]
            writes = [Write(key, None) for key in gone]
            for key, content in await asyncio.to_thread(self._unshared, snapshot):
                writes.append(Write(key, self._seal.seal(str(key), content)))
            if writes:
                await lease.write(*writes)

    def _unshared(self, snapshot: Snapshot) -> list[tuple[Key, bytes]]:
        """What the store lacks of this folder, and what is sealed with a former key."""
        found = [
            (key, self._seal.open(str(key), one.document))
            for key, one in snapshot.resources.items()
            if key.kind in SHARED and not self._seal.is_current(one.document) and self._mirror.can_open(key)
        ]
        for folder in ("accounts", "certificates", "on_demand"):
            for path in sorted((self.folder / folder).glob("*")):
                key = key_of(f"{folder}/{path.name}")
                if key and key not in snapshot.resources and not path.name.startswith("."):
                    found.append((key, path.read_bytes()))
        return found

    def _put(self, path: str, content: bytes) -> None:
        if key := key_of(path):
            number = self._write(key, self._seal.seal(str(key), content))
            self._mirror.wrote(key, number, content)
            if key.kind == "challenges":
                self._wait(self._shown(number))
        super()._put(path, content)

    def _drop(self, path: str) -> None:
        if key := key_of(path):
            with contextlib.suppress(StorageError):
                self._mirror.wrote(key, self._write(key, None), None)
        super()._drop(path)

    def _write(self, key: Key, document: Document | None) -> int:
        """Writes to the store from a thread; gives the revision."""
        lease = self._lease.get()
        write = Write(key, document)
        number: int = self._wait(lease.write(write) if lease else self._unleased(write))
        return number

    async def _unleased(self, write: Write) -> int:
        return (await self._store.apply(Transaction((write,), author=self.node))).number

    async def _shown(self, number: int) -> None:
        """Returns once every other node has what that revision holds."""
        others = {one.name for one in await self._store.nodes()} - {self.node}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NODES_LIMIT_S):
                while others := {one for one in others if self._mirror.seen(one) < number}:
                    self._changed.clear()
                    await self._changed.wait()
        if others:
            log.warning("%s did not show the challenge in time", ", ".join(sorted(others)))

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._loop is None:
            work.close()
            raise StorageError("this node is shutting down")
        with _told():
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(STORE_LIMIT_S)

    def _unlink(self, path: str) -> None:
        super()._drop(path)


def _changes(update: Update) -> Iterator[Change]:
    if isinstance(update, Changes):
        yield from update.changes
    else:
        for key, one in update.resources.items():
            yield Change(key, one.document, one.revision)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (StoreError, LeaseLost, TimeoutError) as error:
        raise StorageError(f"the store of certificates: {str(error) or 'no response in time'}") from error
