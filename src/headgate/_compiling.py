"""Makes a gateway into what its workers need: the snapshot, and the hooks merged into their running order.

Running order of each route's hooks: the gateway's, then plugins' in order of use, then the route's own; phases marked
`reverse` in the table of phases run the whole list backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ._decorators import RegisteredHook
from .config.errors import ConfigError, Where, suggestion
from .config.hooks import PluginConfig
from .config.model import GatewayConfig, Inconsistency, ListenerConfig
from .config.patterns import check_path, covers, matches_path
from .config.snapshot import RouteCalls, snapshot
from .config.units import milliseconds
from .phases import PHASES, Hook, HookSpec, is_async, shown_name
from .plugin import Plugin
from .route import Route, Upstream

if TYPE_CHECKING:
    from headgate._core import Request

    from .gateway import Gateway


@dataclass(frozen=True)
class Compiled:
    """A gateway, ready for its workers."""

    snapshot: str
    """The JSON text for the engine; it names hooks by their position in `hooks`."""
    hooks: tuple[HookSpec, ...]
    listeners: tuple[ListenerConfig, ...]
    workers: int | None
    """Worker processes; `None` is one for each core."""
    startup: tuple[HookSpec, ...]
    """In running order."""
    shutdown: tuple[HookSpec, ...]
    """In running order."""
    config: GatewayConfig


@dataclass(frozen=True)
class PluginUse:
    """A plugin and the requests it is used on."""

    plugin: Plugin
    on: str | Route | Upstream | None
    config: PluginConfig
    where: Where | None


def compile_gateway(gate: Gateway) -> Compiled:
    """Checks the gateway as a whole; raises `ConfigError` with the line of what does not fit."""
    config = gate.config
    uses = [_ResolvedUse.of(use, gate) for use in gate.plugins]
    for route in gate.routes:
        _check_answers(route, gate, uses)
    table = _HookTable(config)
    routes = [
        RouteCalls(
            None if route.when is None else table.add(route.when),
            {
                phase: table.add_all(phase, _hooks_of(phase, route, gate, uses))
                for phase in PHASES
                if _on_routes(phase)
            },
        )
        for route in gate.routes
    ]
    everywhere = {
        phase: table.add_all(phase, _hooks_of(phase, None, gate, uses))
        for phase in ("rewrite", "error", "log")
    }
    worker = _HookTable(config)
    startup, shutdown = (
        worker.add_all(phase, _hooks_of(phase, None, gate, uses)) for phase in ("startup", "shutdown")
    )
    try:
        text = snapshot(config, routes, everywhere, gate.folder)
    except Inconsistency as error:
        raise error.at(gate.locate(error.path)) from None
    return Compiled(
        text,
        tuple(table.specs),
        config.listeners,
        config.workers,
        tuple(worker.specs[position] for position in startup),
        tuple(worker.specs[position] for position in shutdown),
        config,
    )


def _on_routes(phase: str) -> bool:
    return PHASES[phase].scope == "route"


def _hooks_of(
    phase: str, route: Route | None, gate: Gateway, uses: Iterable[_ResolvedUse]
) -> list[RegisteredHook]:
    """In listed order; `None` as route stands for requests that reach none, and for the worker itself."""
    hooks = [hook for hook in gate.hooks if hook.phase == phase]
    seen: set[tuple[int, str]] = set()
    for use in uses:
        hook = use.hook(phase, route)
        # A plugin used twice, say on two patterns, still runs once for a request.
        key = (
            id(use.use.plugin),
            "" if hook is None or not use.is_guarded(phase, route) else str(use.use.on),
        )
        if hook is None or key in seen or (id(use.use.plugin), "") in seen:
            continue
        seen.add(key)
        hooks.append(hook)
    if route is not None:
        for hook in route.hooks:
            if hook.phase == phase:
                own = route.config
                hooks.append(
                    replace(
                        hook, deadline=hook.deadline or own.deadline, on_error=hook.on_error or own.on_error
                    )
                )
    return hooks


def _check_answers(route: Route, gate: Gateway, uses: list[_ResolvedUse]) -> None:
    config = route.config
    if config.to or config.redirect or config.respond or config.files:
        return
    if any(hook.answers_for(route) for hook in uses) or any(
        h.phase == "request" for h in (*gate.hooks, *route.hooks)
    ):
        return
    raise ConfigError(
        f"route `{route.name}` does nothing",
        hint="give it `to`, `redirect`, `respond`, `files`, or a request hook",
        where=route.where,
    )


class _HookTable:
    """The list that hooks are numbered by: each once, however many routes call it."""

    def __init__(self, config: GatewayConfig) -> None:
        self.specs: list[HookSpec] = []
        self._config = config
        self._positions: dict[tuple[object, ...], int] = {}
        self._kept: list[RegisteredHook] = []

    def add(self, hook: RegisteredHook) -> int:
        """The position of `hook`."""
        key = (hook.phase, id(hook.function), hook.deadline, hook.on_error)
        if key not in self._positions:
            self._positions[key] = len(self.specs)
            self._kept.append(hook)  # Keeps the function alive, so that its id stays its own.
            self.specs.append(
                HookSpec(
                    phase=hook.phase,
                    function=hook.function,
                    is_async=is_async(hook.function),
                    deadline_ms=milliseconds(hook.deadline or self._config.hook_deadline),
                    on_error=hook.on_error or self._config.hook_on_error,
                    name=hook.name,
                )
            )
        return self._positions[key]

    def add_all(self, phase: str, hooks: list[RegisteredHook]) -> list[int]:
        """The positions of one phase's hooks, in running order."""
        ordered = reversed(hooks) if PHASES[phase].reverse else hooks
        return [self.add(hook) for hook in ordered]


class _ResolvedUse:
    """A plugin's use, with `on` found: a pattern, a route, an upstream, or everything."""

    def __init__(self, use: PluginUse, on: str | Route | Upstream | None) -> None:
        self.use = use
        self.on = on
        plugin, config = use.plugin, use.config
        self._hooks = {
            phase: RegisteredHook(
                phase, method, config.deadline, config.on_error, shown_name(method), config.plugin
            )
            for phase in type(plugin).phases
            for method in (getattr(plugin, phase),)
        }
        self._guarded: dict[str, RegisteredHook] = {}
        if isinstance(on, str):
            matches = matches_path(on)
            self._guarded = {
                phase: replace(hook, function=_guard(hook.function, matches))
                for phase, hook in self._hooks.items()
                if PHASES[phase].scope != "worker"
            }
        elif on is not None and "rewrite" in self._hooks:
            raise ConfigError(
                f"plugin `{type(plugin).__name__}` has a `rewrite` hook, which runs before a route is chosen",
                hint="use it on a path pattern, or without `on`",
                where=use.where,
            )

    @classmethod
    def of(cls, use: PluginUse, gate: Gateway) -> _ResolvedUse:
        """Finds what `on` names."""
        on = use.on
        if not isinstance(on, str):
            return cls(use, on)
        if on.startswith(("/", "=", "~")):
            try:
                return cls(use, check_path(on))
            except ConfigError as error:
                raise error.at(use.where) from None
        routes = {route.config.name: route for route in gate.routes if route.config.name}
        if on in routes and on in gate.upstreams:
            raise ConfigError(
                f"`{on}` names a route and an upstream", hint="rename one of them", where=use.where
            )
        found = routes.get(on) or gate.upstreams.get(on)
        if found is None:
            hint = suggestion(on, (*routes, *gate.upstreams)) or "write a path pattern such as `/api/*`"
            raise ConfigError(f"there is no route or upstream `{on}`", hint=hint, where=use.where)
        return cls(use, found)

    def hook(self, phase: str, route: Route | None) -> RegisteredHook | None:
        """The plugin's hook of `phase` for requests of `route`, if it has one there."""
        hook = self._hooks.get(phase)
        if hook is None or PHASES[phase].scope == "worker" or self.on is None:
            return hook
        if isinstance(self.on, Route):
            return hook if self.on is route else None
        if isinstance(self.on, Upstream):
            return hook if route is not None and route.config.to == self.on.name else None
        if route is not None and covers(self.on, route.config.path) is False:
            return None
        return self._guarded[phase] if self.is_guarded(phase, route) else hook

    def is_guarded(self, phase: str, route: Route | None) -> bool:
        """Whether the path of each request has to be looked at."""
        if not isinstance(self.on, str) or PHASES[phase].scope == "worker":
            return False
        return route is None or covers(self.on, route.config.path) is not True

    def answers_for(self, route: Route) -> bool:
        """Whether it may answer requests of `route`."""
        return self.hook("request", route) is not None


def _guard(function: Hook, matches: Callable[[str], bool]) -> Hook:
    """`function`, called only for requests whose path matches."""
    if is_async(function):

        async def wait(request: Request, *rest: object) -> object:
            return await function(request, *rest) if matches(request.path) else None

        return wait

    def call(request: Request, *rest: object) -> object:
        return function(request, *rest) if matches(request.path) else None

    return call
