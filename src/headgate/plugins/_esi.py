"""Edge Side Includes (a subset of ESI 1.0): pages as parts, of which some are fetched."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

ATTRIBUTE = re.compile(rb"\s+([a-z]{1,20})\s*=\s*(?:\"([^\"]{0,2048})\"|'([^']{0,2048})')")
TOKEN = re.compile(
    rb"(?P<open><!--esi(?=[\s<]))|(?P<close>-->)|</esi:(?P<end>[a-z]{1,20})\s{0,20}>"
    rb"|<esi:(?P<name>[a-z]{1,20})(?P<attributes>(?:" + ATTRIBUTE.pattern + rb"){0,8})\s{0,20}(?P<empty>/?)>"
)
VARIABLE = re.compile(r"\$\(([A-Z_]{1,40})(?:\{([^{}()|]{1,100})\})?(?:\|([^()]{0,200}))?\)")


class BadPage(ValueError):
    """A page whose markup of ESI is not whole."""


class Include(NamedTuple):
    """A fragment that belongs here."""

    src: str
    alt: str | None
    may_fail: bool
    """Whether nothing stands there if neither can be had."""


class Variables:
    """What pages may know of the request: names, and keys of some."""

    def __init__(self, values: Mapping[str, str], keyed: Mapping[str, Mapping[str, str]]) -> None:
        self._values = values
        self._keyed = keyed

    def in_text(self, text: str) -> str:
        """The text with their values, which stay text."""
        return VARIABLE.sub(lambda found: html.escape(self._value(found)), text)

    def in_url(self, url: str) -> str:
        """The URL with their values, which stay one part of it."""
        return VARIABLE.sub(lambda found: quote(self._value(found), safe=""), url)

    def _value(self, found: re.Match[str]) -> str:
        name, key, default = found.groups()
        value = self._values.get(name) if key is None else self._keyed.get(name, {}).get(key)
        return value or (default or "").strip("'")


def parts(page: bytes, variables: Variables) -> list[bytes | Include]:
    """The page without comments and what is removed; raises `BadPage`."""
    return _Reader(page, variables).read()


class _Reader:
    def __init__(self, page: bytes, variables: Variables) -> None:
        self._page = page
        self._variables = variables
        self._made: list[bytes | Include] = []
        self._open: list[str] = []
        """`remove` and `vars` that are open, the inner one last."""
        self._is_hidden = False
        """Within `<!--esi`."""

    def read(self) -> list[bytes | Include]:
        at = 0
        for token in TOKEN.finditer(self._page):
            self._text(self._page[at : token.start()])
            at = token.end()
            if not self._taken(token):
                self._text(token[0])
        if self._open or self._is_hidden:
            raise BadPage(f"`{self._open[-1] if self._open else '<!--esi'}` is not closed")
        self._text(self._page[at:])
        return self._made

    def _text(self, text: bytes) -> None:
        if not text or "remove" in self._open:
            return
        if "vars" in self._open:
            text = self._variables.in_text(text.decode("utf-8", "surrogateescape")).encode(
                "utf-8", "surrogateescape"
            )
        self._made.append(text)

    def _taken(self, token: re.Match[bytes]) -> bool:
        """Whether it is markup that is understood; other elements stay as they are."""
        if token["open"]:
            is_first = not self._is_hidden
            self._is_hidden = True
            return is_first
        if token["close"]:
            was_hidden, self._is_hidden = self._is_hidden, False
            return was_hidden
        if token["end"]:
            return self._ended(token["end"].decode())
        name, is_empty = token["name"].decode(), bool(token["empty"])
        if name in ("remove", "vars") and not is_empty:
            self._open.append(name)
            return True
        if name == "include" and "remove" not in self._open:
            self._include(token["attributes"])
        return name in ("include", "comment", "remove", "vars")

    def _ended(self, name: str) -> bool:
        if name in ("remove", "vars"):
            if not self._open or self._open.pop() != name:
                raise BadPage(f"`{name}` is closed, but not open")
            return True
        return name in ("include", "comment")

    def _include(self, attributes: bytes) -> None:
        said = {
            found[1].decode(): html.unescape((found[2] or found[3] or b"").decode("utf-8", "replace"))
            for found in ATTRIBUTE.finditer(attributes)
        }
        if not said.get("src"):
            raise BadPage("`include` has no `src`")
        alt = said.get("alt")
        self._made.append(
            Include(
                self._variables.in_url(said["src"]),
                self._variables.in_url(alt) if alt else None,
                said.get("onerror") == "continue",
            )
        )
