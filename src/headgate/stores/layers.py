"""A table of which most stays from one state to the next: what differs lies on top, so that a change costs no copy.

How it works: a copy of ten thousand entries touches each of them, which costs more than all else that a store's user
does for a change. So a few changed entries are kept beside a table that many states share. When they are many, or
somebody goes through all of it, a table of its own is made, once.
"""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from types import MappingProxyType
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST_ON_TOP = 64
"""Changed entries that are copied with each state."""


class Layers(Mapping[K, V]):
    """An immutable table; `changed` with None for what is gone."""

    __slots__ = ("_below", "_on_top")

    def __init__(self, below: Mapping[K, V], changed: Mapping[K, V | None]) -> None:
        self._below, self._on_top = below, dict(changed)
        if len(self._on_top) > MOST_ON_TOP:
            self._whole()

    def changed(self, changed: Mapping[K, V | None]) -> "Layers[K, V]":
        """The table in which these entries differ."""
        return Layers(self._below, {**self._on_top, **changed})

    def __getitem__(self, key: K) -> V:
        on_top = self._on_top  # read first: see `_whole`
        if key not in on_top:
            return self._below[key]
        found = on_top[key]
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[K]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return repr(self._whole())

    def keys(self) -> KeysView[K]:
        """See `Mapping`."""
        return self._whole().keys()

    def values(self) -> ValuesView[V]:
        """See `Mapping`."""
        return self._whole().values()

    def items(self) -> ItemsView[K, V]:
        """See `Mapping`."""
        return self._whole().items()

    def _whole(self) -> Mapping[K, V]:
        """One table; may be called in any thread: what lies on top says the same of the old table and the new one."""
        on_top = self._on_top
        if on_top:
            known = self._below
            # a copy of a table hashes no key again
            found = known.copy() if isinstance(known, MappingProxyType | dict) else dict(known)
            for key, value in on_top.items():
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value
            self._below = found
            self._on_top = {}
        return self._below
