"""The history of a folder of files, in its hidden folder `.headgate`.

How it works: `head.json` says which revision is the newest; `history/NUMBER.json` says what each did. An entry is
written before the files are, and the head after, once for all entries of a moment: an entry above the head is a
transaction that somebody is in, or died in, and the next one to hold the lock ends it; one that is not whole was never
done. `state.json` is the whole at some revision, so that opening need not read all entries. Other files are replaced
by renaming; whoever reads or writes holds `lock` by flock(2).
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from headgate.config.atomic_files import (
    make_folders,
    name_file,
    replace_file,
    sync_folder,
    write_beside,
    write_new_file,
)
from headgate.stores.base import Edit, Key, Resource, Revision, Snapshot, Transaction, new_mark
from headgate.stores.documents import decoded, encoded, key_of
from headgate.stores.errors import StoreCorrupt
from headgate.stores.files_tree import FilePlace
from headgate.stores.places import Signature, signature_of
from headgate.stores.planning import Step
from headgate.stores.records import RevisionRecord

CHECKPOINT_EACH = 512
RECENT_MARKS = 64


@dataclass(slots=True)
class State:
    """What the history says: the newest revision, the oldest that is kept, the resources, and the numbers of the
    newest marks."""

    head: Revision
    oldest: int = 0
    resources: dict[Key, Resource] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        """What it is now."""
        return Snapshot(self.head, MappingProxyType(dict(self.resources)))


class Foreseen(NamedTuple):
    """An entry that may come next, and the file that it is in."""

    record: RevisionRecord
    path: Path


class FolderHistory:
    """See the module. All calls are made with the lock held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unsettled: list[RevisionRecord] = []
        """Revisions in the state that are above the head on the disk."""
        self._state: State | None = None
        self._head = b""
        """What `head.json` held when the state was read, or when it was written here."""
        self._head_signature: Signature | None = None
        self._foreseen: Foreseen | None = None
        self._is_current = False
        """Whether the state was read since the lock is held: nobody else writes before it is let go."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock; makes the folder. Raises `OSError` where it cannot."""
        if not (self.folder / "history").is_dir():
            make_folders(self.folder / "history", mode=0o700)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            self._is_current = False
            os.close(descriptor)

    def exists(self) -> bool:
        """Whether there is a history."""
        return (self.folder / "head.json").exists()

    def is_news(self) -> bool:
        """Whether another process has written the head; may be called in any thread, takes no lock."""
        return signature_of(self.folder / "head.json") != self._head_signature

    def state(self) -> State:
        """The state at the head; reads only what came since the last call."""
        if self._state is not None and self._is_current:
            return self._state
        path = self.folder / "head.json"
        signature = signature_of(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = self._begun_anew()
        if self._state is not None and data == self._head:
            self._is_current = True
            return self._state
        head = decoded(data, str(path))
        self._head, self._head_signature = data, signature
        self.unsettled = []  # whoever wrote it has ended those, too
        revision = Revision(head["epoch"], head["number"], head["mark"])
        if self._state is None or self._state.head.epoch != revision.epoch:
            self._state = self._checkpoint(revision.epoch)
        if self._state.head.number > revision.number:
            self._state = self._checkpoint(revision.epoch)
        for number in range(self._state.head.number + 1, revision.number + 1):
            _advance(self._state, self.record(number))
        self._state.head, self._state.oldest = revision, head["oldest"]
        self._state.marks = head.get("marks", {})
        self._is_current = True
        return self._state

    def _begun_anew(self) -> bytes:
        for left in [*(self.folder / "history").iterdir(), self.folder / "state.json"]:
            left.unlink(missing_ok=True)
        return self._replace("head.json", {"epoch": new_mark(), "number": 0, "mark": "", "oldest": 0})

    def pending(self) -> RevisionRecord | None:
        """The transaction that somebody died in."""
        number = self.state().head.number + 1
        path = self._path(number)
        try:
            json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:  # the power went while it was written
            path.unlink()
            return None
        return self.record(number)

    def begin(self, record: RevisionRecord) -> None:
        """Writes the entry of a new revision, which is done then: whatever happens, somebody will end it."""
        path = self._path(record.number)
        if self._foreseen and self._foreseen.record is record:
            foreseen, self._foreseen = self._foreseen, None
            with contextlib.suppress(FileNotFoundError):  # somebody has tidied up
                name_file(foreseen.path, path)
                return
        self.forget_foreseen()
        write_new_file(path, json.dumps(record.plain()).encode())

    def foresee(self, record: RevisionRecord) -> None:
        """Has the disk hold an entry that may come next, under another name. Needs no lock. Raises `OSError`."""
        self.forget_foreseen()
        path = write_beside(self._path(record.number), json.dumps(record.plain()).encode(), is_durable=True)
        self._foreseen = Foreseen(record, path)

    def entry_of(
        self, transaction: Transaction, revision: Revision, steps: tuple[Step, ...]
    ) -> RevisionRecord:
        """The entry of a transaction: the one that was foreseen, if it is right, or a new one."""
        record = self._foreseen.record if self._foreseen else None
        if record and record.entry.revision == revision and record.steps == steps:
            return record
        return RevisionRecord.of_transaction(transaction, revision, steps)

    def forget_foreseen(self) -> None:
        """Removes the entry that was foreseen. Raises nothing."""
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None:
            with contextlib.suppress(OSError):
                foreseen.path.unlink()

    def withdraw(self, number: int) -> None:
        """Takes back the entry of a revision that was begun and not added: it was never done."""
        self._path(number).unlink(missing_ok=True)
        sync_folder(self.folder / "history")

    def add(self, record: RevisionRecord) -> None:
        """Makes it the newest, for now in this process only: others find its entry, and end it themselves."""
        state = self.state()
        _advance(state, record)
        state.marks[record.entry.revision.mark] = record.number
        state.marks = dict(list(state.marks.items())[-RECENT_MARKS:])
        self.unsettled.append(record)

    def settle(self) -> None:
        """Makes the newest the head on the disk, which has its files already: else nobody would end it."""
        state = self.state()
        added = list(self.unsettled)
        self._write_head(state)
        if any(one.number % CHECKPOINT_EACH == 0 or len(one.steps) > 1000 for one in added):
            self._write_checkpoint(state)

    def forget(self, oldest: int) -> None:
        """Removes the entries below a number."""
        state = self.state()
        former, state.oldest = state.oldest, oldest
        self._write_checkpoint(state)
        self._write_head(state)
        for number in range(max(former, 1), oldest):
            self._path(number).unlink(missing_ok=True)
        for left in (self.folder / "history").glob(".*.tmp"):  # foreseen by those who died, or in vain
            left.unlink(missing_ok=True)

    def record(self, number: int) -> RevisionRecord:
        """The entry of a revision."""
        where = f"history/{number:012}.json"
        return RevisionRecord.of_plain(self._json(where), str(self.folder / where))

    def last_until(self, limit: datetime) -> int:
        """The newest revision that is kept and not from after `limit`, or the number below all that are kept."""
        state = self.state()
        number = state.head.number
        while number > 0 and self.record(number).entry.at > limit:
            number -= 1
            if number < max(state.oldest, 1):
                break
        return number

    def mark(self, number: int) -> str | None:
        """The mark of a revision that is kept."""
        if number == 0:
            return ""
        return self.record(number).entry.revision.mark if self._path(number).exists() else None

    def _path(self, number: int) -> Path:
        return self.folder / f"history/{number:012}.json"

    def _checkpoint(self, epoch: str) -> State:
        if not (self.folder / "state.json").exists():
            return State(Revision(epoch, 0))
        told = self._json("state.json")
        if told.get("epoch") != epoch:
            return State(Revision(epoch, 0))
        resources = {}
        for text, (document, revision) in told["resources"].items():
            key = key_of(text, "state.json")
            resources[key] = Resource(key, document, revision)
        return State(Revision(epoch, told["number"]), 0, resources)

    def _write_checkpoint(self, state: State) -> None:
        resources = {str(key): [one.document, one.revision] for key, one in state.resources.items()}
        told = {"epoch": state.head.epoch, "number": state.head.number, "resources": resources}
        self._replace("state.json", told)

    def _write_head(self, state: State) -> None:
        head = {"epoch": state.head.epoch, "number": state.head.number, "mark": state.head.mark}
        self._head = self._replace("head.json", head | {"oldest": state.oldest, "marks": state.marks})
        self._head_signature = signature_of(self.folder / "head.json")
        self.unsettled = []

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            return decoded(path.read_bytes(), str(path))
        except OSError as error:
            raise StoreCorrupt(f"`{path}`: {error.strerror}") from None

    def _replace(self, name: str, value: dict[str, Any]) -> bytes:
        data = json.dumps(value).encode()
        replace_file(self.folder / name, data, is_durable=True)
        return data


def _advance(state: State, record: RevisionRecord) -> None:
    number = record.number
    for step in record.steps:
        if step.edit.after is None:
            state.resources.pop(step.edit.key, None)
        else:
            state.resources[step.edit.key] = Resource(step.edit.key, step.edit.after, number)
    state.head = record.entry.revision


def difference(state: State, places: dict[Key, FilePlace], keys: set[Key]) -> tuple[Step, ...]:
    """What leads some keys from the history's state to the folder's."""
    steps = []
    for key in sorted(keys):
        known, found = state.resources.get(key), places.get(key)
        before = known.document if known else None
        after = found.document if found else None
        if before != after and (before is None or after is None or encoded(before) != encoded(after)):
            steps.append(Step(Edit(key, before, after), known.revision if known else None))
    return tuple(steps)
