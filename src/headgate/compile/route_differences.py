"""What a change of a few routes comes to, without compiling all others again.

How it works: a gateway was compiled whole, and its engine has routes of resources that differences may replace. A
route is checked alone against what the whole has: names of upstreams, hooks, listeners. Wherever that could not be
enough, or something is wrong with it, `NeedsWhole` is raised: the whole says then what is to be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.config.errors import ConfigError
from headgate.config.model import Sending
from headgate.config.routes import RouteConfig
from headgate.config.snapshot_routes import route_snapshot
from headgate.route import Route

from .order import Compiled, check_responds


class NeedsWhole(Exception):
    """A change is more than a difference of routes."""


class RouteDifferences:
    """Compiles single routes of resources as they would be compiled with the whole."""

    def __init__(self, made: Compiled) -> None:
        self._made = made
        config, parts = made.config, made.context.parts
        self._positions = {name: position for position, name in enumerate(config.every_upstream())}
        first = parts.first_resource_route
        self._own = {route.config.name for route in parts.routes[:first]}
        streams: tuple[Sending, ...] = (*config.tls_routes, *config.tcp, *config.udp)
        own = {route.config.to for route in parts.routes[:first]}
        self._lasting = {*config.upstreams, *own, *(one.to for one in streams), None}
        """Targets that are there whatever becomes of the routes of resources."""
        self._asks_for_certificates = any(
            one.tls and one.tls.client_certificates.mode != "none" for one in config.listeners
        )
        self._takes_any = first is not None and not config.uses_acme and made.context.uses.are_for_every_route

    def fragment(self, name: str, route: Route, before: RouteConfig | None) -> Mapping[str, Any]:
        """What the engine is told of a route that is new or was `before`; raises `NeedsWhole`."""
        config, context = route.config, self._made.context
        self._check(name, config, before)
        if config.client_certificate == "required" and not self._asks_for_certificates:
            raise NeedsWhole
        known = len(context.table.specs)
        try:
            check_responds(route, context.parts, context.uses)
            calls = context.calls.of(route)
            told = route_snapshot(name, config, calls, self._positions, context.parts.folder)
        except ConfigError as error:
            raise NeedsWhole from error
        if len(context.table.specs) != known:
            raise NeedsWhole
        return told

    def check_removal(self, name: str, before: RouteConfig) -> None:
        """Raises `NeedsWhole` if more than this route would go."""
        self._check(name, None, before)

    def _check(self, name: str, route: RouteConfig | None, before: RouteConfig | None) -> None:
        if not self._takes_any or name in self._own or "/" in name or " #" in name:
            raise NeedsWhole
        if any(one is not None and _has_more(one) for one in (route, before)):
            raise NeedsWhole
        targets = {None if one is None else one.to for one in (route, before)}
        if len(targets) > 1 and not targets <= self._lasting:
            raise NeedsWhole  # addresses that only routes name are upstreams too


def _has_more(route: RouteConfig) -> bool:
    """Whether a route has what leads to other parts of the configuration."""
    return bool(route.when or route.hooks.model_fields_set or route.plugin_sets)
