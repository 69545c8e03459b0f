"""Routes that no request can reach, since another one takes all that they would take: told by `headgate check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from headgate.config.errors import Problem
from headgate.config.patterns import EVERY_PATH, covers, same_paths
from headgate.config.routes import RouteConfig
from headgate.route import Route

MOST_PAIRS = 1_000_000
"""Pairs of a wide route and another that are looked at, which takes about a second."""


def unreachable(routes: Sequence[Route]) -> Iterator[Problem]:
    """One for each route all of whose requests an earlier or more important one takes."""
    ordered = routes
    if any(one.config.priority for one in routes):
        ordered = sorted(routes, key=lambda one: -one.config.priority)  # in listed order among equals
    told: set[int] = set()
    for route, first in (*_alike(ordered), *_below_wider_ones(ordered)):
        if id(route) not in told:
            told.add(id(route))
            yield Problem(
                f"route `{route.name}` never matches: `{first.name}` at {first.where} matches all its requests first",
                "remove one of them, or give it another `path`, `host`, `methods`, `headers`, `query` or `priority`",
                route.where,
            )


def _alike(ordered: Sequence[Route]) -> Iterator[tuple[Route, Route]]:
    """Routes with the same conditions as one before them, and no method besides."""
    taken: dict[tuple[object, ...], tuple[Route, set[str]]] = {}
    spelled = [same_paths(route.config.path) for route in ordered]
    paths = Counter(spelled)
    for route, path in zip(ordered, spelled, strict=True):
        if route.when is not None or paths[path] < 2:
            continue
        conditions, methods = (path, *_conditions(route.config)), set(route.config.methods)
        if conditions not in taken:
            taken[conditions] = (route, methods)
            continue
        first, known = taken[conditions]
        if not known or (methods and methods <= known):
            yield route, first
        elif not methods:
            taken[conditions] = (route, methods)
        else:
            known |= methods


def _below_wider_ones(ordered: Sequence[Route]) -> Iterator[tuple[Route, Route]]:
    """Routes below one of higher priority that asks for no more: priority comes before how exact a path is."""
    least = ordered[-1].config.priority if ordered else 0
    wide = [
        one
        for one in ordered
        if one.when is None and one.config.priority > least and _is_wide(one.config.path)
    ]
    if len(wide) * len(ordered) > MOST_PAIRS:
        return
    for first in wide:
        for route in ordered:
            if first.config.priority > route.config.priority and _takes_all(first.config, route.config):
                yield route, first


def _is_wide(path: str) -> bool:
    return path in EVERY_PATH or (path.endswith("*") and path.startswith("/") and "{" not in path)


def _takes_all(wide: RouteConfig, other: RouteConfig) -> bool:
    is_host = not wide.host or "*" in wide.host or (bool(other.host) and set(other.host) <= set(wide.host))
    is_method = not wide.methods or (bool(other.methods) and set(other.methods) <= set(wide.methods))
    return (
        is_host
        and is_method
        and wide.headers.items() <= other.headers.items()
        and wide.query.items() <= other.query.items()
        and covers(wide.path, other.path) is True
    )


def _conditions(config: RouteConfig) -> tuple[object, ...]:
    return (
        tuple(sorted(one.lower() for one in config.host)),
        tuple(sorted((name.lower(), wanted or "") for name, wanted in config.headers.items())),
        tuple(sorted((name, wanted or "") for name, wanted in config.query.items())),
    )
