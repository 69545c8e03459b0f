"""Whole numbers in what others write: of ASCII digits alone.

Python's `int` takes more than protocols do: `+1`, ` 1`, `1_0`, digits of other scripts. Two readers of one message
would then see two lengths of a body, and numbers of thousands of digits raise where nobody expects it.
"""

from __future__ import annotations

import re
from typing import Final

_DECIMAL: Final = re.compile("[0-9]{1,20}")
_HEX: Final = re.compile("[0-9A-Fa-f]{1,16}")


def whole_number(text: str | bytes) -> int | None:
    """The number that is written in 1 to 20 decimal digits (RFC 9110 section 8.6); None for anything else."""
    return int(shown) if _DECIMAL.fullmatch(shown := _shown(text)) else None


def hex_number(text: str | bytes) -> int | None:
    """The number that is written in 1 to 16 hexadecimal digits (RFC 9112 section 7.1); None for anything else."""
    return int(shown, 16) if _HEX.fullmatch(shown := _shown(text)) else None


def _shown(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("latin-1")
