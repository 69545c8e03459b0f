"""The part of the snapshot that routes are: there may be many, and some are told alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .bandwidth import bandwidth_snapshot
from .consistency import Inconsistency
from .errors import Path as ConfigPath
from .model import GatewayConfig
from .routes import ACTIONS, RouteConfig
from .settings import Settings
from .units import milliseconds

NO_BOUND = (1 << 63) - 1
"""What the engine is told in place of the 0 that users write for no bound."""

HookLists = Mapping[str, Sequence[int | Mapping[str, Any]]]
"""For each phase, positions in the list of hooks, in running order; for body phases tables with `hook` and how it
takes the body."""


@dataclass(frozen=True)
class RouteCalls:
    """What one route calls in Python: positions in the list of hooks."""

    function: int | None
    hooks: HookLists


written = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""The text of a part of the snapshot."""

_ROUTES_AT_ONCE = 1000
"""Routes that are tables at a time, which take ten times as much memory as their text."""


def routes_snapshot(
    config: GatewayConfig, calls: Sequence[RouteCalls], upstreams: Mapping[str, int], folder: Path
) -> str:
    """The routes, without the brackets around them."""
    proxies = {name: {"proxy": {"upstream": position}} for name, position in upstreams.items()}
    made = (
        _route(
            name,
            route,
            own,
            proxies[route.to] if route.to is not None else _local_action(route, folder, ("routes", position)),
        )
        for position, (name, route, own) in enumerate(
            zip(route_names(config), config.routes, calls, strict=True)
        )
    )
    return ",".join(written(batch)[1:-1] for batch in _batches(made))


def route_snapshot(
    name: str, route: RouteConfig, calls: RouteCalls, upstreams: Mapping[str, int], folder: Path
) -> Mapping[str, Any]:
    """The engine's view of one route; raises `ConfigError` where something of it is not known."""
    if route.to is None:
        return _route(name, route, calls, _local_action(route, folder, ("routes", name)))
    if route.to not in upstreams:
        raise Inconsistency(("routes", name, "to"), f"there is no upstream `{route.to}`")
    return _route(name, route, calls, {"proxy": {"upstream": upstreams[route.to]}})


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(items, _ROUTES_AT_ONCE)):
        yield batch


def _route(name: str, route: RouteConfig, calls: RouteCalls, action: dict[str, Any]) -> dict[str, Any]:
    """What the route says; there may be many, so what it leaves out is left to the engine's defaults."""
    made: dict[str, Any] = {"name": name, "path": route.path, "action": action}
    if route.host and "*" not in route.host:
        made["hosts"] = route.host
    if unusual := route.model_fields_set - _USUAL:
        for key, (name, read) in _UNUSUAL.items():
            if key in unusual and (value := read(route)) not in (None, (), [], {}):
                made[name] = value
    if calls.function is not None:
        made["function"] = calls.function
    if calls.hooks and (hooks := {phase: places for phase, places in calls.hooks.items() if places}):
        made["hooks"] = hooks
    return made


_USUAL = frozenset(("name", "path", "host", *ACTIONS, "hooks", "when", "deadline", "on_error", "plugin_sets"))
"""Keys of a route that `_route` reads by themselves, or that are no part of what the engine is told."""

_UNUSUAL: dict[str, tuple[str, Callable[[RouteConfig], Any]]] = {
    "methods": ("methods", lambda route: route.methods),
    "headers": ("headers", lambda route: [*route.headers.items()]),
    "query": ("queries", lambda route: [*route.query.items()]),
    "priority": ("priority", lambda route: route.priority or None),
    "subset": ("subset", lambda route: route.subset),
    "strip_prefix": ("strip_prefix", lambda route: route.strip_prefix),
    "replace_prefix": ("replace_prefix", lambda route: route.replace_prefix),
    "max_body_bytes": (
        "max_body_bytes",
        lambda route: None if route.max_body_bytes is None else bound(route.max_body_bytes),
    ),
    "bandwidth": ("bandwidth", lambda route: bandwidth_snapshot(route.bandwidth)),
    "client_certificate": (
        "needs_client_certificate",
        lambda route: None if route.client_certificate is None else route.client_certificate == "required",
    ),
    "timeouts": ("timeouts", lambda route: waits_snapshot(route.timeouts)),
    "metrics": ("buckets", lambda route: route.metrics.bounds_us),
}
"""The other keys: what the engine calls each, and what it is told."""


def _local_action(route: RouteConfig, folder: Path, path: ConfigPath) -> dict[str, Any]:
    if route.redirect is not None:
        return {"redirect": {"status": route.redirect.status, "location": route.redirect.location}}
    if route.respond is not None:
        fixed = route.respond
        return {
            "respond": {
                "status": fixed.status,
                "headers": [[name.lower(), value] for name, value in fixed.headers.items()],
                "body": fixed.body,
            }
        }
    if route.files is not None:
        root = (folder / route.files.root).resolve()
        if not root.is_dir():
            raise Inconsistency((*path, "files"), f"`{route.files.root}` is not a folder", f"make `{root}`")
        return {"files": {"root": str(root), "index": list(route.files.index)}}
    return {"hooks": {}}


def waits_snapshot(waits: Settings) -> dict[str, int]:
    """The waits that are set, in milliseconds."""
    return {name: milliseconds(value) for name, value in waits.model_dump().items() if value is not None}


def bound(size: int) -> int:
    """A bound as the engine is told it."""
    return size or NO_BOUND


def route_names(config: GatewayConfig) -> list[str]:
    """The names of the routes as the engine knows them, each once."""
    return _unique(route.shown_name for route in config.routes)


def _unique(names: Iterable[str]) -> list[str]:
    """The names, with ` #2` and so on behind those that came before: logs and figures tell routes apart by them."""
    given: set[str] = set()
    latest: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        candidate, number = name, latest.get(name, 1)
        while candidate in given:
            number += 1
            candidate = f"{name} #{number}"
        latest[name] = number
        given.add(candidate)
        unique.append(candidate)
    return unique
