"""Lists of texts and patterns: what several blockers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from headgate import Pattern

ENTRIES = "texts that are contained, in any case, or `~pattern`"


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
        patterns = [f"(?:{one[1:]})" for one in entries if one.startswith("~")]
        self._pattern = Pattern("|".join(patterns), ignore_case=True) if patterns else None

    def match(self, text: str) -> bool:
        """Whether an entry is in `text`."""
        lowered = text.lower()
        return any(one in lowered for one in self._plain) or (
            self._pattern is not None and self._pattern.search(text)
        )

    def __bool__(self) -> bool:
        return bool(self._plain) or self._pattern is not None
