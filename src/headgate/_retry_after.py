"""`Retry-After`: how long a server asks to wait."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = re.compile("[0-9]+")
LONGEST_DIGITS = 20
"""Of a number; whoever says more wants no end."""


def retry_after_s(text: str, now_s: float) -> float | None:
    """Seconds, or a date as seconds from now, never negative (RFC 9110 section 10.2.3); None for what is neither.

    `now_s` is counted from 1970.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text[:LONGEST_DIGITS])
    try:
        date = parsedate_to_datetime(text)
        return max(date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_s, 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
