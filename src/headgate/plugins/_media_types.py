"""Which bodies a plugin changes: by media type, and not where that is forbidden."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator

from headgate import ConfigError

PATTERN = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+*-]+|\*")
LONGEST = 300
"""Characters of a Content-Type that are looked at, as what is remembered is bounded."""


CHARSET = re.compile(r"charset\s*=\s*\"?([^\s;\"]*)")
OF_THE_OLD_BODY = ("etag", "last-modified", "accept-ranges")
"""What describes a body, and not the one that a plugin makes of it."""


def charset_of(headers: Any) -> str | None:
    """The charset that the Content-Type says, in lower case; None if it says none."""
    found = CHARSET.search(headers.get("content-type", "").lower().partition(";")[2])
    return found[1] or None if found else None


def checked_types(types: list[str]) -> list[str]:
    """Types in lower case; raises `ConfigError` for what is not `text/html`, `text/*` or `*`."""
    for one in types:
        if not PATTERN.fullmatch(one.lower()):
            raise ConfigError(f"`{one}` is not a valid media type", hint="write `text/html`")
    return [one.lower() for one in types]


MediaTypes = Annotated[list[str], AfterValidator(checked_types)]
"""Types of bodies that a plugin is for."""


def is_of(headers: Any, types: Sequence[str]) -> bool:
    """Whether the Content-Type is one of them."""
    return _is_of(headers.get("content-type", "")[:LONGEST], tuple(types))


@lru_cache(1024)
def _is_of(content_type: str, types: tuple[str, ...]) -> bool:
    kind = content_type.lower().partition(";")[0].strip()
    return any(one in ("*", kind, f"{kind.partition('/')[0]}/*") for one in types)


def is_changeable(status: int, headers: Any) -> bool:
    """Whether there is a whole body that may be changed (RFC 9110 sections 7.7 and 15.3.7)."""
    if status in (204, 206, 304) or "content-range" in headers:
        return False
    return "cache-control" not in headers or not any(
        "no-transform" in line.lower() for line in headers.get_all("cache-control")
    )


def weight(accept: str, kind: str) -> tuple[float, int]:
    """How much a client with this `Accept` wants a media type (RFC 9110 section 12.5.1), from 0 to 1; and of equal
    weights how closely it names it.
    """
    best = (0.0, 0)
    for part in accept[:2000].split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        wanted = (kind, f"{kind.partition('/')[0]}/*", "*/*")
        if name.lower() in wanted:
            said = next((one[2:] for one in parameters if one.startswith("q=")), "1")
            value = float(said) if re.fullmatch(r"[01](\.[0-9]{0,3})?", said) else 0.0
            best = max(best, (value, -wanted.index(name.lower())))
    return best
