"""The folder where accounts, certificates and challenges lie.

| path | is |
|---|---|
| `certificates/NAME.pem` | chain and key of a name, RSA ones in `NAME.rsa.pem`; `*.` in a name is written `_.` |
| `on_demand/NAME.pem` | chain and key of a name that was ordered on demand, after a line that says when it is due |
| `wanted/NAME` | a worker's wish for one |
| `challenges/http/TOKEN`, `challenges/alpn/NAME.pem` | what workers show to authorities while an order is under way |
| `accounts/DIGEST.json` | the account at one authority, with its key |
| `state.json` | for each certificate: when it is due, failures, what went wrong |
| `lock`, `on_demand.lock` | held by the one process that orders |

Every file is written beside its place and renamed into it, readable by its owner alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from headgate._on_demand import DUE
from headgate.config.atomic_files import make_folders, replace_file

FOLDERS = (
    *("", "certificates", "on_demand", "wanted", "accounts"),
    *("challenges", "challenges/http", "challenges/alpn"),
)


class StorageError(Exception):
    """The folder cannot be used; nothing is ordered then, since what is ordered could not be kept."""


@dataclass(frozen=True)
class Certificate:
    """A certificate that is there: its PEM chain, its key as PEM, and its validity in UTC."""

    chain: bytes
    key: bytes
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


def file_name(name: str, key_type: str) -> str:
    """`example.com.pem`; `_.example.com.pem` for a wildcard."""
    suffix = "" if key_type == "ecdsa" else f".{key_type}"
    return f"{name.replace('*', '_')}{suffix}.pem"


class Storage:
    """See the module. Methods raise `StorageError` with the path where the folder refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account_lock = threading.Lock()
        """Held while an account is made: one is enough."""
        self.retry_s = 30.0
        """How long to wait before `ordering` is tried again where another process orders."""

    def prepare(self) -> None:
        """Makes the folders, and proves that what is written can be read back."""
        with self._told():
            for name in FOLDERS:
                make_folders(self.folder / name, mode=0o700)
            value = secrets.token_hex(8)
            probe = self.folder / f".probe-{value}"
            replace_file(probe, value.encode(), is_durable=False)
            if probe.read_text() != value:
                raise StorageError(f"what is written to `{self.folder}` cannot be read back")
            probe.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, name: str = "lock") -> Iterator[bool]:
        """Whether this process is the one that orders; the kernel frees the lock when its owner dies."""
        with self._told():
            descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """To be held while it is used: where it is shared, it changes meanwhile."""
        yield

    @contextlib.asynccontextmanager
    async def ordering(self, name: str = "lock") -> AsyncIterator[bool]:
        """As `locked`, for an event loop."""
        with self.locked(name) as is_ours:
            yield is_ours

    def certificate(self, name: str, key_type: str) -> Certificate | None:
        """The certificate of a name, if there is one that can be read."""
        try:
            pem = (self.folder / "certificates" / file_name(name, key_type)).read_bytes()
            chain, key = split(pem)
            leaf = x509.load_pem_x509_certificate(chain)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            return Certificate(
                chain,
                key,
                leaf.not_valid_before_utc,
                leaf.not_valid_after_utc,
                tuple(names.get_values_for_type(x509.DNSName)),
            )
        except (OSError, ValueError, x509.ExtensionNotFound):
            return None

    def put_certificate(self, name: str, key_type: str, chain: bytes, key: bytes) -> None:
        """Puts a certificate in force: listeners see it within a second."""
        self._put(f"certificates/{file_name(name, key_type)}", chain.rstrip(b"\n") + b"\n" + key)

    def put_on_demand(self, name: str, chain: bytes, key: bytes, renew_after: datetime) -> None:
        """Puts a certificate on demand in force: workers see it at once."""
        head = f"{DUE}{renew_after.timestamp():.0f}\n".encode()
        self._put(f"on_demand/{_checked(name)}.pem", head + chain.rstrip(b"\n") + b"\n" + key)

    def wanted(self) -> dict[str, float]:
        """The names for which workers want a certificate, and since when, in seconds since 1970."""
        found = {}
        with self._told(), os.scandir(self.folder / "wanted") as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_mtime
        return found

    def is_due(self, name: str, now: datetime) -> bool:
        """Whether a name has no certificate on demand, or one that is to be renewed."""
        try:
            with (self.folder / "on_demand" / f"{_checked(name)}.pem").open() as file:
                return float(file.readline().removeprefix(DUE)) <= now.timestamp()
        except (OSError, ValueError):
            return True

    def drop_expired(self, now: datetime) -> list[str]:
        """Deletes the certificates on demand that have expired, and gives their names.

        Nobody has asked for them since they were due; who does later gets a new one.
        """
        expired = []
        for path in sorted((self.folder / "on_demand").glob("*.pem")):
            try:
                is_expired = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc < now
            except (OSError, ValueError):
                continue  # what is none is told by those who would serve it
            if is_expired:
                self._drop(f"on_demand/{path.name}")
                expired.append(path.stem)
        return expired

    def drop_wanted(self, name: str) -> None:
        """Tells workers that a name's order is over."""
        with contextlib.suppress(OSError):
            (self.folder / "wanted" / name).unlink()

    def put_http_challenge(self, token: str, response: bytes) -> None:
        """What workers serve at `/.well-known/acme-challenge/TOKEN`."""
        self._put(f"challenges/http/{_checked(token)}", response)

    def put_alpn_challenge(self, name: str, pem: bytes) -> None:
        """What workers show a validation connection for that name: certificate and key."""
        self._put(f"challenges/alpn/{_checked(name)}.pem", pem)

    def drop_challenge(self, kind: str, name: str) -> None:
        """Takes a challenge away, `kind` being `http` or `alpn`."""
        self._drop(f"challenges/{kind}/{_checked(name)}{'.pem' if kind == 'alpn' else ''}")

    def account(self, directory: str) -> dict[str, Any] | None:
        """What is kept of the account at an authority."""
        return self._read_json(self._account_path(directory))

    def put_account(self, directory: str, account: dict[str, Any]) -> None:
        """Keeps an account, and proves that it is kept."""
        path = self._account_path(directory)
        self._put(path, json.dumps(account, indent=1).encode())
        if self._read_json(path) != account:
            raise StorageError(f"`{self.folder / path}` does not hold what was written")

    def state(self) -> dict[str, Any]:
        """What is kept of each certificate's renewal."""
        return self._read_json("state.json") or {}

    def put_state(self, state: dict[str, Any]) -> None:
        """Keeps it."""
        self._put("state.json", json.dumps(state, indent=1, sort_keys=True).encode())

    def _account_path(self, directory: str) -> str:
        return f"accounts/{hashlib.sha256(directory.encode()).hexdigest()[:32]}.json"

    def _read_json(self, path: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.folder / path).read_text())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _put(self, path: str, content: bytes) -> None:
        with self._told():
            replace_file(self.folder / path, content, is_durable=True)

    def _drop(self, path: str) -> None:
        with contextlib.suppress(OSError):
            (self.folder / path).unlink()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write `{error.filename or self.folder}`: {error.strerror}; hint: certificates are only ordered"
                " where they can be kept: make the folder writable, or set `acme.folder`"
            ) from error


def split(pem: bytes) -> tuple[bytes, bytes]:
    """Chain and key of one PEM text."""
    position = min(
        (at for at in (pem.find(b"-----BEGIN PRIVATE KEY"), pem.find(b"-----BEGIN EC PRIVATE")) if at >= 0),
        default=-1,
    )
    if position < 0:
        raise ValueError("no private key")
    key = pem[position:]
    serialization.load_pem_private_key(key, None)
    return pem[:position], key


def _checked(name: str) -> str:
    """Authorities choose tokens; one that is a path of its own is refused."""
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in name):
        raise StorageError(f"`{name[:80]}` is not a valid challenge token")
    if name.startswith(".") or len(name) > 200:
        raise StorageError(f"`{name[:80]}` is not a valid challenge token")
    return name
