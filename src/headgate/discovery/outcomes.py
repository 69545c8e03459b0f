"""What a lookup comes to."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Resolved(NamedTuple):
    """There are records: addresses, or the texts of what else was asked for; how long they hold, in seconds."""

    records: frozenset[str]
    ttl_s: float


class Nothing(NamedTuple):
    """The name has no such records, on good authority."""

    kind: Literal["nxdomain", "nodata"]
    """`nxdomain`: there is no such name; `nodata`: there is, with other records."""
    ttl_s: float | None
    """How long that holds (RFC 2308 section 5); None where the response does not say."""


class Failed(NamedTuple):
    """Nobody said anything of use."""

    reason: str


Outcome = Resolved | Nothing | Failed
