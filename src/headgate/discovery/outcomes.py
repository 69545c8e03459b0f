"""What a lookup comes to."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Resolved(NamedTuple):
    """There are records: addresses, SRV records, or the servers of a list in its order."""

    records: frozenset[str] | tuple[str, ...]
    ttl_s: float
    """How long they hold, in seconds."""


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
