"""What pgwatch gives: items, events, positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Position:
    """A state of the whole: `epoch` says which database, `mark` which of two histories with this revision."""

    epoch: str
    revision: int
    mark: str


@dataclass(frozen=True, slots=True)
class Item:
    """A key and what it holds; `created` and `modified` are revisions, `version` counts the writes since then."""

    key: str
    value: bytes
    created: int
    modified: int
    version: int
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """Items in the order of their keys, and the position they were read at."""

    position: Position
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Event:
    """What a revision did to a key; a `value` of `None` means deleted."""

    revision: int
    key: str
    value: bytes | None
    created: int
    version: int
    lease: int | None = None

    @property
    def is_delete(self) -> bool:
        """Whether the key is gone."""
        return self.value is None


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of whole revisions, in order, and the position they lead to."""

    position: Position
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Transition:
    """An event with what was before it, who did it and when (by the server's clock)."""

    event: Event
    before: bytes | None
    former: int | None
    at: datetime
    author: str
    note: str
    mark: str


def prefix_end(prefix: str) -> str | None:
    """The first text that is behind all with this prefix, by code points; `None` where there is none."""
    while prefix:
        last = ord(prefix[-1]) + 1
        prefix = prefix[:-1]
        if last <= 0x10FFFF:
            return prefix + chr(0xE000 if 0xD800 <= last < 0xE000 else last)
    return None
