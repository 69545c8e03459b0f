"""The state folder of a node: who holds it, and the last good configuration, which serves when the store is away."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from headgate.config.atomic_files import make_folders, replace_file
from headgate.config.discovered import Sets
from headgate.control import resource_memory
from headgate.stores import Key, Resource, Revision, Snapshot
from headgate.worker.privileges import resolve

LAST_GOOD = "last-good.json"
"""All of it in the first line; in those that follow, how it differs: see `control.resource_memory`."""
LEAST_DIFFERENCES_BYTES = 1 << 16
"""So many bytes of differences are added before all of it is written again, however little that is."""
LOCK = "agent.lock"

logger = logging.getLogger("headgate.agent")


class Keeping(Protocol):
    """Where the last good configuration is kept."""

    def save(self, snapshot: Snapshot, differences: Sequence[Mapping[str, Any]] | None = None) -> None:
        """See `StateFolder.save`."""


class NothingKept:
    """Of a node without a store."""

    def save(self, snapshot: Snapshot, differences: Sequence[Mapping[str, Any]] | None = None) -> None:
        """There is nothing to keep."""


class FolderTaken(RuntimeError):
    """Another agent holds the folder."""


class StateFolder:
    """A folder that one agent at a time holds; only its owner may read it."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._lock: int | None = None
        self._whole_bytes: int | None = None
        """Of the whole in the file; None where that is not known to be there."""
        self._file_bytes = 0

    def make(self, user: str | None, group: str | None) -> None:
        """Makes it, if it is missing, for the user that the agent is to run as. Raises as the system does."""
        make_folders(self.path, mode=0o700)
        if user or group:
            uid, gid = resolve(user, group)
            os.chown(self.path, uid, gid)

    def take(self) -> None:
        """Holds it until this process ends; raises `FolderTaken`, or as the system does.

        One that cannot be written to (a disk that failed, or of another user) is held all the same: what is in it
        serves, and is not renewed, which is logged.
        """
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            lock = self._openable(error)
            self._hold(lock)
            logger.error(
                "the state folder `%s` cannot be written to: %s; the last good configuration in it is not updated",
                self.path,
                error.strerror,
            )
            return
        self._hold(lock)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def _openable(self, error: OSError) -> int:
        """The lock file or else the folder, opened for reading; raises `error` if neither can be."""
        for path in (self.path / LOCK, self.path):
            with contextlib.suppress(OSError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        raise error

    def _hold(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = b"" if stat.S_ISDIR(os.fstat(lock).st_mode) else os.pread(lock, 32, 0)
            os.close(lock)
            raise FolderTaken(
                f"the state folder `{self.path}` is held by another agent,"
                f" process {holder.decode(errors='replace').strip() or 'unknown'}\n"
                "  hint: give each gateway its own `state_folder`"
            ) from None
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def save(self, snapshot: Snapshot, differences: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Keeps a snapshot as the last good one: all of it, or only how it differs from the one that was kept before.

        What cannot be written is logged, and the one before stays.
        """
        try:
            if differences is None or not self._add(differences):
                self._save_whole(snapshot)
        except OSError as error:
            logger.error("cannot keep the last good configuration: %s", error)

    def _save_whole(self, snapshot: Snapshot) -> None:
        self._whole_bytes = None
        data = json.dumps(plain(snapshot)).encode() + b"\n"
        replace_file(self.path / LAST_GOOD, data, is_durable=True)
        self._whole_bytes = self._file_bytes = len(data)

    def _add(self, differences: Sequence[Mapping[str, Any]]) -> bool:
        """Adds lines to the file; false where all of it is to be written anew, which keeps it from growing for ever."""
        data = b"".join(json.dumps(one).encode() + b"\n" for one in differences)
        whole = self._whole_bytes
        if whole is None or self._file_bytes + len(data) > whole + max(whole, LEAST_DIFFERENCES_BYTES):
            return False
        self._whole_bytes = None  # until it is known to have succeeded
        file = os.open(self.path / LAST_GOOD, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_size != self._file_bytes:
                return False
            written = 0
            while written < len(data):  # a disk that is nearly full takes a part first, and refuses the rest
                written += os.pwrite(file, data[written:], self._file_bytes + written)
            os.fsync(file)
        finally:
            os.close(file)
        self._whole_bytes, self._file_bytes = whole, self._file_bytes + len(data)
        return True

    def last_good(self) -> Snapshot | None:
        """What was kept last; None where there is nothing, or nothing that can be read (which is logged)."""
        try:
            kept = (self.path / LAST_GOOD).read_bytes()
            whole, _, rest = kept.partition(b"\n")
            # a line that was not finished is of what was not kept
            return snapshot_of(resource_memory.merged(whole + b"\n" + rest[: rest.rfind(b"\n") + 1]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.error("cannot read the last good configuration: %s", error)
            return None


def plain(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON knows it: what workers load, and the number of each resource beside it."""
    resources: dict[str, dict[str, Any]] = {}
    numbers: dict[str, dict[str, int]] = {}
    for key, resource in snapshot.resources.items():
        resources.setdefault(key.kind, {})[key.name] = resource.document
        numbers.setdefault(key.kind, {})[key.name] = resource.revision
    return {"revision": str(snapshot.revision), "resources": resources, "numbers": numbers}


def lent(snapshot: Snapshot, found: Sets) -> dict[str, Any]:
    """What workers load with the file: a snapshot, and the servers that are known by a name."""
    return {**plain(snapshot), "found": found}


def snapshot_of(told: dict[str, Any]) -> Snapshot:
    """The snapshot that `plain` has told of; raises `ValueError`, `KeyError`, `TypeError` or `AttributeError`."""
    found = {
        Key(kind, name): Resource(Key(kind, name), document, told["numbers"][kind][name])
        for kind, documents in told["resources"].items()
        for name, document in documents.items()
    }
    return Snapshot(Revision.parse(told["revision"]), MappingProxyType(found))
