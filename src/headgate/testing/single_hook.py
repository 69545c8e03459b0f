"""One hook on one real request, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.config.patterns import matches_path
from headgate.gateway import Gateway
from headgate.message import Response
from headgate.phases import PHASES
from headgate.plugin import Plugin, shown_kind
from headgate.plugin_context import PluginContext
from headgate.route import Route

from .gateway import TestGateway
from .messages import Received, TestResponse
from .servers import Fault, Server
from .wire import HeaderFields


def run_hook(
    hook: Callable[..., Any] | Route,
    *,
    phase: str | None = None,
    method: str = "GET",
    target: str | None = None,
    headers: HeaderFields = (),
    body: bytes | str | None = None,
    server: Server | None = None,
    **client: Any,
) -> tuple[TestResponse, Received | None]:
    """Runs a single hook of any phase on one real request.

    `hook` is a function, a plugin's method (`run_hook(KeyAuth(keys=...).request)`) or a route, whose hooks of `phase`
    run on its path. Without `phase`, a method of a plugin is of the phase that it is named by, all else of `request`.
    Gives the client's response, and the request as it reached the server (`server`, by default an empty 200).
    What the hook raises is the cause of `HookRaised`.
    """
    plugin = getattr(hook, "__self__", None)
    if phase is None:
        is_method = isinstance(plugin, Plugin)
        phase = getattr(hook, "__name__", "request") if is_method else "request"
    gate = Gateway()
    upstream = gate.upstream("server", "server.test:80", retries=0)
    path = hook.config.path if isinstance(hook, Route) else "/"
    asked = target or (path if path.isascii() and not set(path) & set("*{}~=") else "/")
    if not matches_path(path)(asked.partition("?")[0]):
        raise LookupError(f"`{asked}` does not match the route's path `{path}`\n  hint: set `target=...`")
    route = gate.route(path, to=upstream)
    if isinstance(plugin, Plugin) and plugin._headgate_context is None:
        plugin._set_up(PluginContext(gate, shown_kind(type(plugin)), gate._parts))
    for function in _functions(hook, phase):
        getattr(gate if PHASES[phase].scope != "route" else route, phase)(function)
    default: Server = Fault.REFUSE if phase == "error" else Response(200)
    with TestGateway(gate, upstreams={"server": default if server is None else server}) as gateway:
        response = gateway.request(method, asked, headers, body=body, **client)
        return response, gateway.received[0] if gateway.received else None


def _functions(hook: Callable[..., Any] | Route, phase: str) -> list[Callable[..., Any]]:
    if not isinstance(hook, Route):
        return [hook]
    found = [one.function for one in hook._in_order() if one.phase == phase]
    if not found:
        raise LookupError(f"route `{hook.name}` has no `{phase}` hook")
    return found
