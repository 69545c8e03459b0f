"""Shared dictionaries: what `gate.shared(name, size)` gives, and who holds the memory of it.

How it works: the memory belongs to the supervisor, so that it outlives workers and reloads. While a worker loads the
user's file it asks the supervisor for each dictionary (`OPENER`); elsewhere, as in `headgate check` or a test, a
dictionary is private to the process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from headgate import _core

from .config.errors import ConfigError

if TYPE_CHECKING:
    from .background.locks import Lock, Locks

Opener = Callable[[str, int], int]
"""Gives the descriptor of the dictionary of that name and size, which the caller then owns."""

OPENER: ContextVar[Opener | None] = ContextVar("headgate_dictionary_opener", default=None)
"""How this process comes by dictionaries; none: it makes its own."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Shared(_core.Dictionary):
    """A dictionary that all workers of a gateway share.

    Keys are `str` or `bytes` of 1 to 65535 bytes. Values are bytes, str, int, float, bool, None, or any JSON value,
    and keep their types. Every operation is atomic. Times to live are in seconds; None or 0 means no expiry. When it is
    full, the least recently used entries are evicted. Operations raise `TypeError` for values of the wrong type and
    `ValueError` for values that do not fit.
    """

    name: str
    _locks: Locks

    def __new__(cls, descriptor: int, name: str, locks: Locks) -> Self:
        """Maps the dictionary behind a descriptor, which stays the caller's."""
        self = super().__new__(cls, descriptor)
        self.name = name
        self._locks = locks
        return self

    def lock(self, name: str, *, timeout: float | str | None = None, ttl: float | str | None = None) -> Lock:
        """A lock of this dictionary's own; see `Gateway.lock`."""
        return self._locks.lock(f"{self.name}/{name}", timeout, ttl)

    def __iter__(self) -> Iterator[str]:
        """The keys there are now."""
        return iter(self.keys(None))

    def __repr__(self) -> str:
        return f"<shared dictionary `{self.name}` of {self.capacity} bytes>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a shared dictionary cannot be pickled; hint: refer to it in the function instead of passing it"
        )


def open_descriptor(name: str, size: int) -> int:
    """The descriptor of a dictionary, which the caller owns; `ConfigError` for a name or size that will not do."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"`{name}` is not a valid name for a shared dictionary", hint="use letters, digits, `_`, `-`, `.`"
        )
    opener = OPENER.get()
    try:
        return opener(name, size) if opener else _core.create_dictionary(size)
    except ValueError as error:
        text, _, hint = str(error).partition("\nhint: ")
        raise ConfigError(text, hint=hint or None) from None


def open_shared(name: str, size: int, locks: Locks) -> Shared:
    """The dictionary of that name and size."""
    descriptor = open_descriptor(name, size)
    try:
        return Shared(descriptor, name, locks)
    finally:
        os.close(descriptor)


def too_late(name: str, size: int) -> int:
    """The opener of a worker that has loaded: the supervisor is not asked while requests wait."""
    raise ConfigError(
        f"the shared dictionary `{name}` is created while the gateway is running",
        hint="call `gate.shared` at the top of the file, and use the result in hooks",
    )
