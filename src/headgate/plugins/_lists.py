"""Lists of texts and patterns: what several blockers have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from headgate import Pattern
from headgate.native import AskFound

ENTRIES = "texts that are contained, in any case, or `~pattern`"

SAME = re.compile(r"(?:[A-Za-z0-9 _./|()?*+^$:=!@%,;~'\"-]|\\[.dwsb/?+*$^()|\\-])*")
"""Patterns that mean the same to native actions: without sets, counts, and names of groups."""


def checked_entries(entries: list[str]) -> list[str]:
    """The setting, if it is valid; raises `ConfigError`."""
    Entries(entries)
    return entries


EntryList = Annotated[list[str], AfterValidator(checked_entries)]
"""Texts, and patterns after a `~`."""


class Entries:
    """Whether one of the entries is in a text: plain ones in any case, `~pattern` in linear time, all in one pass."""

    def __init__(self, entries: Sequence[str]) -> None:
        for one in entries:
            if one.startswith("~"):
                Pattern(one[1:], ignore_case=True)
        self._plain = tuple(one.lower() for one in entries if not one.startswith("~"))
        self._patterns = [one[1:] for one in entries if one.startswith("~")]
        joined = "|".join(f"(?:{one})" for one in self._patterns)
        self._pattern = Pattern(joined, ignore_case=True) if joined else None

    def natively(self, of: str) -> AskFound | None:
        """The action that asks where an entry may be in that part of a request; none if only `match` can tell."""
        is_plain = all(one.isascii() for one in self._plain)
        if not is_plain or not all(SAME.fullmatch(one) for one in self._patterns):
            return None
        return AskFound(of, self._plain, self._patterns)

    def match(self, text: str) -> bool:
        """Whether an entry is in `text`."""
        lowered = text.lower()
        return any(one in lowered for one in self._plain) or (
            self._pattern is not None and self._pattern.search(text)
        )

    def __bool__(self) -> bool:
        return bool(self._plain) or self._pattern is not None
