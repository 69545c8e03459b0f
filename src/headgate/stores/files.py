"""Configuration in a folder of files, with a history of who changed what: the store that editors and Git know.

How it works: the folder is the truth, the history tells how it came to be. What is found in the folder and is not
in the history (an editor, `cp`, a ConfigMap, Git) becomes a revision of the author `files`, once the folder has been
at rest for a moment. What is applied is written to the history first, then to the files; the disk is waited for once
for the entry in the history, which is enough for all of it, and for the files of many writes together a moment later.
An author who says that it will write (`foresee`) need not wait for the entry's content then, only for its name; one who
lets it finish later need not wait for files that replace others, whose new content is there and is only to be renamed.
A folder that cannot be written to is read all the same, with a history in memory.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from headgate.config.documents import load_yaml_reader
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
from headgate.stores.errors import StoreCorrupt, StoreUnavailable
from headgate.stores.files_folder import ConfigurationFolder
from headgate.stores.inotify import FolderEvents
from headgate.stores.places import path_of
from headgate.stores.planning import changes_by
from headgate.stores.watching import WatchedStore

T = TypeVar("T")

POLL_S = 10
SETTLES_AFTER_S = 0.2
"""How long after a write its files and the head are forced to the disk, with those of all that follow meanwhile."""


class FilesStore(WatchedStore):
    """See the module; `files:/dir`."""

    def __init__(self, url: str, folder: Path, timing: Timing) -> None:
        super().__init__(url, timing)
        load_yaml_reader()
        self._folder = ConfigurationFolder(folder)
        self._thread = ThreadPoolExecutor(1, "headgate-files")
        self._events: FolderEvents | None = None
        self._poller: asyncio.Task[None] | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._finishing: asyncio.Future[None] | None = None

    @classmethod
    def of_url(cls, url: str, timing: Timing) -> "FilesStore":
        """The store of a URL; raises `ValueError`."""
        path = path_of(url)
        if not path:
            raise ValueError(f"`{url}` is not a valid store\n  hint: files:/etc/headgate/conf.d")
        return cls(url, Path(path), timing)

    async def load(self) -> Snapshot:
        """See `Store`."""
        return await self._run(self._folder.snapshot)

    async def changes_since(self, position: Revision) -> Changes | None:
        """See `WatchedStore`."""
        return await self._run(lambda: self._folder.changes_since(position))

    async def apply(self, transaction: Transaction) -> Revision:
        """See `Store`."""
        if self._events is not None:
            self._events.pause()
        try:
            applied = await self._run(lambda: self._folder.apply(transaction), finds_folders=False)
        except BaseException:
            self.wake()
            raise
        if transaction.finishes_later:
            loop = asyncio.get_running_loop()
            self._finishing = loop.run_in_executor(self._thread, self._folder.finish)
        if applied.steps:
            if self._settling is None:
                self._settling = asyncio.get_running_loop().call_later(SETTLES_AFTER_S, self._settle)
            self.made(applied.before, changes_by(applied.revision, applied.steps))
        return applied.revision

    def foresee(self, transaction: Transaction) -> None:
        """See `Store`: has the disk hold the entry in the history."""
        if not self.is_closed:
            asyncio.get_running_loop().run_in_executor(self._thread, self._folder.foresee, transaction)

    async def finished(self) -> None:
        """See `Store`."""
        if self._finishing is not None:
            await asyncio.wait([self._finishing])

    def _settle(self) -> None:
        self._settling = None
        if not (self.is_closed or self._folder.is_settled):
            settled = asyncio.ensure_future(self._run(self._folder.settle, finds_folders=False))
            settled.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # which is in `health`

    async def history(
        self, *, limit: int = 100, before: int | None = None, key: Key | None = None
    ) -> Sequence[Entry]:
        """See `Store`."""
        return await self._run(lambda: self._folder.entries(limit, before, key))

    async def at(self, number: int) -> Snapshot:
        """See `Store`."""
        return await self._run(lambda: self._folder.at(number))

    async def compact(self, *, keep: int | None = None, older_than: timedelta | None = None) -> int:
        """See `Store`."""
        return await self._run(lambda: self._folder.compact(keep, older_than))

    @contextlib.asynccontextmanager
    async def announce(self, node: str, facts: Document, *, ttl_s: float = 15) -> AsyncIterator[None]:
        """See `Store`; the node is registered as long as its process holds a lock, so `ttl_s` is not needed."""
        release = await self._run(lambda: self._folder.announce(node, facts))
        try:
            yield
        finally:
            release()

    async def nodes(self) -> Sequence[RegisteredNode]:
        """See `Store`."""
        return await self._run(self._folder.nodes)

    async def listen(self) -> None:
        """See `WatchedStore`."""
        if self._poller is None:
            self._events = FolderEvents(self._touch)
            self._events.watch(self._folder.watched())
            self._poller = asyncio.create_task(self._poll())

    def _touch(self, paths: set[Path] | None = None) -> None:
        if self._folder.touch(paths):
            self.wake()

    async def _poll(self) -> None:
        """Looks also where the kernel gives no events (NFS, bind mounts of other hosts)."""
        while True:
            await asyncio.sleep(min(POLL_S, self.timing.poll_s))
            if paths := await asyncio.to_thread(self._folder.differing):
                self._touch(paths)
            self._settle()  # where that failed before
            self.wake()  # the history may have changed without an event, too

    async def close(self) -> None:
        """See `Store`."""
        await super().close()
        if self._settling is not None:
            self._settling.cancel()
        if self._poller is not None:
            self._poller.cancel()
        if self._events is not None:
            self._events.close()
        with contextlib.suppress(RuntimeError):  # closed already
            await asyncio.get_running_loop().run_in_executor(self._thread, self._folder.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T], *, finds_folders: bool = True) -> T:
        """Has the thread do it; `finds_folders`: there may be others to be watched then."""
        if self.is_closed:
            raise StoreUnavailable("the store was closed")
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except (StoreUnavailable, StoreCorrupt) as error:
            self.is_ill(error)
            raise
        self.is_well()
        if finds_folders and self._events is not None and not self.is_closed:
            self._events.watch(self._folder.watched())
        return result
