"""Consumers as plugins see them: found by their credentials, in force as soon as they are changed."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHA256 = "sha256:"


@dataclass(frozen=True)
class Consumer:
    """Somebody who uses the gateway."""

    name: str
    groups: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SigningKey:
    """A key that a consumer signs with: JSON Web Tokens with `algorithm`, or requests (`HMAC`)."""

    consumer: Consumer
    algorithm: str
    key: str = field(repr=False)


class Consumers:
    """The consumers of the gateway; what finds one takes a time that tells nothing of the credentials of others."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self.replace({})

    def replace(self, plain: Mapping[str, Any]) -> None:
        """Takes others in the place of all."""
        self._named: dict[str, Consumer] = {}
        self._keys: dict[bytes, Consumer] = {}
        self._passwords: dict[str, tuple[bytes, Consumer]] = {}
        self._signing: dict[tuple[str, str], SigningKey] = {}
        self._certificates: dict[str, Consumer] = {}
        for name, one in plain.items():
            consumer = Consumer(name, tuple(one["groups"]), dict(one["labels"]))
            self._named[name] = consumer
            self._keys |= {self._tag(_digest(key)): consumer for key in one["keys"]}
            self._passwords |= {user: (_digest(password), consumer) for user, password in one["basic"]}
            self._signing |= {
                ("jwt", key_id): SigningKey(consumer, algorithm, key) for key_id, algorithm, key in one["jwt"]
            }
            self._signing |= {
                ("hmac", key_id): SigningKey(consumer, "HMAC", key) for key_id, key in one["hmac"]
            }
            self._certificates |= dict.fromkeys(one["certificates"], consumer)

    def __len__(self) -> int:
        return len(self._named)

    def named(self, name: str) -> Consumer | None:
        """The one of this name."""
        return self._named.get(name)

    def with_key(self, key: str) -> Consumer | None:
        """Who has this key."""
        return self._keys.get(self._tag(hashlib.sha256(_bytes(key)).digest()))

    def with_password(self, username: str, password: str) -> Consumer | None:
        """Who has this name and password."""
        wanted, consumer = self._passwords.get(username, (b"", None))
        given = hashlib.sha256(_bytes(password)).digest()
        return consumer if hmac.compare_digest(wanted, given) else None

    def jwt_key(self, key_id: str) -> SigningKey | None:
        """The key that tokens call so, in `kid` or `iss`."""
        return self._signing.get(("jwt", key_id))

    def hmac_key(self, key_id: str) -> SigningKey | None:
        """The secret that requests call so."""
        return self._signing.get(("hmac", key_id))

    def with_certificate(self, fingerprint: str) -> Consumer | None:
        """Whose client certificate has this SHA-256 fingerprint, in hex."""
        return self._certificates.get(fingerprint.replace(":", "").lower())

    def _tag(self, digest: bytes) -> bytes:
        # Keyed with a secret of this process: how long a look-up takes tells a client nothing of the keys.
        return hashlib.blake2b(digest, digest_size=32, key=self._secret).digest()


def _digest(key: str) -> bytes:
    hexed = key.removeprefix(SHA256)
    return bytes.fromhex(hexed) if hexed != key else hashlib.sha256(_bytes(key)).digest()


def _bytes(text: str) -> bytes:
    """As it came: a header field may hold bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")
