"""What every store of configuration is: resources under revisions, transactions, a watch, a history.

How it works: a resource is a JSON document under a kind and a name. Every transaction makes one revision; a
revision is read, watched and rolled back as a whole. A store connects when it is first asked, and again by itself
after a cut; only `load`, `apply`, `history`, `at` and `compact` say that it is away (`StoreUnavailable`).
"""

import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from headgate._digits import whole_number
from headgate.stores.layers import Layers

Document = Mapping[str, Any]
"""What JSON calls an object."""

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_BAD_IN_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
MOST_NAME_BYTES = 253


class Key(NamedTuple):
    """A resource's kind (`routes`, `upstreams`) and its name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def checked_key(kind: str, name: str) -> Key:
    """A key that every store can hold; raises `ValueError` for others.

    A kind is lower case with digits, `-` and `_`, at most 63 characters; a name is any text without control
    characters, at most 253 bytes in UTF-8.
    """
    if not _KIND.match(kind):
        raise ValueError(f"`{kind}` is not a valid kind\n  hint: lower case letters, digits, `-` and `_`")
    if not name or _BAD_IN_NAME.search(name) or len(name.encode()) > MOST_NAME_BYTES:
        raise ValueError(
            f"`{name!r}` is not a valid name\n  hint: 1 to {MOST_NAME_BYTES} bytes without control characters"
        )
    return Key(kind, name)


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of a store.

    Numbers count up by one transaction, but prove nothing alone: a store restored from a backup, or failed over to
    a replica that lagged, counts again from a lower one. So a revision also carries the `epoch` (which store this
    is) and the `mark` of the transaction that made it (which of two histories with this number).
    """

    epoch: str
    number: int
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}.{self.mark}"

    @classmethod
    def parse(cls, text: str) -> "Revision":
        """Reads what `str` gives; raises `ValueError`."""
        epoch, digits, mark = text.split(".")
        number = whole_number(digits)
        if number is None:
            raise ValueError("not a revision")
        return cls(epoch, number, mark)


@dataclass(frozen=True, slots=True)
class Resource:
    """A document in a store, and the number of the revision that changed it last (its ETag)."""

    key: Key
    document: Document
    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything in a store at one revision."""

    revision: Revision
    resources: Mapping[Key, Resource] = field(default_factory=lambda: MappingProxyType({}))

    def documents(self, kind: str) -> dict[str, Document]:
        """The documents of a kind by name, in the order of names."""
        found = {key.name: one.document for key, one in self.resources.items() if key.kind == kind}
        return dict(sorted(found.items()))

    def changed(self, revision: Revision, resources: Mapping[Key, Resource | None]) -> "Snapshot":
        """The snapshot of a later revision, in which these keys hold other resources, or none.

        Costs as little as these keys: see `layers`.
        """
        known = self.resources
        found = known.changed(resources) if isinstance(known, Layers) else Layers(known, resources)
        return Snapshot(revision, found)

    def changes_to(self, newer: "Snapshot") -> "Changes":
        """What makes the newer snapshot of this one: only what differs, so only that need be built anew."""
        gone = [
            Change(key, None, newer.revision.number) for key in self.resources if key not in newer.resources
        ]
        now = [
            Change(key, one.document, one.revision)
            for key, one in newer.resources.items()
            if key not in self.resources or self.resources[key].document != one.document
        ]
        return Changes(newer.revision, (*gone, *now))


@dataclass(frozen=True, slots=True)
class Change:
    """What a key holds from a revision on; a `document` of `None` means deleted."""

    key: Key
    document: Document | None
    revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """One or more whole revisions: the last change of each key, and the revision that they lead to."""

    revision: Revision
    changes: tuple[Change, ...]

    def applied_to(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot that they make of an earlier one."""
        return snapshot.changed(
            self.revision,
            {
                one.key: None if one.document is None else Resource(one.key, one.document, one.revision)
                for one in self.changes
            },
        )


Update = Changes | Snapshot
"""What a watch gives: changes, or everything anew where the history between was not to be had."""


@dataclass(frozen=True, slots=True)
class Write:
    """Puts a document under a key, or deletes the key (`document=None`)."""

    key: Key
    document: Document | None


def new_mark() -> str:
    """A mark for a transaction: 12 characters that no other has."""
    return secrets.token_hex(6)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Writes that happen all or not at all, and what must hold for them.

    `expected` says for keys, written or not, which revision's number they must have (`None`: must not exist);
    `expected_revision` says it for the whole store. `mark` makes it safe to apply the same transaction again after
    `StoreUnavailable`: what was done already is not done twice.
    """

    writes: tuple[Write, ...]
    author: str = ""
    note: str = ""
    expected: Mapping[Key, int | None] = field(default_factory=lambda: MappingProxyType({}))
    expected_revision: Revision | None = None
    known: Snapshot | None = None
    """What the writer holds at `expected_revision`: a store need not read again what it is about to change."""
    finishes_later: bool = False
    """Whether `apply` may return as soon as it cannot be lost any more; `finished` then waits for what is left."""
    mark: str = field(default_factory=new_mark)

    def __post_init__(self) -> None:
        for write in self.writes:
            checked_key(*write.key)
        if len({write.key for write in self.writes}) != len(self.writes):
            raise ValueError("a transaction writes a key twice")


@dataclass(frozen=True, slots=True)
class Edit:
    """What a revision did to a key: the document before (`None`: there was none) and after (`None`: deleted)."""

    key: Key
    before: Document | None
    after: Document | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A revision in the history: who, when (UTC, by the store's clock), why, what."""

    revision: Revision
    at: datetime
    author: str
    note: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class RegisteredNode:
    """A registered node and its properties."""

    name: str
    facts: Document


@dataclass(frozen=True, slots=True)
class Health:
    """How a store's connection is: `error` is the last failure while it is not connected."""

    is_connected: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a store waits, in seconds."""

    spread_s: float = 10
    """Over how long the first tries after a cut, and the full reads after a compaction, are spread by chance, so
    that all nodes do not come back in the same moment."""
    longest_s: float = 30
    """The longest pause between two tries."""
    poll_s: float = 30
    """How often the store is asked although nothing was heard."""
    keepalive_s: float = 10
    """How often a quiet connection is tried."""
    response_s: float = 10
    """How long the store may take for one response."""


class Store(Protocol):
    """A store of configuration; `headgate.stores.open_store` makes one from a URL.

    Every call may raise `StoreUnavailable` (ask again later) and `StoreCorrupt`, except as said.
    """

    async def load(self) -> Snapshot:
        """Everything, at the newest revision."""
        ...

    def watch(self, since: Revision | None = None) -> AsyncIterator[Update]:
        """The changes after a revision, without end: whole revisions only, in order, each exactly once.

        The first update is a `Snapshot` where `since` is `None`, compacted, of another epoch or of another history.
        A cut is waited out (with back-off and jitter) and never raises; `health` tells of it. A consumer that is
        slow gets several revisions in one `Changes`. What cannot be read (garbage) is in `health` and asked for again,
        too; nothing but cancellation ends a watch before `close`.
        """
        ...

    async def apply(self, transaction: Transaction) -> Revision:
        """Does a transaction; gives its revision. One that changes nothing gives the newest and makes none.

        Raises `StoreConflict` where an expectation does not hold, `StoreReadOnly` where nothing can be written.
        """
        ...

    def foresee(self, transaction: Transaction) -> None:
        """Begins to read what a transaction needs that will be applied next, while its author waits for other things.

        Whether that is used, and whether it is still right, is up to `apply`; raises nothing.
        """
        ...

    async def finished(self) -> None:
        """Waits for what is left of a transaction that `finishes_later`; raises nothing."""
        ...

    async def history(
        self, *, limit: int = 100, before: int | None = None, key: Key | None = None
    ) -> Sequence[Entry]:
        """The newest entries first, below the number `before`, of all keys or one."""
        ...

    async def at(self, number: int) -> Snapshot:
        """Everything as it was at a revision's number; raises `RevisionCompacted` for older ones and `LookupError`
        for newer ones."""
        ...

    async def compact(self, *, keep: int | None = None, older_than: timedelta | None = None) -> int:
        """Forgets history: all but the last `keep` revisions that are also older than `older_than` (at least one
        of both). Gives the oldest number that `at` still knows."""
        ...

    def announce(self, node: str, facts: Document, *, ttl_s: float = 15) -> AbstractAsyncContextManager[None]:
        """While inside, the node is among `nodes`; it vanishes at the end, or `ttl_s` seconds after its death."""
        ...

    async def nodes(self) -> Sequence[RegisteredNode]:
        """The registered nodes, by name."""
        ...

    @property
    def health(self) -> Health:
        """How the connection is; raises nothing."""
        ...

    async def close(self) -> None:
        """Ends watches and the connection; raises nothing."""
        ...

    async def __aenter__(self) -> "Store": ...

    async def __aexit__(self, *_: object) -> None: ...
