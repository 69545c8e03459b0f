"""What the file and a snapshot of the store come to together, compiled for the workers."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, cast

from headgate.compile.allocation import without_collecting
from headgate.compile.loading import load
from headgate.compile.order import compile_gateway
from headgate.compile.resources import Known, Merged, Parsed
from headgate.compile.route_differences import NeedsWhole, RouteDifferences
from headgate.compile.sources import Sources, now_ns
from headgate.config.admin import AdminConfig
from headgate.config.discovered import Sets
from headgate.config.errors import ConfigError, Where
from headgate.config.model import GatewayConfig
from headgate.config.resources import KINDS, parsed
from headgate.config.routes import RouteConfig
from headgate.config.settings import Settings
from headgate.route import Route
from headgate.stores import Document, Key, Resource, Snapshot
from headgate.worker.loaded import Loaded
from headgate.worker.source import loaded_gateway

MOST_ROUTES = 200
"""Of a difference; more of them are built with the whole."""

_NUMBERS = count(1)


class Difference(NamedTuple):
    """What differs from another configuration: only routes of resources."""

    base: str
    """The label of that."""
    told: str
    """For the engine, as JSON."""
    resources: dict[str, Any]
    """For those who load or keep resources; see `control.resource_memory`."""


@dataclass
class Built:
    """A snapshot, merged with the file."""

    snapshot: Snapshot
    loaded: Loaded
    """What workers take, of this or of the whole that differences were made to."""
    routes: RouteDifferences
    config: GatewayConfig
    """All of it, without what differences changed."""
    left_out: list[str]
    """What the file has itself, as `routes/NAME`."""
    awaiting: dict[str, str]
    """Routes of the file that miss a resource, and which."""
    merge: Callable[[], Merged]
    label: str = ""
    """What workers know it by; empty for what they have loaded themselves."""
    difference: Difference | None = None
    """How it differs from the one before, if it does in nothing but a few routes."""

    @cached_property
    def merged(self) -> Merged:
        """All of it."""
        return self.merge()

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
        self._newest: tuple[str, str, Document, Settings] | None = None
        """The document that was read last: whoever had it read is about to have it built."""
        self.found: Sets = {}
        """Servers that are known by a name."""
        gc.collect()
        gc.freeze()  # what was loaded stays: later collections need not look at it

    @property
    def admin(self) -> AdminConfig | None:
        """What the file says of the Admin API."""
        given = self.gateway._parts.settings.get("admin")
        return None if given is None else GatewayConfig.parse({"admin": given}).admin

    def parsed(self, kind: str, name: str, document: Document) -> Settings:
        """One document as its model; raises `ConfigError`."""
        if (newest := self._newest) and newest[:2] == (kind, name) and newest[2] is document:
            return newest[3]
        one = parsed(KINDS[kind], name, document)
        self._newest = (kind, name, document, one)
        return one

    def merged(self, documents: dict[str, dict[str, Document]]) -> Merged:
        """The file with documents by kind and name; raises `ConfigError`."""
        known = {key: value for key, value in self._known.items() if key[1] in documents.get(key[0], {})}
        merged = Merged(self.gateway, documents, known, self.found)
        self._known = known
        return merged

    @without_collecting()
    def build(self, snapshot: Snapshot) -> Built:
        """A snapshot compiled for the workers; raises `ConfigError` with every problem, each with its resource."""
        merged = self.merged(by_kind(snapshot))
        made = compile_gateway(merged.gateway)
        loaded = loaded_gateway(merged.gateway, self.file, self._sources, made)
        routes = RouteDifferences(made)
        return Built(
            snapshot,
            loaded,
            routes,
            made.config,
            merged.left_out,
            merged.awaiting,
            lambda: merged,
            f"{os.getpid()}.{next(_NUMBERS)}",
        )

    def differing(self, before: Built, snapshot: Snapshot, changed: Collection[Key]) -> Built | None:
        """A snapshot in which only these resources differ from those of `before`.

        None where it has to be built whole: more than routes differ, or something is wrong with them.
        """
        if not before.label or len(changed) > MOST_ROUTES:
            return None
        told: dict[str, list[Any]] = {"set": [], "removed": []}
        resources: dict[str, Any] = {"revision": str(snapshot.revision), "set": [], "removed": []}
        try:
            for key in changed:
                old, new = before.snapshot.resources.get(key), snapshot.resources.get(key)
                if old is new:
                    continue
                if key.kind != "routes":
                    return None
                config = None if old is None else self._route(key.name, old).config
                if new is not None:
                    fragment = before.routes.fragment(key.name, self._route(key.name, new), config)
                    told["set"].append(fragment)
                    resources["set"].append([*key, new.document, new.revision])
                elif config is not None:
                    before.routes.check_removal(key.name, config)
                    told["removed"].append(key.name)
                    resources["removed"].append([*key])
        except (ConfigError, NeedsWhole):
            return None
        return Built(
            snapshot,
            before.loaded,
            before.routes,
            before.config,
            before.left_out,
            before.awaiting,
            lambda: self.merged(by_kind(snapshot)),
            f"{os.getpid()}.{next(_NUMBERS)}",
            Difference(before.label, json.dumps(told), resources),
        )

    def _route(self, name: str, resource: Resource) -> Route:
        """A route without code, read once for as long as its document stays."""
        known = self._known.get(("routes", name))
        if known and known.document == resource.document and known.route:
            return known.route
        config = cast(RouteConfig, self.parsed("routes", name, resource.document))
        route = Route(config, None, Where(f"routes/{name}"))
        self._known["routes", name] = Known(resource.document, config, route)
        return route


def by_kind(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """The documents of a snapshot by kind and name."""
    found: dict[str, dict[str, Any]] = {}
    for key, resource in snapshot.resources.items():
        found.setdefault(key.kind, {})[key.name] = resource.document
    return found
