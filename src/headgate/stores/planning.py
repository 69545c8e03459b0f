"""What a transaction does to a state, and what undoes it; the same for every store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from headgate.stores.base import Change, Changes, Edit, Entry, Key, Resource, Revision, Transaction
from headgate.stores.documents import encoded
from headgate.stores.errors import StoreConflict


@dataclass(frozen=True, slots=True)
class Step:
    """An edit with the number of the revision that changed the key before (`None`: there was no such key)."""

    edit: Edit
    former: int | None


def planned(
    transaction: Transaction, head: Revision, current: Callable[[Key], Resource | None]
) -> tuple[Step, ...]:
    """The steps of a transaction on the state `current` at `head`; none where nothing would change.

    Raises `StoreConflict` where an expectation does not hold.
    """
    wanted = transaction.expected_revision
    if wanted is not None and wanted != head:
        raise StoreConflict(None, wanted, head)
    for key, number in transaction.expected.items():
        found = current(key)
        if (found.revision if found else None) != number:
            raise StoreConflict(key, number, found.revision if found else None)
    steps = []
    for write in transaction.writes:
        found = current(write.key)
        before = found.document if found else None
        if before is None and write.document is None:
            continue
        if before is not None and write.document is not None and encoded(before) == encoded(write.document):
            continue
        steps.append(Step(Edit(write.key, before, write.document), found.revision if found else None))
    return tuple(steps)


def changes_by(revision: Revision, steps: Iterable[Step]) -> Changes:
    """What the steps of one transaction, which made the revision, have changed."""
    return Changes(revision, tuple(Change(one.edit.key, one.edit.after, revision.number) for one in steps))


def merged(revision: Revision, changes: Iterable[Change]) -> Changes:
    """Changes in order, as one: the last of each key."""
    return Changes(revision, tuple({change.key: change for change in changes}.values()))


def undone(resources: Mapping[Key, Resource], newest_first: Iterable[Step]) -> dict[Key, Resource]:
    """The resources before the steps."""
    found = dict(resources)
    for step in newest_first:
        key, before = step.edit.key, step.edit.before
        if before is None or step.former is None:
            found.pop(key, None)
        else:
            found[key] = Resource(key, before, step.former)
    return found


def oldest_kept(head: int, oldest: int, *, keep: int | None, last_old: int | None, by_age: bool) -> int:
    """The oldest number to keep; by age, `last_old` is the last one that is too old (`None`: there is none)."""
    if keep is None and not by_age:
        raise ValueError("compact needs `keep` or `older_than`")
    bounds = [head]
    if keep is not None:
        bounds.append(head - max(keep, 1) + 1)
    if by_age:
        bounds.append(oldest if last_old is None else last_old + 1)
    return max(oldest, min(bounds))


def touches(entry: Entry, key: Key | None) -> bool:
    """Whether an entry is of a key; of every entry where `key` is `None`."""
    return key is None or any(edit.key == key for edit in entry.edits)
