"""What may go wrong with pgwatch."""


class PgwatchError(Exception):
    """Base class of what pgwatch raises."""


class Unavailable(PgwatchError):
    """PostgreSQL cannot be reached, or did not say what became of a call."""


class NotInstalled(PgwatchError):
    """The database has no tables of pgwatch."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}\n  hint: `headgate pgwatch install`")


class Conflict(PgwatchError):
    """A key is not at the revision that a transaction expected (0: absent); nothing was written."""

    def __init__(self, key: str | None, found: int) -> None:
        self.key = key
        self.found = found
        super().__init__(f"`{key if key is not None else '*'}` is at revision {found}\n  hint: read it again")


class NoSuchLease(PgwatchError):
    """The lease has ended."""


class HistoryLost(PgwatchError):
    """What happened since a position is not to be had: compacted, or another database or history.

    Read everything and watch from there. `oldest` is the oldest revision that is kept.
    """

    def __init__(self, since: int, oldest: int) -> None:
        self.since = since
        self.oldest = oldest
        super().__init__(f"what came after revision {since} is not known here; the oldest kept is {oldest}")
