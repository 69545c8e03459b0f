"""A folder of files and its history, brought together; all calls block and run in one thread."""

import contextlib
import errno
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from headgate.config.atomic_files import sync_file
from headgate.stores.base import (
    Changes,
    Document,
    Entry,
    Key,
    RegisteredNode,
    Revision,
    Snapshot,
    Transaction,
    new_mark,
)
from headgate.stores.errors import (
    RevisionCompacted,
    StoreConflict,
    StoreCorrupt,
    StoreReadOnly,
    StoreUnavailable,
)
from headgate.stores.files_history import FolderHistory, State
from headgate.stores.files_nodes import announce, registered
from headgate.stores.files_resting import rested
from headgate.stores.files_tree import FolderTree, existing_file, file_of
from headgate.stores.files_writing import (
    NEVER_WRITABLE,
    Replacement,
    bytes_of,
    checked_place,
    content,
    given_up,
    is_unwritten,
    not_writable,
    replacements,
    write_bytes,
)
from headgate.stores.planning import Step, oldest_kept, planned, touches, undone
from headgate.stores.records import RevisionRecord, changes_of
from headgate.stores.watching import HistoryGap, resumable

log = logging.getLogger("headgate.stores")

AUTHOR = "files"
MOST_REVISIONS_AT_ONCE = 500
DURABLE_ONE_BY_ONE = 20
MOST_UNSETTLED = 64
"""Revisions that others would have to end, should this process die."""


class Applied(NamedTuple):
    """What became of a transaction."""

    revision: Revision
    before: Revision
    """The newest one before it."""
    steps: tuple[Step, ...]
    """What it did; none if nothing had to be done, or it was done already."""


class ConfigurationFolder:
    """See the module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._touched: set[Path] | None = None
        self._tree = FolderTree(folder)
        self._history = FolderHistory(folder / ".headgate")
        self._is_read_only = self._waits_for_writes = False
        self._in_memory: tempfile.TemporaryDirectory[str] | None = None
        self._epoch = ""
        self._rest: list[Replacement] = []
        """Of what was applied."""
        self._held: contextlib.ExitStack | None = None
        """The lock, until they are."""

    def differing(self) -> set[Path]:
        """The files that changed without an event; takes no lock, so writers do not wait for a look at many files."""
        try:
            return self._tree.differing()
        except StoreUnavailable:
            return set()  # who reads the folder is told

    def close(self) -> None:
        """Settles what was applied; removes a history that is in memory. Raises nothing."""
        with contextlib.suppress(StoreUnavailable, StoreCorrupt):
            self.finish()
            self.settle()
        self._history.forget_foreseen()
        self._forget_memory()

    def _forget_memory(self) -> None:
        if self._in_memory is not None:
            self._in_memory.cleanup()

    def touch(self, paths: set[Path] | None) -> bool:
        """Some files may have changed, or any (`None`); whether that is worth a look. May be called in any thread."""
        if paths is None:
            self._touched = None
            return True
        own = self._history.folder
        others = (path for path in paths if path.name[0] != "." and path.parent != own)
        seen = {path for path in others if not self._tree.is_known(path)}
        if any(path.name.startswith("..") for path in paths) or (seen and self._tree.has_links):
            self._touched = None
        elif self._touched is not None:
            self._touched |= seen
        return bool(seen) or self._touched is None or (own / "head.json" in paths and self._history.is_news())

    def watched(self) -> set[Path]:
        """The folders in which changes matter."""
        return self._tree.folders() | ({self._history.folder} if self._history.exists() else set())

    def snapshot(self) -> Snapshot:
        """Everything now."""
        with self._locked():
            return self._absorbed().snapshot()

    def changes_since(self, position: Revision) -> Changes | None:
        """What the history has first, and then what the folder has."""
        with self._locked():
            state = self._history.state()
            if state.head == position:
                state = self._absorbed()
            if state.head == position:
                return None
            if not resumable(position, state.head, state.oldest, self._history.mark(position.number)):
                raise HistoryGap
            last = min(state.head.number, position.number + MOST_REVISIONS_AT_ONCE)
            records = [self._history.record(number) for number in range(position.number + 1, last + 1)]
            return changes_of(records)

    def apply(self, transaction: Transaction) -> Applied:
        """Does a transaction: history and files. It cannot be lost any more then; `settle` is to be called later."""
        with self._locked():
            if self._is_read_only:
                raise StoreReadOnly(f"`{self.folder}` cannot be written to")
            if len(self._history.unsettled) >= MOST_UNSETTLED:
                self._settle()
            state = self._absorbed()
            if transaction.mark in state.marks:
                made = Revision(state.head.epoch, state.marks[transaction.mark], transaction.mark)
                return Applied(made, state.head, ())
            steps = planned(transaction, state.head, state.resources.get)
            if not steps:
                return Applied(state.head, state.head, ())
            places = self._tree.places
            for step in steps:
                checked_place(places.get(step.edit.key), file_of(self.folder, step.edit.key), step.edit.key)
            revision = Revision(state.head.epoch, state.head.number + 1, transaction.mark)
            applied = Applied(revision, state.head, steps)
            record = self._history.entry_of(transaction, revision, steps)
            rest = None
            if transaction.finishes_later:
                rest = replacements((self._path(step.edit.key), step) for step in steps)
            try:
                self._history.begin(record)
                if rest is None:
                    self._write_all(record)
            except BaseException:
                given_up(rest or ())
                raise
            self._history.add(record)
            self._rest = rest or []
            return applied

    def foresee(self, transaction: Transaction) -> None:
        """Has the disk hold the entry of a transaction that may be applied next, which then need only be named.

        Takes no lock: whether it is still right is seen then. Raises nothing.
        """
        head, known = transaction.expected_revision, transaction.known
        if head is None or known is None or self._is_read_only or self._epoch != head.epoch:
            return
        with contextlib.suppress(OSError, StoreConflict, ValueError):
            steps = planned(transaction, head, known.resources.get)
            revision = Revision(head.epoch, head.number + 1, transaction.mark)
            self._history.foresee(RevisionRecord.of_transaction(transaction, revision, steps))

    def finish(self) -> None:
        """Ends what was applied and could wait: the new files are there, and take the names of the old ones."""
        held, self._held = self._held, None
        rest, self._rest = self._rest, []
        if held is None:
            return
        with held:
            for one in rest:
                try:
                    os.replace(one.beside, one.path)
                except OSError as error:
                    log.error("`%s` cannot be replaced: %s; it stays as it is", one.path, error.strerror)
                    given_up([one])
                    self._touched = None  # the folder is the truth: its state becomes the next revision
                else:
                    self._tree.wrote(one.path, one.step.edit.key, dict(one.step.edit.after or {}))

    def _write_all(self, record: RevisionRecord) -> None:
        """Writes the files of a transaction that was begun, or withdraws it."""
        former: list[tuple[Path, bytes | None]] = []
        try:
            for step in record.steps:
                path = self._path(step.edit.key)
                former.append((path, bytes_of(path)))
                self._write(path, step)
        except OSError as error:
            self._withdraw(record, former)
            if error.errno in NEVER_WRITABLE:
                raise not_writable(path, error) from None
            raise

    def _withdraw(self, record: RevisionRecord, former: Sequence[tuple[Path, bytes | None]]) -> None:
        """Undoes a transaction of which a file cannot be written: nobody is to end it."""
        for path, data in reversed(former):
            with contextlib.suppress(OSError):
                write_bytes(path, data)
        self._history.withdraw(record.number)
        self.touch({path for path, _ in former})

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be settled; may be called in any thread."""
        return not self._history.unsettled

    def settle(self) -> None:
        """Has the disk hold the files of what was applied, and then the head."""
        if not self.is_settled:
            with self._locked():
                self._settle()

    def _settle(self) -> None:
        unsettled = self._history.unsettled
        if not unsettled:
            return
        paths = {
            self._path(step.edit.key) for record in unsettled if record.writes_files for step in record.steps
        }
        if len(paths) <= DURABLE_ONE_BY_ONE:
            for path in paths:
                sync_file(path.resolve() if path.is_symlink() else path)
        else:
            os.sync()
        self._history.settle()

    def entries(self, limit: int, before: int | None, key: Key | None) -> Sequence[Entry]:
        """The newest entries first."""
        with self._locked():
            state = self._absorbed()
            found: list[Entry] = []
            number = min(state.head.number, before - 1 if before is not None else state.head.number)
            while number >= max(state.oldest, 1) and len(found) < limit:
                entry = self._history.record(number).entry
                found += [entry] if touches(entry, key) else []
                number -= 1
            return found

    def at(self, number: int) -> Snapshot:
        """Everything as it was."""
        with self._locked():
            state = self._absorbed()
            if number > state.head.number:
                raise LookupError(
                    f"there is no revision {number} yet\n  hint: the latest is {state.head.number}"
                )
            if number < state.oldest:
                raise RevisionCompacted(number, state.oldest)
            newer = (self._history.record(one) for one in range(state.head.number, number, -1))
            resources = undone(state.resources, (step for record in newer for step in record.steps))
            mark = self._history.mark(number) or ""
            return Snapshot(Revision(state.head.epoch, number, mark), MappingProxyType(resources))

    def compact(self, keep: int | None, older_than: timedelta | None) -> int:
        """Forgets history."""
        with self._locked():
            state = self._absorbed()
            self._settle()
            last_old = None
            if older_than is not None:
                last_old = self._history.last_until(datetime.now(UTC) - older_than)
            by_age = older_than is not None
            oldest = oldest_kept(
                state.head.number, state.oldest, keep=keep, last_old=last_old or None, by_age=by_age
            )
            self._history.forget(oldest)
            return oldest

    def announce(self, node: str, facts: Document) -> Callable[[], None]:
        """Registers a node until the returned function is called."""
        with self._locked():
            return announce(self._history.folder / "nodes", node, facts)

    def nodes(self) -> list[RegisteredNode]:
        """The nodes whose processes hold their locks."""
        with self._locked():
            return registered(self._history.folder / "nodes")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the history's lock, and ends what somebody died in."""
        self.finish()
        self._refuse_vanished()
        if self._waits_for_writes and self._may_write():
            self._is_read_only = self._waits_for_writes = False
            self._history = FolderHistory(self.folder / ".headgate")
        try:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(self._history.locked())
                except OSError as error:
                    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                        raise
                    self._is_read_only, self._waits_for_writes = True, not self._may_write()
                    self._forget_memory()
                    self._in_memory = tempfile.TemporaryDirectory(prefix="headgate-history-")
                    self._history = FolderHistory(Path(self._in_memory.name))
                    stack.enter_context(self._history.locked())
                while pending := self._history.pending():
                    self._end(pending)
                    self._settle()
                former, self._epoch = self._epoch, self._history.state().head.epoch
                if former != self._epoch:
                    self._touched = None  # nothing in the folder is in this history yet
                yield
                if self._rest:
                    self._held = stack.pop_all()
        except OSError as error:
            raise StoreUnavailable(f"`{self.folder}`: {error.strerror or error}") from None

    def _may_write(self) -> bool:
        hidden = self.folder / ".headgate"
        return os.access(hidden if hidden.exists() else self.folder, os.W_OK)

    def _refuse_vanished(self) -> None:
        """A folder that is gone, or empty and without its history all at once, was not emptied but unmounted."""
        if not self.folder.is_dir():
            raise StoreUnavailable(
                f"the directory `{self.folder}` does not exist\n  hint: create it; it may be empty"
            )
        if self._epoch and not self._history.exists() and not self._tree.read():
            raise StoreUnavailable(
                f"`{self.folder}` is suddenly empty, and its history is gone\n  hint: is it mounted?"
            )

    def _absorbed(self) -> State:
        """The state, with what was changed in the folder by others."""
        state = self._history.state()
        touched, self._touched = self._touched, set()
        if touched is not None and not touched:
            return state
        try:
            steps = rested(self._tree, state, touched)
        except BaseException:
            self.touch(touched)
            raise
        if steps:
            names = ", ".join(sorted(str(step.edit.key) for step in steps[:5]))
            note = f"changed on disk: {names}{' and others' if len(steps) > 5 else ''}"
            revision = Revision(state.head.epoch, state.head.number + 1, new_mark())
            record = RevisionRecord.of(revision, datetime.now(UTC), AUTHOR, note, steps)
            self._history.begin(record)
            self._history.add(record)
            self._settle()
        return self._history.state()

    def _end(self, record: RevisionRecord) -> None:
        """Ends what somebody else is in, or died in; what was changed by hand meanwhile stays as it is."""
        if record.writes_files:
            for step in record.steps:
                path = self._path(step.edit.key)
                if not is_unwritten(path, step.edit):
                    self.touch({path})
                    continue
                try:
                    self._write(path, step)
                except OSError as error:
                    if error.errno not in NEVER_WRITABLE:
                        raise
                    self._touched = None  # the folder is the truth: its state becomes the next revision
        self._history.add(record)

    def _path(self, key: Key) -> Path:
        """Where a resource is, or is to be."""
        place = self._tree.places.get(key)
        return place.path if place else existing_file(file_of(self.folder, key))

    def _write(self, path: Path, step: Step) -> None:
        """Writes or removes a file, not yet on the disk."""
        after = step.edit.after
        write_bytes(path, None if after is None else content(path, after))
        self._tree.wrote(path, step.edit.key, None if after is None else dict(after))
