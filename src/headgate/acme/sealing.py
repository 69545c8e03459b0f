"""What is kept in a store, encrypted: AES-256 in GCM, with keys derived from secrets (HKDF, RFC 5869).

The first secret encrypts, every one decrypts: a new one is put before the old one, and the old one is removed once
everything is sealed with the new one. Where a document lies is authenticated too: none can take another's place.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12


class SealError(Exception):
    """A document cannot be opened with the keys that are there."""


class Seal:
    """Seals and opens documents; `given` are the secrets, the one that seals first."""

    def __init__(self, given: Sequence[str]) -> None:
        keys = [_derived(secret) for secret in given]
        self._keys = dict(keys)
        self._current = keys[0][0]

    def seal(self, where: str, content: bytes) -> dict[str, Any]:
        """The document that holds it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(self._keys[self._current]).encrypt(nonce, content, where.encode())
        return {"key": self._current, "sealed": base64.b64encode(sealed).decode()}

    def open(self, where: str, document: Mapping[str, Any]) -> bytes:
        """What a document holds; raises `SealError`."""
        key = self._keys.get(str(document.get("key")))
        if key is None:
            raise SealError(f"`{where}` is sealed with another key; hint: add it to `acme.store_keys`")
        try:
            sealed = base64.b64decode(str(document.get("sealed")), validate=True)
            return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], where.encode())
        except (InvalidTag, ValueError, binascii.Error):
            raise SealError(f"`{where}` was changed by somebody without the key, or is damaged") from None

    def is_current(self, document: Mapping[str, Any]) -> bool:
        """Whether the secret that seals now has sealed it."""
        return document.get("key") == self._current


def _derived(secret: str) -> tuple[str, bytes]:
    """The name of a key, which tells nothing about it, and the key."""
    derived = HKDF(hashes.SHA256(), 40, None, b"headgate acme store").derive(secret.encode())
    return derived[32:].hex(), derived[:32]
