"""Documents as stores hold them: JSON in one canonical spelling, so that equal documents are equal bytes."""

import json
from typing import Any

from headgate.stores.base import Document, Key, checked_key
from headgate.stores.errors import StoreCorrupt

MOST_DOCUMENT_BYTES = 16 * 1024 * 1024


def encoded(document: Document) -> str:
    """The canonical JSON of a document: sorted keys, no spaces, ASCII.

    Raises `ValueError` for what JSON cannot say (NaN, other types) and for more than 16 MiB.
    """
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"a document that is not JSON: {error}") from None
    if len(text) > MOST_DOCUMENT_BYTES:
        raise ValueError(f"a document of {len(text)} bytes\n  hint: at most {MOST_DOCUMENT_BYTES}")
    return text


def decoded(text: str | bytes, where: str) -> dict[str, Any]:
    """A document again; raises `StoreCorrupt` naming `where` for anything but a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise StoreCorrupt(f"`{where}` does not hold JSON") from None
    if not isinstance(value, dict):
        raise StoreCorrupt(f"`{where}` does not hold a JSON object")
    return value


def key_of(text: str, where: str) -> Key:
    """A key from `kind/name`; raises `StoreCorrupt` for others."""
    kind, _, name = text.partition("/")
    try:
        return checked_key(kind, name)
    except ValueError as error:
        raise StoreCorrupt(f"`{where}`: {str(error).splitlines()[0]}") from None
