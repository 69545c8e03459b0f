"""Routes of a file that name an upstream or a set of plugins of the store, while the store has none of that name.

How it works: such a route responds with 503, and nothing of its own runs: without a plugin of its set, which may ask
for a key, it must let nobody in. The gateway starts, so that the resource can be added by its Admin API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.config.routes import RespondConfig, RouteConfig
from headgate.route import Route

if TYPE_CHECKING:
    from headgate._parts import Parts

UNAVAILABLE = RespondConfig(
    status=503,
    headers={"content-type": "text/plain; charset=utf-8", "retry-after": "5"},
    body="service unavailable\n",
)


def take_out_awaiting(parts: Parts, count: int) -> dict[str, str]:
    """Puts a 503 in the place of each of the first `count` routes that misses something; gives what, by route."""
    found: dict[str, str] = {}
    for position, route in enumerate(parts.routes[:count]):
        if missing := _missing(route.config, parts):
            found[route.name] = missing
            parts.routes[position] = _unavailable(route)
    return found


def _missing(route: RouteConfig, parts: Parts) -> str | None:
    if route.to and ":" not in route.to and route.to not in parts.upstreams:
        return f"upstreams/{route.to}"
    absent = (f"plugin-sets/{name}" for name in route.plugin_sets if name not in parts.plugin_sets)
    return next(absent, None)


def _unavailable(route: Route) -> Route:
    nothing = {"to": None, "redirect": None, "files": None, "strip_prefix": None, "replace_prefix": None}
    config = route.config.model_copy(update={**nothing, "plugin_sets": (), "respond": UNAVAILABLE})
    made = Route(config, None, route.place)
    made.when = route.when
    return made
