"""What a store of certificates holds, written into a node's folder as it changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from headgate.stores import Changes, Document, Key, Snapshot, Update

from .sealing import Seal, SealError

SHARED = ("accounts", "certificates", "on_demand", "challenges", "state")
"""The kinds of which each document is a file."""

log = logging.getLogger("headgate.acme")


def key_of(path: str) -> Key | None:
    """The key of a file by its path in the folder; `None` for what stays on the node."""
    kind, _, name = path.partition("/")
    if path == "state.json":
        return Key("state", "state.json")
    return Key(kind, name) if kind in SHARED and name else None


def path_of(key: Key) -> str | None:
    """The path of a document's file; `None` for what is none, and for names that lead elsewhere."""
    if key.kind not in SHARED:
        return None
    parts = key.name.split("/")
    for part in parts:
        if (
            not part
            or part.startswith(".")
            or not all(one.isascii() and (one.isalnum() or one in "-_.") for one in part)
        ):
            return None
    if key.kind == "state":
        return key.name if key.name == "state.json" else None
    is_challenge = key.kind == "challenges" and len(parts) == 2 and parts[0] in ("http", "alpn")
    return (
        f"{key.kind}/{key.name}" if is_challenge or (key.kind != "challenges" and len(parts) == 1) else None
    )


class Mirror:
    """See the module. `put` and `unlink` change files of the folder. Called from threads, one at a time."""

    def __init__(self, seal: Seal, put: Callable[[str, bytes], None], unlink: Callable[[str], None]) -> None:
        self._seal, self._put, self._unlink = seal, put, unlink
        self._lock = threading.Lock()
        self._at: dict[Key, int] = {}
        """The revision that each file is of."""
        self._content: dict[Key, bytes] = {}
        self._seen: dict[str, int] = {}
        self._refused: set[Key] = set()

    def take(self, update: Update) -> None:
        """Writes what has changed; raises `StorageError`."""
        if isinstance(update, Snapshot):
            for key in [one for one in self._content if one not in update.resources]:
                self._take_one(key, None, update.revision.number)
            for key, one in update.resources.items():
                self._take_one(key, one.document, one.revision)
        elif isinstance(update, Changes):
            for change in update.changes:
                self._take_one(change.key, change.document, change.revision)

    def _take_one(self, key: Key, document: Document | None, revision: int) -> None:
        if key.kind == "seen":
            number = document.get("number") if document else None
            self._seen[key.name] = number if type(number) is int else 0
            return
        path = path_of(key)
        with self._lock:
            if path is None or self._at.get(key, -1) >= revision:
                return
            if document is None:
                self._unlink(path)
                self._content.pop(key, None)
            else:
                try:
                    content = self._seal.open(str(key), document)
                except SealError as error:
                    self._refuse(key, error)
                    return
                self._put(path, content)
                self._content[key] = content
                self._refused.discard(key)
            self._at[key] = revision

    def wrote(self, key: Key, revision: int, content: bytes | None) -> None:
        """Notes what this node has written itself."""
        with self._lock:
            self._at[key] = max(revision, self._at.get(key, -1))
            if content is None:
                self._content.pop(key, None)
            else:
                self._content[key] = content

    def seen(self, node: str) -> int:
        """The newest revision with challenges that another node has taken."""
        return self._seen.get(node, -1)

    def can_open(self, key: Key) -> bool:
        """Whether a document could be read."""
        return key not in self._refused

    def _refuse(self, key: Key, error: SealError) -> None:
        if key not in self._refused:
            log.error("what other nodes have ordered cannot be read: %s", error)
        self._refused.add(key)
