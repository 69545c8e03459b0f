"""The gateway as a Python file builds it: listeners, upstreams, routes, hooks and plugins on one object."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ._caller import caller
from ._discovery import F, registering
from ._parts import Parts, made_parts, parsed
from ._phase_decorators import GatewayPhases
from ._plugin_uses import GatewayPlugins
from ._settings import GatewaySettings, listed, said
from .background.background import Background
from .config.bandwidth import BandwidthOptions
from .config.errors import ConfigError
from .config.hooks import OnError
from .config.listeners import (
    ListenerConfig,
    ProxyProtocol,
    TcpListenerConfig,
    TlsRouteConfig,
    UdpListenerConfig,
)
from .config.model import GatewayConfig
from .config.routes import RouteConfig
from .config.tls import RouteCertificate, Tls
from .config.upstreams import UpstreamConfig, UpstreamOptions
from .listener import Listener, StreamListener
from .message import Response
from .route import Matcher, Route, Upstream

if TYPE_CHECKING:
    from .asgi import Application

Conditions = str | Mapping[str, str | bool | None]
"""Names and wanted values: a text, `~regex`, `True` for any value, `False` for absence."""


class Gateway(GatewayPhases, GatewaySettings, GatewayPlugins):
    """A gateway: its listeners, routes, upstreams and hooks.

    Every call validates its arguments at once and raises `ConfigError`, which names the line of the call. The
    decorators with the names of phases (`startup`, `connect`, `request`, `request_body`, `balance`, `response`, `log`
    and so on) register hooks for all routes.
    """

    def __init__(self) -> None:
        where = caller()
        folder = Path(where.file).parent if where and os.path.isfile(where.file) else Path.cwd()
        self._parts = Parts(folder, made_at=where)
        if (made := made_parts.get()) is not None:
            made.append(self._parts)
        self._hooks = self._parts.hooks
        self.background = Background()

    # --- what it listens on, and where requests go

    def listen(
        self,
        address: str | int,
        *,
        name: str = "",
        proxy_protocol: ProxyProtocol | None = None,
        trusted_proxies: str | Iterable[str] | None = None,
        tls_passthrough: bool = False,
        tls: Tls | Mapping[str, Any] | str | Iterable[Any] | None = None,
        http3: bool = False,
        http3_port: int | None = None,
        http3_early_data: bool = False,
        mode: int | str | None = None,
        plugin_sets: str | Iterable[str] = (),
    ) -> Listener:
        """Accepts connections on `:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gate.sock`.

        `tls` is a certificate file, several, or `Tls(...)` with all settings. The returned listener has decorators
        for hooks of its connections: `@listener.connect`. `http3` speaks HTTP/3 on the same port of UDP,
        `http3_early_data` takes requests before its handshakes are complete. `mode` is that of a Unix socket's file:
        `0o660`.
        """
        given = {
            "address": address,
            "name": name,
            "proxy_protocol": proxy_protocol,
            "trusted_proxies": listed(trusted_proxies),
            "tls_passthrough": tls_passthrough or None,
            "tls": tls,
            "http3": http3 or None,
            "http3_port": http3_port,
            "http3_early_data": http3_early_data or None,
            "mode": mode,
            "plugin_sets": listed(plugin_sets) or None,
        }
        listener = Listener(parsed(ListenerConfig, said(given)), caller())
        self._parts.places["listeners", len(self._parts.listeners)] = listener.where
        self._parts.listeners.append(listener)
        return listener

    def listen_tcp(
        self,
        address: str | int,
        *,
        to: Upstream | str | None = None,
        name: str = "",
        proxy_protocol: ProxyProtocol | None = None,
        trusted_proxies: str | Iterable[str] | None = None,
        tls_passthrough: bool = False,
        max_connections: int | None = None,
        max_connections_per_client: int | None = None,
        idle: float | str | None = None,
        lifetime: float | str | None = None,
        mode: int | str | None = None,
    ) -> StreamListener:
        """Accepts TCP connections and proxies them to an upstream, or to the server that a hook chooses."""
        given = {
            "address": address,
            "name": name,
            "to": self._target(to),
            "proxy_protocol": proxy_protocol,
            "trusted_proxies": listed(trusted_proxies),
            "tls_passthrough": tls_passthrough or None,
            "max_connections": max_connections,
            "max_connections_per_client": max_connections_per_client,
            "idle": idle,
            "lifetime": lifetime,
            "mode": mode,
        }
        listener = StreamListener(parsed(TcpListenerConfig, said(given)), caller())
        self._parts.places["tcp", len(self._parts.tcp)] = listener.where
        self._parts.tcp.append(listener)
        return listener

    def listen_udp(
        self,
        address: str | int,
        *,
        to: Upstream | str | None = None,
        name: str = "",
        max_connections: int | None = None,
        max_connections_per_client: int | None = None,
        idle: float | str | None = None,
    ) -> StreamListener:
        """Proxies UDP datagrams to an upstream; a session (a client address) keeps its server."""
        given = {
            "address": address,
            "name": name,
            "to": self._target(to),
            "max_connections": max_connections,
            "max_connections_per_client": max_connections_per_client,
            "idle": idle,
        }
        listener = StreamListener(parsed(UdpListenerConfig, said(given)), caller())
        self._parts.places["udp", len(self._parts.udp)] = listener.where
        self._parts.udp.append(listener)
        return listener

    def tls_route(self, *hosts: str, to: Upstream | str) -> None:
        """Passes TLS connections with these server names (SNI) to an upstream without decryption, on listeners with
        `tls_passthrough`. The patterns are those of a route's `host`.
        """
        self._parts.places["tls_routes", len(self._parts.tls_routes)] = caller()
        said = {"host": list(hosts), "to": self._target(to)}
        self._parts.tls_routes.append(parsed(TlsRouteConfig, said))

    def upstream(
        self,
        name: str,
        *servers: str | Mapping[str, Any],
        **options: Unpack[UpstreamOptions],
    ) -> Upstream:
        """A group of servers, such as `"10.0.0.2:9000 weight=2 backup"`, among which requests are balanced."""
        given = said({"servers": list(servers), **options})
        config = parsed(UpstreamConfig, given, ("upstreams", name))
        if name in self._parts.upstreams:
            first = self._parts.upstreams[name].where
            raise ConfigError(
                f"the upstream `{name}` is already defined", hint=f"see {first}", where=caller()
            )
        self._parts.upstreams[name] = Upstream(name, config, caller())
        self._parts.places["upstreams", name] = caller()
        return self._parts.upstreams[name]

    def discover(
        self, upstream: str, *, every: float | str = "10s", **options: Unpack[UpstreamOptions]
    ) -> Callable[[F], F]:
        """An upstream whose servers the decorated function says, such as `["10.0.0.2:9000 weight=2"]`.

        It is called in the agent, `every` so often, and may be async; or it is an async generator, which yields a list
        whenever there is another one. While it fails, the last list stays in use. `options` are those of `upstream`.
        """
        register = registering(self._parts, upstream, every)
        self.upstream(upstream, {"address": f"discover:{upstream}"}, **options)
        return register

    def route(
        self,
        path: str = "/",
        *,
        to: Upstream | str | None = None,
        host: str | Iterable[str] = (),
        methods: str | Iterable[str] = (),
        headers: Conditions | None = None,
        query: Conditions | None = None,
        when: Matcher | None = None,
        priority: int = 0,
        subset: Mapping[str, str] | None = None,
        redirect: str | Mapping[str, Any] | None = None,
        respond: str | int | Response | Mapping[str, Any] | None = None,
        files: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        strip_prefix: str | None = None,
        replace_prefix: str | None = None,
        max_body_bytes: int | str | None = None,
        bandwidth: BandwidthOptions | Sequence[BandwidthOptions] | None = None,
        client_certificate: RouteCertificate | None = None,
        timeouts: Mapping[str, float | str] | None = None,
        deadline: float | str | None = None,
        on_error: OnError | None = None,
        name: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        plugin_sets: str | Iterable[str] = (),
    ) -> Route:
        """Requests of this path, host, method and so on, and what becomes of them: `to` an upstream or an address,
        `redirect`, `respond`, `files`, or what its request hook returns.

        The route it gives is a decorator for a request hook, and carries decorators for its other phases.
        """
        to = self._target(to)
        given = {
            "path": path,
            "to": to,
            "host": listed(host),
            "methods": listed(methods),
            "headers": headers,
            "query": query,
            "priority": priority,
            "subset": subset,
            "redirect": redirect,
            "respond": _fixed(respond) if isinstance(respond, Response) else respond,
            "files": os.fspath(files) if isinstance(files, os.PathLike) else files,
            "strip_prefix": strip_prefix,
            "replace_prefix": replace_prefix,
            "max_body_bytes": max_body_bytes,
            "bandwidth": bandwidth,
            "client_certificate": client_certificate,
            "timeouts": timeouts,
            "deadline": deadline,
            "on_error": on_error,
            "name": name,
            "metrics": metrics,
            "plugin_sets": listed(plugin_sets) or None,
        }
        route = Route(parsed(RouteConfig, said(given)), when, caller())
        self._parts.places["routes", len(self._parts.routes)] = route.where
        self._parts.routes.append(route)
        return route

    def mount(
        self,
        path: str,
        app: Application,
        *,
        host: str | Iterable[str] = (),
        priority: int = 0,
        max_body_bytes: int | str | None = None,
        deadline: float | str | None = None,
        name: str | None = None,
    ) -> Route:
        """Serves an ASGI 3 application at `path` and all below it; the application sees `path` as its root path.

        Its lifespan runs with the worker's. `deadline` limits the time until the response starts. Hooks are
        registered on the returned route, as on any other; `request` hooks run before the application.
        """
        from .asgi import Mount

        root_path = path.rstrip("/")
        if "*" in path or "{" in path or not path.startswith("/"):
            raise ConfigError(
                f"cannot mount at `{path}`", hint="give a plain path such as `/admin`", where=caller()
            )
        mount = Mount(root_path, app)
        route = self.route(
            f"{root_path}/*" if root_path else "/",
            host=host,
            priority=priority,
            max_body_bytes=max_body_bytes,
            deadline=deadline,
            name=name or f"mount {path}",
        )
        self.startup(mount.startup)
        self.shutdown(mount.shutdown)
        route._is_mount = True
        return route(mount)

    @property
    def config(self) -> GatewayConfig:
        """The whole of it as the model; raises `ConfigError` for parts that do not fit together."""
        return self._parts.config()

    def _target(self, to: Upstream | str | None) -> str | None:
        if isinstance(to, Upstream):
            self._parts.check_own(to)
            return to.name
        return to


def _fixed(response: Response) -> dict[str, Any]:
    body = response.body or b""
    if not isinstance(body, bytes):
        raise ConfigError(
            "a fixed response cannot be streamed", hint="respond in a request hook", where=caller()
        )
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            "a fixed response must be text", hint="respond in a request hook", where=caller()
        ) from None
    return {"status": response.status, "headers": dict(response.headers.items()), "body": text}
