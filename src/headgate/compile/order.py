"""Makes a gateway into what its workers need: the snapshot, and the hooks merged into their running order.

Running order of each route's hooks: the gateway's, then plugins' in order of use, then the route's own; phases marked
`reverse` in the table of phases run the whole list backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from headgate._decorators import RegisteredHook
from headgate._hook_checks import HookSpec, is_async
from headgate.config.consistency import Inconsistency
from headgate.config.consumers import plain_consumers
from headgate.config.errors import ConfigError
from headgate.config.hooks import BodyHookConfig
from headgate.config.listeners import ListenerConfig
from headgate.config.model import GatewayConfig
from headgate.config.snapshot import masked, snapshot
from headgate.config.snapshot_routes import RouteCalls
from headgate.config.units import milliseconds
from headgate.listener import Listener, StreamListener
from headgate.phases import PHASES
from headgate.route import Route

from .allocation import without_collecting
from .inline_certificates import with_certificate_files
from .never_run import refuse_hooks_that_never_run
from .on_demand import on_demand_hooks
from .plugin_uses import PluginUses
from .refused import Explainer

if TYPE_CHECKING:
    from headgate._parts import Parts
    from headgate.gateway import Gateway


@dataclass(frozen=True)
class Compiled:
    """A gateway, ready for its workers."""

    snapshot: str
    """The JSON text for the engine; it names hooks by their position in `hooks`."""
    hooks: tuple[HookSpec, ...]
    listeners: tuple[ListenerConfig, ...]
    addresses: tuple[str, ...]
    """Every address to bind, those for datagrams as `udp::53`, those for HTTP/3 as `http3::443`."""
    workers: int | None
    """Worker processes; `None` is one for each core."""
    startup: tuple[HookSpec, ...]
    """In running order."""
    shutdown: tuple[HookSpec, ...]
    """In running order."""
    server_state: tuple[HookSpec, ...]
    """In running order."""
    config: GatewayConfig
    refused: Explainer
    """Makes what the engine says of the snapshot into an error about the user's file."""
    context: Context
    """What single routes are compiled in."""


class Context(NamedTuple):
    """A compiled gateway, for what is compiled with it later."""

    parts: Parts
    uses: PluginUses
    table: HookTable
    calls: RouteCallsMaker


@without_collecting()
def compile_gateway(gate: Gateway) -> Compiled:
    """Checks the gateway as a whole; raises `ConfigError` with the line of what does not fit."""
    parts = gate._parts
    config = with_certificate_files(_with_identity(parts.config(), parts.identity_fields), parts)
    uses = PluginUses(parts)
    for route in parts.routes:
        check_responds(route, parts, uses)
    refuse_hooks_that_never_run(parts, uses)
    table = HookTable(config)
    calls = RouteCallsMaker(parts, uses, table)
    routes = calls.all()
    everywhere = {
        phase: table.add_all(phase, _hooks_of(phase, None, parts, uses))
        for phase in PHASES
        if PHASES[phase].without_route
    }
    every: list[Listener | StreamListener] = [*parts.listeners, *parts.tcp, *parts.udp]
    listeners = [
        {
            phase: table.add_all(
                phase,
                [hook for hook in parts.hooks if hook.phase == phase]
                + uses.hooks(phase, listener)
                + [hook for hook in listener._hooks if hook.phase == phase]
                + (on_demand_hooks(listener, config, parts) if phase == "client_hello" else []),
            )
            for phase in PHASES
            if PHASES[phase].on_listeners
        }
        for listener in every
    ]
    worker = HookTable(config)
    startup = worker.add_all("startup", _hooks_of("startup", None, parts, uses))
    # the list is run backwards: what closes comes after all that shuts down
    shutdown = worker.add_all("shutdown", uses.closes() + _hooks_of("shutdown", None, parts, uses))
    server_state = worker.add_all("server_state", _hooks_of("server_state", None, parts, uses))
    secrets = masked(config, parts.secret_query, parts.secret_paths)
    try:
        first = parts.first_resource_route
        text = snapshot(
            config,
            routes,
            everywhere,
            parts.folder,
            listeners,
            first,
            secrets,
            parts.found,
            parts.file,
        )
    except Inconsistency as error:
        raise error.at(parts.locate(error.path)) from None
    gate.background.consumers.replace(plain_consumers(config.consumers, config.consumer_groups))
    gate.background.secrets.replace(*secrets)
    return Compiled(
        text,
        tuple(table.specs),
        config.listeners,
        (
            *(one.address for one in config.listeners),
            *(one.address for one in config.tcp),
            *(f"udp:{one.address}" for one in config.udp),
            *(f"http3:{one.address}" for one in config.listeners if one.http3),
        ),
        config.workers,
        tuple(worker.specs[position] for position in startup),
        tuple(worker.specs[position] for position in shutdown),
        tuple(worker.specs[position] for position in server_state),
        config,
        Explainer(text, config, parts.locator()),
        Context(parts, uses, table, calls),
    )


def _with_identity(config: GatewayConfig, names: set[str]) -> GatewayConfig:
    """The configuration with the header fields that plugins set of clients, which the engine takes out of requests."""
    if not names:
        return config
    known = config.forwarding.identity_fields
    fields = (*known, *sorted(names - {one.lower() for one in known}))
    forwarding = config.forwarding.model_copy(update={"identity_fields": fields})
    return config.model_copy(update={"forwarding": forwarding})


_ROUTE_PHASES = tuple(name for name, phase in PHASES.items() if phase.on_routes)


class RouteCallsMaker:
    """What each route calls. Routes that add no hooks of their own to the gateway's share one table."""

    def __init__(self, parts: Parts, uses: PluginUses, table: HookTable) -> None:
        self._parts = parts
        self._uses = uses
        self._table = table
        shared = {hook.phase for hook in parts.hooks} | uses.phases
        self._shared = [phase for phase in _ROUTE_PHASES if phase in shared]
        self._same: RouteCalls | None = None

    def all(self) -> list[RouteCalls]:
        """What all routes call, in their order."""
        return [self.of(route) for route in self._parts.routes]

    def of(self, route: Route) -> RouteCalls:
        """What a route calls."""
        if route._in_order() or route.when or self._uses.phases:
            return self._own(route)
        if self._same is None:
            self._same = self._own(route)
        return self._same

    def _own(self, route: Route) -> RouteCalls:
        phases = self._shared
        if hooks := route._in_order():
            own = {hook.phase for hook in hooks}
            phases = [phase for phase in _ROUTE_PHASES if phase in own or phase in phases]
        return RouteCalls(
            None if route.when is None else self._table.add(_as_route_says(route.when, route)),
            {
                phase: self._table.add_phase(phase, _hooks_of(phase, route, self._parts, self._uses))
                for phase in phases
            },
        )


def _hooks_of(phase: str, route: Route | None, parts: Parts, uses: PluginUses) -> list[RegisteredHook]:
    """In listed order; `None` as route stands for requests that reach none, and for the worker itself."""
    hooks = [hook for hook in parts.hooks if hook.phase == phase] + uses.hooks(phase, route)
    if route is not None:
        for hook in route._in_order():
            if hook.phase == phase:
                hooks.append(_as_route_says(hook, route))
    return hooks


def _as_route_says(hook: RegisteredHook, route: Route) -> RegisteredHook:
    own = route.config
    return replace(hook, deadline=hook.deadline or own.deadline, on_error=hook.on_error or own.on_error)


def check_responds(route: Route, parts: Parts, uses: PluginUses) -> None:
    """Refuses a route by which nothing ever responds."""
    if route.config.has_action or _hooks_of("request", route, parts, uses):
        return
    raise ConfigError(
        f"route `{route.name}` does nothing",
        hint="give it `to`, `redirect`, `respond`, `files`, or a request hook",
        where=route.where,
    )


class HookTable:
    """The list that hooks are numbered by: each once, however many routes call it."""

    def __init__(self, config: GatewayConfig) -> None:
        self.specs: list[HookSpec] = []
        self._config = config
        self._positions: dict[tuple[object, ...], int] = {}
        self._kept: list[RegisteredHook] = []

    def add(self, hook: RegisteredHook) -> int:
        """The position of `hook`."""
        key = (hook.phase, id(hook.function), hook.deadline, hook.on_error, hook.native is None)
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
                    plugin=hook.plugin,
                    native=hook.native,
                )
            )
        return self._positions[key]

    def add_phase(self, phase: str, hooks: list[RegisteredHook]) -> list[int | Mapping[str, Any]]:
        """As `add_all`; for body phases with how each hook takes the body."""
        if not PHASES[phase].has_body:
            return [*self.add_all(phase, hooks)]
        ordered = reversed(hooks) if PHASES[phase].reverse else hooks
        return [self._body_hook(hook) for hook in ordered]

    def _body_hook(self, hook: RegisteredHook) -> Mapping[str, Any]:
        body = hook.body or BodyHookConfig(function=hook.reference)
        limit = body.limit or self._config.limits.max_buffered_body_bytes
        return {"hook": self.add(hook), "mode": body.mode, "limit": limit, "decode": body.decode}

    def add_all(self, phase: str, hooks: list[RegisteredHook]) -> list[int]:
        """The positions of one phase's hooks, in running order."""
        ordered = reversed(hooks) if PHASES[phase].reverse else hooks
        return [self.add(hook) for hook in ordered]
