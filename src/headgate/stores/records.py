"""Revisions as stores without tables of their own keep them: one JSON object each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headgate.stores.base import Change, Changes, Edit, Entry, Revision, Transaction
from headgate.stores.documents import key_of
from headgate.stores.errors import StoreCorrupt
from headgate.stores.planning import Step, merged


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """An entry of the history with what is needed to undo it; `writes_files` if its transaction also wrote files."""

    entry: Entry
    steps: tuple[Step, ...]
    writes_files: bool = False

    @property
    def number(self) -> int:
        """The revision's number."""
        return self.entry.revision.number

    @classmethod
    def of(
        cls,
        revision: Revision,
        at: datetime,
        author: str,
        note: str,
        steps: tuple[Step, ...],
        *,
        writes_files: bool = False,
    ) -> "RevisionRecord":
        """The record of a revision that was just made."""
        return cls(Entry(revision, at, author, note, tuple(step.edit for step in steps)), steps, writes_files)

    @classmethod
    def of_transaction(
        cls, transaction: Transaction, revision: Revision, steps: tuple[Step, ...]
    ) -> "RevisionRecord":
        """The record of a transaction in a folder of files."""
        now, author, note = datetime.now(UTC), transaction.author, transaction.note
        return cls.of(revision, now, author, note, steps, writes_files=True)

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        edits = [
            {"key": str(s.edit.key), "before": s.edit.before, "after": s.edit.after, "former": s.former}
            for s in self.steps
        ]
        entry = self.entry
        return {
            "revision": str(entry.revision),
            "at": entry.at.isoformat(),
            "author": entry.author,
            "note": entry.note,
            "writes_files": self.writes_files,
            "edits": edits,
        }

    @classmethod
    def of_plain(cls, told: dict[str, Any], where: str) -> "RevisionRecord":
        """The record again; raises `StoreCorrupt` naming `where`."""
        try:
            steps = tuple(
                Step(Edit(key_of(edit["key"], where), edit["before"], edit["after"]), edit["former"])
                for edit in told["edits"]
            )
            at, revision = datetime.fromisoformat(told["at"]), Revision.parse(told["revision"])
            is_file = bool(told.get("writes_files"))
            return cls.of(revision, at, told["author"], told["note"], steps, writes_files=is_file)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreCorrupt(f"`{where}` is not an entry of a history: {error}") from None


def changes_of(records: Sequence[RevisionRecord]) -> Changes:
    """The changes of records in order, as one."""
    changes = [Change(step.edit.key, step.edit.after, one.number) for one in records for step in one.steps]
    return merged(records[-1].entry.revision, changes)
