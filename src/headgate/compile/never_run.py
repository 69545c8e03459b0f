"""Refuses hooks that could never run: one that checks something must not be left out silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate._hook_checks import defined_at
from headgate.config.errors import ConfigError
from headgate.config.listeners import ListenerConfig, UdpListenerConfig
from headgate.phases import PHASES

from .plugin_uses import PluginUses

if TYPE_CHECKING:
    from headgate._decorators import RegisteredHook
    from headgate._parts import Parts
    from headgate.listener import Listener, StreamListener
    from headgate.route import Route


def refuse_hooks_that_never_run(parts: Parts, uses: PluginUses) -> None:
    """Raises `ConfigError` for the first hook or plugin that no request or connection can reach, and says why."""
    every: list[Listener | StreamListener] = [*parts.listeners, *parts.tcp, *parts.udp]
    for listener in every:
        for hook in listener._hooks:
            if hook.phase == "client_hello" and not _sees_hellos(listener):
                raise _never(hook, f"listener `{listener.name}` has neither `tls` nor `tls_passthrough`")
    for hook in parts.hooks:
        if hook.phase == "client_hello" and every and not any(map(_sees_hellos, every)):
            raise _never(hook, "no listener has `tls` or `tls_passthrough`")
    for route in parts.routes:
        for hook in (one for one in route._hooks if PHASES[one.phase].to_server):
            if route._is_mount and hook.phase == "websocket_message":
                continue  # an application's WebSockets are seen as a server's are
            if reason := _why_no_server(route, parts, uses):
                raise _never(hook, reason)
    uses.refuse_unreached(lambda route: _why_no_server(route, parts, uses))


def _sees_hellos(listener: Listener | StreamListener) -> bool:
    config = listener.config
    if isinstance(config, UdpListenerConfig):
        return False
    return config.tls_passthrough or (isinstance(config, ListenerConfig) and config.tls is not None)


def _why_no_server(route: Route, parts: Parts, uses: PluginUses) -> str | None:
    """Why no request of the route ever goes to a server; `None` if one may: request hooks choose upstreams too."""
    if route._is_mount:
        return f"the application of route `{route.name}` responds to every request itself"
    early = ("rewrite", "request")
    has_hooks = any(hook.phase in early for hook in (*parts.hooks, *route._hooks)) or any(
        uses.hooks(phase, route) for phase in early
    )
    if route.config.to or has_hooks:
        return None
    return f"route `{route.name}` sends nothing to a server"


def _never(hook: RegisteredHook, reason: str) -> ConfigError:
    return ConfigError(
        f"the `{hook.phase}` hook `{hook.name}` would never run: {reason}",
        hint=_HINTS.get(hook.phase, "register it on a route with `to`, or on the gateway"),
        where=defined_at(hook.function),
    )


_HINTS = {
    "client_hello": "give the listener `tls` or `tls_passthrough`",
    "request_body": "read the body in a `request` hook with `await request.body()`",
}
