"""Paths that are rewritten by patterns: what plugins that lead elsewhere have in common."""

from __future__ import annotations

import re

from headgate import Pattern

LEADING = re.compile(r"[/\\]+")
NOT_RAW = re.compile(r"[^\x21-\x7e]")


class PathRule:
    """A pattern for whole paths, and what they become."""

    def __init__(self, match: str, to: str) -> None:
        self._pattern = Pattern(f"^(?:{match})$")
        self._to = to

    def made(self, path: str) -> str | None:
        """What the path becomes; none if the rule is not for it."""
        if not self._pattern.search(path):
            return None
        made = self._pattern.replace(path, self._to)
        return NOT_RAW.sub(
            lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace")), made
        )


def rooted(path: str) -> str:
    """The path with one slash at its beginning: `//evil.example` would be another host for browsers and servers."""
    return "/" + LEADING.sub("", path, count=1) if LEADING.match(path) else f"/{path}"
