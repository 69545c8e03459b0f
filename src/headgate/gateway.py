"""The gateway as a Python file builds it: listeners, upstreams, routes, hooks and plugins on one object."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast

from ._caller import caller
from ._compiling import Compiled, compile_gateway
from ._decorators import GatewayPhases, RegisteredHook
from ._plugin_uses import PluginUse
from .background.background import Background
from .background.calls import BackgroundCalls
from .config.background import BackgroundOptions
from .config.errors import ConfigError, Locate, Where
from .config.errors import Path as ConfigPath
from .config.hooks import HooksConfig, OnError, PluginConfig
from .config.http2 import Http2Options
from .config.limits import LimitsOptions, TimeoutsOptions, UpstreamTimeoutsConfig
from .config.listeners import (
    ListenerConfig,
    ProxyProtocol,
    TcpListenerConfig,
    TlsRouteConfig,
    UdpListenerConfig,
)
from .config.model import GatewayConfig
from .config.routes import RouteConfig
from .config.settings import Settings
from .config.tls import RouteCertificate, Tls
from .config.upstreams import Balance, UpstreamConfig, UpstreamProtocol
from .config.websocket import WebSocketOptions
from .listener import Listener, StreamListener
from .message import Response
from .plugin import Plugin
from .route import Matcher, Route, Upstream

if TYPE_CHECKING:
    from .asgi import Application

S = TypeVar("S", bound=Settings)

Conditions = str | Mapping[str, str | bool | None]
"""Names and wanted values: a text, `~regex`, `True` for any value, `False` for absence."""


class Gateway(GatewayPhases, BackgroundCalls):
    """A gateway: what it listens on, where requests go, and the functions that see them on the way.

    Every call checks what it is given at once and raises `ConfigError`, which names the line of the call. The
    decorators named as phases (`startup`, `connect`, `request`, `request_body`, `balance`, `response`, `log` and so on)
    hang hooks on every route.
    """

    def __init__(self) -> None:
        where = caller()
        self.folder = Path(where.file).parent if where and os.path.isfile(where.file) else Path.cwd()
        self.hooks: list[RegisteredHook] = []
        self.background = Background()
        self.routes: list[Route] = []
        self.upstreams: dict[str, Upstream] = {}
        self.plugins: list[PluginUse] = []
        self.listeners: list[Listener] = []
        self.tcp: list[StreamListener] = []
        self.udp: list[StreamListener] = []
        self._tls_routes: list[TlsRouteConfig] = []
        self._settings: dict[str, Any] = {}
        self._places: dict[ConfigPath, Where | None] = {}
        self._locate: Locate | None = None

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
    ) -> Listener:
        """Accepts connections on `:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gate.sock`.

        `tls` is a certificate's file, several, or `Tls(...)` with all there is to say. The listener it gives carries
        decorators for hooks of its connections: `@listener.connect`.
        """
        given = {
            "address": address,
            "name": name,
            "proxy_protocol": proxy_protocol,
            "trusted_proxies": _listed(trusted_proxies),
            "tls_passthrough": tls_passthrough or None,
            "tls": tls,
        }
        listener = Listener(self._parse(ListenerConfig, _said(given), ()), caller())
        self._places["listeners", len(self.listeners)] = listener.where
        self.listeners.append(listener)
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
    ) -> StreamListener:
        """Accepts connections whose bytes are carried to an upstream, or to the server a hook chooses, as they are."""
        given = {
            "address": address,
            "name": name,
            "to": self._target(to),
            "proxy_protocol": proxy_protocol,
            "trusted_proxies": _listed(trusted_proxies),
            "tls_passthrough": tls_passthrough or None,
            "max_connections": max_connections,
            "max_connections_per_client": max_connections_per_client,
            "idle": idle,
            "lifetime": lifetime,
        }
        listener = StreamListener(self._parse(TcpListenerConfig, _said(given), ()), caller())
        self._places["tcp", len(self.tcp)] = listener.where
        self.tcp.append(listener)
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
        """Takes datagrams and carries them to an upstream, those of one client to one server."""
        given = {
            "address": address,
            "name": name,
            "to": self._target(to),
            "max_connections": max_connections,
            "max_connections_per_client": max_connections_per_client,
            "idle": idle,
        }
        listener = StreamListener(self._parse(UdpListenerConfig, _said(given), ()), caller())
        self._places["udp", len(self.udp)] = listener.where
        self.udp.append(listener)
        return listener

    def tls_route(self, *hosts: str, to: Upstream | str) -> None:
        """Carries TLS connections for these names (SNI) on to an upstream without decrypting them, on listeners with
        `tls_passthrough`. The patterns are those of a route's `host`.
        """
        self._places["tls_routes", len(self._tls_routes)] = caller()
        said = {"host": list(hosts), "to": self._target(to)}
        self._tls_routes.append(self._parse(TlsRouteConfig, said, ()))

    def upstream(
        self,
        name: str,
        *servers: str | Mapping[str, Any],
        balance: Balance | None = None,
        protocol: UpstreamProtocol | None = None,
        grpc_web: bool | None = None,
        keepalive: Mapping[str, Any] | None = None,
        retries: int | None = None,
        timeouts: Mapping[str, Any] | UpstreamTimeoutsConfig | None = None,
        host: str | None = None,
        proxy_protocol: Literal["v1", "v2"] | None = None,
        source: str | None = None,
        tls: Mapping[str, Any] | None = None,
    ) -> Upstream:
        """A group of servers, such as `"10.0.0.2:9000 weight=2 backup"`, among which requests are shared out."""
        given: dict[str, Any] = {
            "servers": list(servers),
            "balance": balance,
            "protocol": protocol,
            "grpc_web": grpc_web,
            "keepalive": keepalive,
            "retries": retries,
            "timeouts": timeouts,
            "host": host,
            "proxy_protocol": proxy_protocol,
            "source": source,
            "tls": tls,
        }
        config = self._parse(UpstreamConfig, _said(given), ("upstreams", name))
        if name in self.upstreams:
            first = self.upstreams[name].where
            raise ConfigError(f"the upstream `{name}` is there already", hint=f"see {first}", where=caller())
        self.upstreams[name] = Upstream(name, config, caller())
        self._places["upstreams", name] = caller()
        return self.upstreams[name]

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
        redirect: str | Mapping[str, Any] | None = None,
        respond: str | int | Response | Mapping[str, Any] | None = None,
        files: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        strip_prefix: str | None = None,
        replace_prefix: str | None = None,
        max_body_bytes: int | str | None = None,
        client_certificate: RouteCertificate | None = None,
        timeouts: Mapping[str, float | str] | None = None,
        deadline: float | str | None = None,
        on_error: OnError | None = None,
        name: str | None = None,
    ) -> Route:
        """Requests of this path, host, method and so on, and what becomes of them: `to` an upstream or an address,
        `redirect`, `respond`, `files`, or what its request hook answers.

        The route it gives is a decorator for a request hook, and carries decorators for its other phases.
        """
        to = self._target(to)
        given = {
            "path": path,
            "to": to,
            "host": _listed(host),
            "methods": _listed(methods),
            "headers": headers,
            "query": query,
            "priority": priority,
            "redirect": redirect,
            "respond": _fixed(respond) if isinstance(respond, Response) else respond,
            "files": os.fspath(files) if isinstance(files, os.PathLike) else files,
            "strip_prefix": strip_prefix,
            "replace_prefix": replace_prefix,
            "max_body_bytes": max_body_bytes,
            "client_certificate": client_certificate,
            "timeouts": timeouts,
            "deadline": deadline,
            "on_error": on_error,
            "name": name,
        }
        route = Route(self._parse(RouteConfig, _said(given), ()), when, caller())
        self._places["routes", len(self.routes)] = route.where
        self.routes.append(route)
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

        Its lifespan runs with the worker's. `deadline` is how long an answer may take to begin. Hooks hang on the route
        that it gives as on any other.
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
        return route(mount)

    def use(
        self,
        plugin: Plugin,
        *,
        on: str | Route | Upstream | None = None,
        deadline: float | str | None = None,
        on_error: OnError | None = None,
    ) -> None:
        """Uses a plugin on every request, or only on a path pattern, on a route or upstream, or on the one so named."""
        if not isinstance(given := cast(object, plugin), Plugin):
            shown = getattr(given, "__name__", repr(given))
            hint = (
                f"write `{shown}(...)`" if isinstance(given, type) else "a plugin is a subclass of `Plugin`"
            )
            raise ConfigError(f"`{shown}` is no plugin", hint=hint, where=caller())
        if isinstance(on, Upstream):
            self._check_own(on)
        kind = type(plugin)
        said = {
            "plugin": f"{kind.__module__}:{kind.__qualname__}",
            "on": on if isinstance(on, str) or on is None else on.name,
            "config": plugin.config.model_dump(mode="json"),
            "deadline": deadline,
            "on_error": on_error,
        }
        said |= {
            "on": on if isinstance(on, str) or on is None else on.name,
            "config": plugin.config.model_dump(mode="json"),
        }
        config = self._parse(PluginConfig, said, ())
        self._places["plugins", len(self.plugins)] = caller()
        self.plugins.append(PluginUse(plugin, on, config, caller()))

    # --- settings

    def limits(self, **limits: Unpack[LimitsOptions]) -> None:
        """Sets bounds on what clients may send and hold, such as `max_body_bytes="16m"`."""
        self._set("limits", limits)

    def timeouts(self, **timeouts: Unpack[TimeoutsOptions]) -> None:
        """Sets the longest waits, such as `client_head="10s"`."""
        self._set("timeouts", timeouts)

    def http2(self, **settings: Unpack[Http2Options]) -> None:
        """Sets how HTTP/2 is spoken with clients, such as `max_concurrent_streams=64`, or `enabled=False`."""
        self._set("http2", settings)

    def websocket(self, **settings: Unpack[WebSocketOptions]) -> None:
        """Sets bounds on WebSockets whose messages hooks see, such as `max_message_bytes="64k"`."""
        self._set("websocket", settings)

    def tls(self, *, require_fips: bool) -> None:
        """Says what is demanded of the cryptographic module; certificates are the listeners' (`listen(tls=...)`)."""
        self._set("tls", {"require_fips": require_fips})

    def background_limits(self, **limits: Unpack[BackgroundOptions]) -> None:
        """Sets bounds on tasks, threads and job processes, such as `processes=2`."""
        self._set("background", limits)

    def forwarding(
        self,
        *,
        x_forwarded: bool | None = None,
        forwarded: bool | None = None,
        via: bool | None = None,
        name: str | None = None,
        client_certificate: Mapping[str, str] | None = None,
    ) -> None:
        """Sets what servers are told about the client, and clients about the gateway."""
        self._set(
            "forwarding",
            _said(
                {
                    "x_forwarded": x_forwarded,
                    "forwarded": forwarded,
                    "via": via,
                    "name": name,
                    "client_certificate": client_certificate,
                }
            ),
        )

    def trusted_proxies(self, *networks: str) -> None:
        """Believes these networks about the client: X-Forwarded-For, Forwarded, X-Real-IP and PROXY headers.

        What all others say is dropped. With none, nobody is believed.
        """
        self._set("trusted_proxies", networks)

    def access_log(
        self,
        format: str | None = None,
        *,
        to: str | None = None,
        flush: float | str | None = None,
        buffer_bytes: int | str | None = None,
    ) -> None:
        """Writes a line for each request, as `json`, `combined`, or in your own format."""
        self._set(
            "access_log", _said({"format": format, "to": to, "flush": flush, "buffer_bytes": buffer_bytes})
        )

    def error_log(
        self, *, level: str | None = None, format: str | None = None, to: str | None = None
    ) -> None:
        """Sets what is written about things that go wrong, and where."""
        self._set("error_log", _said({"level": level, "format": format, "to": to}))

    def server_timing(self, on: bool = True) -> None:
        """Tells clients in the field `Server-Timing` what each hook and the server took."""
        self._set("server_timing", on)

    def watchdog(self, limit: float | str | None) -> None:
        """Logs the stack of Python code that holds the loop for longer than this; `None` looks at nothing."""
        self._set("watchdog", limit)

    def workers(self, count: int | None) -> None:
        """Sets the number of worker processes; `None` is one for each core."""
        self._set("workers", count)

    def request_id(self, header: str | None) -> None:
        """Sets the field that carries the request's id to servers and clients; `None` sends none."""
        self._set("request_id_header", header)

    def hook_defaults(self, *, deadline: float | str | None = None, on_error: OnError | None = None) -> None:
        """Sets deadline and `on_error` of the hooks that say nothing themselves."""
        for key, value in _said({"hook_deadline": deadline, "hook_on_error": on_error}).items():
            self._set(key, value)

    # --- what comes of it

    @property
    def config(self) -> GatewayConfig:
        """The whole of it as the model; raises `ConfigError` for parts that do not fit together."""
        named = {
            name: [hook.described() for hook in self.hooks if hook.phase == name]
            for name in HooksConfig.model_fields
        }
        whole = {
            **self._settings,
            "listeners": [listener.described() for listener in self.listeners],
            "tcp": [listener.described() for listener in self.tcp],
            "udp": [listener.described() for listener in self.udp],
            "tls_routes": self._tls_routes,
            "upstreams": {name: upstream.config for name, upstream in self.upstreams.items()},
            "routes": [route.described() for route in self.routes],
            "plugins": [use.config for use in self.plugins],
            "hooks": HooksConfig.model_validate(named),
        }
        return GatewayConfig.parse(whole, locate=self.locate)

    def compile(self) -> Compiled:
        """The snapshot for the engine and the hooks beside it."""
        return compile_gateway(self)

    def locate(self, path: ConfigPath) -> Where | None:
        """The line that said what stands at `path` of the model."""
        if self._locate is not None:
            return self._locate(path)
        for length in range(len(path), 0, -1):
            if path[:length] in self._places:
                return self._places[path[:length]]
        return None

    def adopt(self, config: GatewayConfig, folder: Path, locate: Locate) -> None:
        """Takes listeners and settings from a document; `locate` knows its lines, `folder` is where it lies."""
        self.folder = folder
        self._locate = locate
        self._tls_routes = list(config.tls_routes)
        parts = ("listeners", "tcp", "udp", "tls_routes", "upstreams", "routes", "plugins", "hooks")
        self._settings = {key: getattr(config, key) for key in config.model_fields_set if key not in parts}

    def _set(self, key: str, value: Any) -> None:
        merged = {**self._settings.get(key, {}), **value} if isinstance(value, Mapping) else value
        GatewayConfig.parse({key: merged}, locate=lambda _: caller())
        self._places[key,] = caller()
        self._settings[key] = merged

    def _parse(self, model: type[S], value: Any, path: ConfigPath) -> S:
        return model.parse(value, path=path, locate=lambda _: caller())

    def _target(self, to: Upstream | str | None) -> str | None:
        if isinstance(to, Upstream):
            self._check_own(to)
            return to.name
        return to

    def _check_own(self, upstream: Upstream) -> None:
        if self.upstreams.get(upstream.name) is not upstream:
            raise ConfigError(f"the upstream `{upstream.name}` is of another gateway", where=caller())


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, without what was left out: defaults are written in the model only."""
    return {key: value for key, value in given.items() if value is not None}


def _listed(value: Any) -> Any:
    """A list of what can be listed; the model refuses the rest."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _fixed(response: Response) -> dict[str, Any]:
    body = response.body or b""
    if not isinstance(body, bytes):
        raise ConfigError("a fixed answer cannot stream", hint="answer in a request hook", where=caller())
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ConfigError("a fixed answer is text", hint="answer in a request hook", where=caller()) from None
    return {"status": response.status, "headers": dict(response.headers.items()), "body": text}
