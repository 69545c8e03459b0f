"""Which hooks of plugins run for which route, by what each plugin is used on.

How it works: a use on a pattern is compared with each route's path. Where every path of the route fits, the plugin's
method is called directly; where none does, it is not called; where only some do, a guard looks at each request's path,
in the spelling that the router matches, as it is when the hook runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from headgate._decorators import RegisteredHook, marked_body, registered
from headgate._hook_checks import Hook, is_async, shown_name
from headgate.config.errors import ConfigError, suggestion
from headgate.config.patterns import check_path, covers, matches_path, other_readings
from headgate.phases import PHASES
from headgate.plugin import On, Plugin, PluginUse
from headgate.route import Route, Upstream

if TYPE_CHECKING:
    from headgate._core import Request


class PluginUses:
    """All uses of one gateway, with what they are used on found."""

    def __init__(
        self, uses: Iterable[PluginUse], routes: Sequence[Route], upstreams: Mapping[str, Upstream]
    ) -> None:
        self._routes = routes
        self._by_plugin: dict[int, list[PluginUse]] = {}
        self._guarded: dict[tuple[object, ...], RegisteredHook] = {}
        for use in sorted(uses, key=_order):
            found = replace(use, on=_found(use, routes, upstreams))
            self._by_plugin.setdefault(id(use.plugin), []).append(found)

    def hooks(self, phase: str, route: Route | None) -> list[RegisteredHook]:
        """One hook at most for each plugin, however often it is used, in order of first use."""
        found = (self._hook(uses, phase, route) for uses in self._by_plugin.values())
        return [hook for hook in found if hook is not None]

    def closes(self) -> list[RegisteredHook]:
        """What gives back what plugins hold, in order of use."""
        plugins = [uses[0].plugin for uses in self._by_plugin.values()]
        return [
            replace(registered(PHASES["shutdown"], plugin.close), plugin=type(plugin).__name__)
            for plugin in plugins
            if type(plugin).close is not Plugin.close
        ]

    def refuse_unreached(self, why_no_server: Callable[[Route], str | None]) -> None:
        """Refuses a plugin with hooks for requests to servers where it is used on routes that send none."""
        for use in (use for uses in self._by_plugin.values() for use in uses if use.on is not None):
            for phase in (name for name in type(use.plugin).phases if PHASES[name].to_server):
                routes = [route for route in self._routes if _applies(use, phase, route) is not False]
                reasons = [why_no_server(route) for route in routes]
                if reasons and all(reasons):
                    raise ConfigError(
                        f"the `{phase}` hook of plugin `{type(use.plugin).__name__}` would never run: {reasons[0]}",
                        hint="use it where requests go to a server",
                        where=use.where,
                    )

    def _hook(self, uses: list[PluginUse], phase: str, route: Route | None) -> RegisteredHook | None:
        plugin = uses[0].plugin
        if phase not in type(plugin).phases:
            return None
        applying = [(use, verdict) for use in uses if (verdict := _applies(use, phase, route)) is not False]
        if not applying:
            return None
        first = next((use for use, verdict in applying if verdict), applying[0][0])
        patterns = (
            () if any(verdict for _, verdict in applying) else tuple(str(use.on) for use, _ in applying)
        )
        key = (id(plugin), phase, first.config.deadline, first.config.on_error, patterns)
        if key not in self._guarded:
            self._guarded[key] = _registered(first, phase, patterns)
        return self._guarded[key]


def _order(use: PluginUse) -> int:
    return use.plugin.order if use.config.order is None else use.config.order


def _applies(use: PluginUse, phase: str, route: Route | None) -> bool | None:
    """Whether a use is for requests of `route` (`None`: for those without one); `None` if for some of them."""
    on = use.on
    if on is None or PHASES[phase].scope == "worker":
        return True
    if PHASES[phase].on_listeners:
        return False  # refused in `_found`: there is no request yet
    if isinstance(on, Route):
        return on is route
    if isinstance(on, Upstream):
        return route is not None and route.config.to == on.name
    return covers(on, route.config.path if route is not None else "/")


def _registered(use: PluginUse, phase: str, patterns: tuple[str, ...]) -> RegisteredHook:
    method: Hook = getattr(use.plugin, phase)
    function = guard(method, patterns) if patterns else method
    config = use.config
    return RegisteredHook(
        phase,
        function,
        config.deadline,
        config.on_error,
        shown_name(method),
        config.plugin,
        type(use.plugin).__name__,
        marked_body(phase, method),
    )


def guarded(function: Hook) -> tuple[Hook, tuple[str, ...]]:
    """The function and the patterns that `guard` was given, none for one that is called always."""
    return getattr(function, "_guarded", (function, ()))


def guard(function: Hook, patterns: Sequence[str]) -> Hook:
    """`function`, called only for requests whose path fits one of the patterns."""
    fits = [matches_path(pattern) for pattern in patterns]

    def is_meant(path: str) -> bool:
        # also where only a server reads such a path: what a plugin checks holds for what servers understand
        return any(fit(read) for read in (path, *other_readings(path)) for fit in fits)

    if is_async(function):

        async def wait(request: Request, *rest: object) -> object:
            return await function(request, *rest) if is_meant(request.path) else None

        wait._guarded = (function, tuple(patterns))  # type: ignore[attr-defined]
        return wait

    def call(request: Request, *rest: object) -> object:
        return function(request, *rest) if is_meant(request.path) else None

    call._guarded = (function, tuple(patterns))  # type: ignore[attr-defined]
    return call


def _found(use: PluginUse, routes: Sequence[Route], upstreams: Mapping[str, Upstream]) -> On:
    """What `on` names."""
    on = _named(use, use.on, routes, upstreams) if isinstance(use.on, str) else use.on
    if isinstance(on, Route | Upstream) and "rewrite" in type(use.plugin).phases:
        raise ConfigError(
            f"plugin `{type(use.plugin).__name__}` has a `rewrite` hook, which runs before a route is chosen",
            hint="use it on a path pattern, or without `on`",
            where=use.where,
        )
    early = [name for name in type(use.plugin).phases if PHASES[name].on_listeners]
    if on is not None and early:
        raise ConfigError(
            f"plugin `{type(use.plugin).__name__}` has a `{early[0]}` hook, which runs before there is a request",
            hint="use it without `on`",
            where=use.where,
        )
    return on


def _named(use: PluginUse, on: str, routes: Sequence[Route], upstreams: Mapping[str, Upstream]) -> On:
    if on.startswith(("/", "=", "~", "*")):
        try:
            return check_path(on)
        except ConfigError as error:
            raise error.at(use.where) from None
    by_name = {route.config.name: route for route in routes if route.config.name}
    if on in by_name and on in upstreams:
        raise ConfigError(f"`{on}` names a route and an upstream", hint="rename one of them", where=use.where)
    found = by_name.get(on) or upstreams.get(on)
    if found is None:
        hint = suggestion(on, (*by_name, *upstreams)) or "write a path pattern such as `/api/*`"
        raise ConfigError(f"there is no route or upstream `{on}`", hint=hint, where=use.where)
    return found
