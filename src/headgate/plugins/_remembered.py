"""Verdicts on texts that come again and again: paths, header fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Remembered(dict[str, T]):
    """What a function gives for a text, found once: `remembered[text]`. The function depends on nothing else.

    It forgets all when it holds `most` texts, and keeps none longer than `longest`, so clients cannot fill the memory.
    """

    def __init__(self, find: Callable[[str], T], *, most: int = 4096, longest: int = 256) -> None:
        super().__init__()
        self._find = find
        self._most = most
        self._longest = longest

    def __missing__(self, text: str) -> T:
        found = self._find(text)
        if len(text) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[text] = found
        return found
