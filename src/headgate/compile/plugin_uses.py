"""Which hooks of plugins run for which route, by what each plugin is used on.

How it works: a use on a pattern is compared with each route's path. Where every path of the route fits, the plugin's
method is called directly; where none does, it is not called; where only some do, a guard looks at each request's path,
in the spelling that the router matches. So it is with what else a use says: what routes tell is decided here, what only
requests tell (`when`, a consumer, a listener) by the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from headgate._decorators import RegisteredHook, marked_body, registered
from headgate._hook_checks import Hook, shown_name
from headgate.config.errors import ConfigError, suggestion
from headgate.config.expressions import Expression
from headgate.config.patterns import check_path, covers
from headgate.listener import Listener, StreamListener
from headgate.native import Native
from headgate.native.telling import native_hook, native_of
from headgate.phases import PHASES, Phase
from headgate.plugin import InSet, On, Plugin, PluginUse
from headgate.route import Route, Upstream

from .guards import Condition, Guard, guard, needs_response
from .plugin_sets import CONSUMER, GROUP, every_use

if TYPE_CHECKING:
    from headgate._parts import Parts


class PluginUses:
    """All uses of one gateway, with what they are used on found."""

    def __init__(self, parts: Parts) -> None:
        self._routes = parts.routes
        self._by_plugin: dict[int, list[PluginUse]] = {}
        self._guarded: dict[tuple[object, ...], RegisteredHook] = {}
        self._natives: dict[int, Native] = {}
        for use in sorted(every_use(parts), key=_order):
            found = replace(use, on=_found(use, parts))
            _refuse_early(found)
            self._by_plugin.setdefault(id(use.plugin), []).append(found)
        self.phases = {phase for uses in self._by_plugin.values() for phase in type(uses[0].plugin).phases}
        """The phases that plugins in use have hooks for."""

    @property
    def are_for_every_route(self) -> bool:
        """Whether no use is only for some routes, listeners, upstreams or consumers."""
        return all(use.on is None for uses in self._by_plugin.values() for use in uses)

    def hooks(self, phase: str, place: Place) -> list[RegisteredHook]:
        """One hook at most for each plugin, however often it is used, in order of first use."""
        plugins, found = [], []
        for uses in self._by_plugin.values():
            if (hook := self._hook(uses, phase, place)) is not None:
                plugins.append(uses[0].plugin)
                found.append(hook)
        if any(hook.native is not None for hook in found):
            kinds = [type(plugin) for plugin in plugins]
            return [
                replace(hook, native=None) if kinds.count(kind) > 1 and self._said(plugin).alone else hook
                for hook, kind, plugin in zip(found, kinds, plugins, strict=True)
            ]
        return found

    def closes(self) -> list[RegisteredHook]:
        """The functions that release plugins' resources, in order of use."""
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

    def _hook(self, uses: list[PluginUse], phase: str, place: Place) -> RegisteredHook | None:
        plugin = uses[0].plugin
        if phase not in type(plugin).phases:
            return None
        applying = [(use, verdict) for use in uses if (verdict := _applies(use, phase, place)) is not False]
        if not applying:
            return None
        first = next((use for use, verdict in applying if verdict is True), applying[0][0])
        conditions = tuple(verdict for _, verdict in applying if isinstance(verdict, Condition))
        is_always = len(conditions) < len(applying)
        said = Guard(
            () if is_always else conditions,
            "enforce" if PHASES[phase].scope == "worker" else first.config.mode,
            phase,
            _kept_as(plugin, phase, conditions),
        )
        key = (id(plugin), first.config.deadline, first.config.on_error, said)
        if key not in self._guarded:
            hook = _registered(first, phase, said)
            if (
                not said.conditions
                and said.mode == "enforce"
                and getattr(self._said(plugin), phase, None) is not None
            ):
                hook = replace(hook, native=native_hook(plugin, phase))
            self._guarded[key] = hook
        return self._guarded[key]

    def _said(self, plugin: Plugin) -> Native:
        """What a plugin says of its hooks, asked once."""
        if id(plugin) not in self._natives:
            self._natives[id(plugin)] = native_of(plugin)
        return self._natives[id(plugin)]


Place = Route | Listener | StreamListener | None
"""Whose hooks are asked for: a route's, a listener's, or those of requests without a route and of the worker."""

AFTER_AUTHENTICATION = 50
"""The lowest order of a use that has to know the consumer."""


def _order(use: PluginUse) -> int:
    if use.config.order is not None:
        return use.config.order
    own = use.plugin.order
    return max(own, AFTER_AUTHENTICATION) if _needs_consumer(use) else own


def _needs_consumer(use: PluginUse) -> bool:
    is_of_one = isinstance(use.on, str) and use.on.startswith((CONSUMER, GROUP))
    return is_of_one or (use.config.when is not None and Expression(use.config.when).names_consumer)


def _applies(use: PluginUse, phase: str, place: Place) -> bool | Condition:
    """Whether a use is for what happens at `place`, or the condition under which it is."""
    on, when = use.on, use.config.when
    kind = PHASES[phase]
    if kind.scope == "worker":
        return True
    if isinstance(place, Listener | StreamListener) or kind.on_listeners:
        return on is None or on is place
    if when is not None and Expression(when).names_response and not _has_response(kind):
        return False
    condition = Condition(when=when)
    if isinstance(on, Listener | StreamListener):
        return condition._replace(listener=on.name)
    if isinstance(on, str) and on.startswith(CONSUMER):
        return condition._replace(consumer=on.removeprefix(CONSUMER))
    if isinstance(on, str) and on.startswith(GROUP):
        return condition._replace(group=on.removeprefix(GROUP))
    fits: bool | None = True
    if isinstance(on, Route):
        fits = on is place
    elif isinstance(on, InSet):
        fits = isinstance(place, Route) and on.name in place.config.plugin_sets
    elif isinstance(on, Upstream):
        fits = place is not None and place.config.to == on.name
    elif on is not None:
        fits = covers(on, place.config.path if place is not None else "/")
    if fits is None:
        return condition._replace(pattern=str(on))
    return fits and (True if when is None else condition)


def _has_response(phase: Phase) -> bool:
    return len(phase.arguments) > 1 and phase.arguments[1] in ("response", "error")


def _kept_as(plugin: Plugin, phase: str, conditions: tuple[Condition, ...]) -> str | None:
    """Where the decision is kept, for plugins with several hooks in the life of a request."""
    several = [name for name in type(plugin).phases if PHASES[name].on_routes]
    if not conditions or len(several) < 2 or not PHASES[phase].on_routes or needs_response(conditions):
        return None
    context = plugin._headgate_context
    return f"{context.name if context else type(plugin).__name__} runs"


def _registered(use: PluginUse, phase: str, said: Guard) -> RegisteredHook:
    method: Hook = getattr(use.plugin, phase)
    config = use.config
    return RegisteredHook(
        phase,
        guard(method, said),
        config.deadline,
        config.on_error,
        shown_name(method),
        config.plugin,
        type(use.plugin).__name__,
        marked_body(phase, method),
    )


def _found(use: PluginUse, parts: Parts) -> On:
    """What `on` names."""
    on = _named(use, use.on, parts) if isinstance(use.on, str) else use.on
    kind = type(use.plugin)
    if isinstance(on, Route | Upstream | InSet) and "rewrite" in kind.phases:
        raise ConfigError(
            f"plugin `{kind.__name__}` has a `rewrite` hook, which runs before a route is chosen",
            hint="use it on a path pattern, or without `on`",
            where=use.where,
        )
    early = [name for name in kind.phases if PHASES[name].on_listeners]
    if early and on is not None and not isinstance(on, Listener | StreamListener):
        raise ConfigError(
            f"plugin `{kind.__name__}` has a `{early[0]}` hook, which runs before there is a request",
            hint="use it on a listener, or without `on`",
            where=use.where,
        )
    return on


def _refuse_early(use: PluginUse) -> None:
    """Refuses conditions on what is not there yet when the plugin decides."""
    kind, when = type(use.plugin), use.config.when
    if when is None:
        return
    if early := [name for name in kind.phases if PHASES[name].on_listeners]:
        raise ConfigError(
            f"plugin `{kind.__name__}` has a `{early[0]}` hook, which runs before there is a request for `when`",
            hint="check `connection` in the hook",
            where=use.where,
        )
    before = [
        name for name in kind.phases if PHASES[name].scope != "worker" and not _has_response(PHASES[name])
    ]
    if before and Expression(when).names_response:
        raise ConfigError(
            f"`when` reads the response, but the `{before[0]}` hook of plugin `{kind.__name__}` runs before it",
            hint="use fields of the request only",
            where=use.where,
        )


def _named(use: PluginUse, on: str, parts: Parts) -> On:
    if on.startswith(("/", "=", "~", "*")):
        try:
            return check_path(on)
        except ConfigError as error:
            raise error.at(use.where) from None
    if on.startswith((CONSUMER, GROUP)) and on not in (CONSUMER, GROUP):
        return on
    routes = {route.config.name: route for route in parts.routes if route.config.name}
    every: list[Listener | StreamListener] = [*parts.listeners, *parts.tcp, *parts.udp]
    listeners = {one.name: one for one in every if one.name != one.config.address}
    kinds: list[tuple[str, Mapping[str, Route | Upstream | Listener | StreamListener]]] = [
        ("a route", routes),
        ("an upstream", parts.upstreams),
        ("a listener", listeners),
    ]
    found = [(kind, names[on]) for kind, names in kinds if on in names]
    if len(found) > 1:
        raise ConfigError(
            f"`{on}` names {found[0][0]} and {found[1][0]}", hint="rename one of them", where=use.where
        )
    if not found:
        hint = (
            suggestion(on, (*routes, *parts.upstreams, *listeners)) or "write a path pattern such as `/api/*`"
        )
        raise ConfigError(f"there is no route, upstream or listener `{on}`", hint=hint, where=use.where)
    return found[0][1]
