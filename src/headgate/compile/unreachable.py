"""Routes that no request can reach, since another one takes all that they would take: told by `headgate check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from headgate.config.errors import Problem
from headgate.config.routes import RouteConfig
from headgate.route import Route


def unreachable(routes: Sequence[Route]) -> Iterator[Problem]:
    """One for each route that has the same conditions as an earlier or more important one, and no method besides."""
    taken: dict[tuple[object, ...], tuple[Route, set[str]]] = {}
    paths = Counter(route.config.path for route in routes)
    alike = [route for route in routes if route.when is None and paths[route.config.path] > 1]
    for route in sorted(alike, key=lambda one: -one.config.priority):  # in listed order among equals
        conditions, methods = _conditions(route.config), set(route.config.methods)
        if conditions not in taken:
            taken[conditions] = (route, methods)
            continue
        first, known = taken[conditions]
        if not known or (methods and methods <= known):
            yield Problem(
                f"route `{route.name}` takes no request: `{first.name}` at {first.where} has the same conditions",
                "remove one of them, or give it another `path`, `host`, `methods`, `headers` or `query`",
                route.where,
            )
        elif not methods:
            taken[conditions] = (route, methods)
        else:
            known |= methods


def _conditions(config: RouteConfig) -> tuple[object, ...]:
    return (
        config.path,
        tuple(sorted(one.lower() for one in config.host)),
        tuple(sorted((name.lower(), wanted or "") for name, wanted in config.headers.items())),
        tuple(sorted((name, wanted or "") for name, wanted in config.query.items())),
    )
