"""What the file and a snapshot of the store come to together, compiled for the workers."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, NamedTuple

from headgate.compile.allocation import without_collecting
from headgate.compile.loading import load
from headgate.compile.resources import Merged, Parsed
from headgate.compile.sources import Sources, now_ns
from headgate.config.admin import AdminConfig
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.stores import Document, Snapshot
from headgate.worker.loaded import Loaded
from headgate.worker.source import loaded_gateway


class Built(NamedTuple):
    """A snapshot, merged with the file."""

    snapshot: Snapshot
    loaded: Loaded
    merged: Merged

    def explained(self, text: str) -> ConfigError:
        """What the engine says of it, as an error that names the resource."""
        return self.loaded.refused(text)


class Base:
    """The file, loaded once. What was read of documents is remembered: most stay from one snapshot to the next."""

    def __init__(self, file: Path) -> None:
        begun_ns = now_ns()
        self.file = file
        self.gateway = load(file)
        self._sources = Sources(begun_ns, (file,) if file.suffix == ".py" else ())
        self._known: Parsed = {}
        gc.collect()
        gc.freeze()  # what was loaded stays: later collections need not look at it

    @property
    def admin(self) -> AdminConfig | None:
        """What the file says of the Admin API."""
        given = self.gateway._parts.settings.get("admin")
        return None if given is None else GatewayConfig.parse({"admin": given}).admin

    def merged(self, documents: dict[str, dict[str, Document]]) -> Merged:
        """The file with documents by kind and name; raises `ConfigError`."""
        known = {key: value for key, value in self._known.items() if key[1] in documents.get(key[0], {})}
        merged = Merged(self.gateway, documents, known)
        self._known = known
        return merged

    @without_collecting()
    def build(self, snapshot: Snapshot) -> Built:
        """A snapshot compiled for the workers; raises `ConfigError` with every problem, each with its resource."""
        merged = self.merged(by_kind(snapshot))
        return Built(snapshot, loaded_gateway(merged.gateway, self.file, self._sources), merged)


def by_kind(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """The documents of a snapshot by kind and name."""
    found: dict[str, dict[str, Any]] = {}
    for key, resource in snapshot.resources.items():
        found.setdefault(key.kind, {})[key.name] = resource.document
    return found
