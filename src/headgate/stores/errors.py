"""What may go wrong with a store, by who can do something about it."""

from headgate.stores.base import Key, Revision


class StoreError(Exception):
    """Base class of all errors of a store."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or did not say what became of a request: apply the same transaction again."""


class StoreCorrupt(StoreError):
    """The store gave something that is no resource or no revision."""


class StoreReadOnly(StoreError):
    """The store cannot be written to, by us or at all."""


class StoreConflict(StoreError):
    """Somebody else changed what a transaction expected: read again, decide again."""

    def __init__(
        self, key: Key | None, expected: int | Revision | None, found: int | Revision | None
    ) -> None:
        self.key = key
        self.expected = expected
        self.found = found
        what = f"`{key}`" if key else "the store"
        super().__init__(
            f"{what} is at revision {_told(found)}, not {_told(expected)}\n  hint: read it again"
        )


class RevisionCompacted(StoreError):
    """That revision is no longer in the history."""

    def __init__(self, number: int, oldest: int) -> None:
        self.number = number
        self.oldest = oldest
        super().__init__(f"revision {number} was compacted\n  hint: the oldest one kept is {oldest}")


def _told(revision: int | Revision | None) -> str:
    if revision is None:
        return "none"
    return str(revision if isinstance(revision, int) else revision.number)
