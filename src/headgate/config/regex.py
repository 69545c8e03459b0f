"""Regular expressions of settings: RE2, whose time grows with the text and not with what a client can make of it."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import ConfigError


class Pattern:
    """A regular expression in the syntax of RE2, without look-around and backreferences: linear time on any text.

    Raises `ConfigError` for one that is not valid, and where the library is not installed.
    """

    __slots__ = ("_set", "_whole", "text")

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        self.text = text
        engine = _engine()
        options = engine.Options()
        options.log_errors = False
        options.case_sensitive = not ignore_case
        try:
            self._whole: Any = engine.compile(text.encode("utf-8", "surrogateescape"), options)
        except engine.error as error:
            said = error.args[0]
            reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
            raise ConfigError(
                f"`{text}` is not a valid pattern: {reason}",
                hint="patterns use the syntax of RE2, without look-around and backreferences",
            ) from None
        self._set: Any = engine.Set.SearchSet(options)  # says yes or no at half the cost
        self._set.Add(text.encode("utf-8", "surrogateescape"))
        try:
            self._set.Compile()
        except engine.error:
            raise ConfigError("a pattern is too large", hint="write several that are shorter") from None

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in `text`."""
        return bool(self._set.Match(text.encode("utf-8", "surrogateescape")))

    def fullmatch(self, text: str) -> bool:
        """Whether it matches the whole of `text`."""
        return self._whole.fullmatch(text.encode("utf-8", "surrogateescape")) is not None

    def replace(self, text: str, by: str) -> str:
        """`text` with every match replaced; `\\1` to `\\9` in `by` are what the groups matched."""
        made: bytes = self._whole.sub(
            by.encode("utf-8", "surrogateescape"), text.encode("utf-8", "surrogateescape")
        )
        return made.decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def _engine() -> Any:
    try:
        return importlib.import_module("re2")
    except ImportError:
        raise ConfigError(
            "patterns in settings need the library `google-re2`", hint="pip install 'headgate[plugins]'"
        ) from None
