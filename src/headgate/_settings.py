"""The settings of a gateway, as the methods that a Python file calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from ._caller import caller
from ._decorators import _reference
from ._on_demand import Ask, check_ask
from ._parts import Parts
from .background.background import Background
from .config.acme import AcmeOptions
from .config.background import BackgroundOptions
from .config.errors import ConfigError
from .config.hooks import OnError
from .config.http2 import Http2Options
from .config.http3 import Http3Options
from .config.limits import LimitsOptions, TimeoutsOptions
from .config.log_targets import LogTargetOptions
from .config.metrics import MetricsOptions
from .config.model import GatewayConfig
from .config.path import PathOptions
from .config.resolver import ResolverOptions
from .config.resolvers import Resolver, add_resolver
from .config.tracing import TracingOptions
from .config.tunnels import TunnelsOptions
from .config.websocket import WebSocketOptions
from .metrics import Memory, Metrics

F = TypeVar("F", bound=Resolver)
A = TypeVar("A", bound=Ask)


class GatewayMetrics(Metrics):
    """What `gate.metrics` is."""

    def __init__(self, memory: Memory, set_key: Callable[[str, Any], None]) -> None:
        super().__init__(memory)
        self._set_key = set_key

    def __call__(self, listen: str | None = None, **settings: Unpack[MetricsOptions]) -> None:
        """Counts by route, upstream and server; serves `/metrics`, `/livez` and `/readyz` at that address.

        `statsd="127.0.0.1:8125"` sends the same numbers to a StatsD server.
        """
        self._set_key("metrics", said({"listen": listen, **settings}))


class GatewaySettings:
    """The part of a gateway that sets what holds for all of it."""

    _parts: Parts
    background: Background
    _metrics: GatewayMetrics | None = None

    def limits(self, **limits: Unpack[LimitsOptions]) -> None:
        """Sets limits on what clients may send and hold, such as `max_body_bytes="16m"`."""
        self._set("limits", limits)

    def timeouts(self, **timeouts: Unpack[TimeoutsOptions]) -> None:
        """Sets time limits, such as `client_head="10s"`."""
        self._set("timeouts", timeouts)

    def path(self, **rules: Unpack[PathOptions]) -> None:
        """Sets how paths are normalized, such as `encoded_slashes="refuse"`."""
        self._set("path", rules)

    def resolver(self, **settings: Unpack[ResolverOptions]) -> None:
        """Sets how names of servers are looked up in DNS, such as `servers=["10.0.0.53"], max_ttl="30s"`."""
        self._set("resolver", settings)

    def tunnels(self, **settings: Unpack[TunnelsOptions]) -> None:
        """Lets servers behind NAT dial in, such as `tokens={"token": "env:HOME_TOKEN", "expose": "home"}`."""
        self._set("tunnels", settings)

    def http2(self, **settings: Unpack[Http2Options]) -> None:
        """Configures HTTP/2 with clients, such as `max_concurrent_streams=64`, or `enabled=False`."""
        self._set("http2", settings)

    def http3(self, **settings: Unpack[Http3Options]) -> None:
        """Configures HTTP/3 with clients, such as `max_concurrent_streams=64`; listeners enable it."""
        self._set("http3", settings)

    def websocket(self, **settings: Unpack[WebSocketOptions]) -> None:
        """Sets limits of WebSockets with message hooks, such as `max_message_bytes="64k"`."""
        self._set("websocket", settings)

    def tls(self, *, require_fips: bool) -> None:
        """Sets requirements on the cryptographic module; certificates belong to listeners (`listen(tls=...)`)."""
        self._set("tls", {"require_fips": require_fips})

    def acme(self, **settings: Unpack[AcmeOptions]) -> None:
        """Sets how certificates are ordered for listeners with `tls="auto"`, such as `email="ops@example.com"`."""
        self._set("acme", settings)

    def acme_ask(self, function: A) -> A:
        """Has a function decide which names get a certificate on demand: it is given a name in lower case, returns
        `True` or `False`, and may be async. Called when a client first asks for a name that has no certificate.
        """
        if self._parts.acme_ask is not None:
            raise ConfigError("`acme_ask` is already defined", where=caller())
        check_ask(function)
        self._parts.acme_ask = function
        return function

    def background_limits(self, **limits: Unpack[BackgroundOptions]) -> None:
        """Sets limits of tasks, threads and job processes, such as `processes=2`."""
        self._set("background", limits)

    def forwarding(
        self,
        *,
        x_forwarded: bool | None = None,
        forwarded: bool | None = None,
        via: bool | None = None,
        name: str | None = None,
        identity_fields: str | Sequence[str] | None = None,
        client_certificate: Mapping[str, str] | None = None,
    ) -> None:
        """Sets the header fields about the client for servers, and about the gateway for clients."""
        self._set(
            "forwarding",
            said(
                {
                    "x_forwarded": x_forwarded,
                    "forwarded": forwarded,
                    "via": via,
                    "name": name,
                    "identity_fields": identity_fields,
                    "client_certificate": client_certificate,
                }
            ),
        )

    def trusted_proxies(self, *networks: str) -> None:
        """Believes these networks about the client: X-Forwarded-For, Forwarded, X-Real-IP and PROXY headers.

        What all others say is dropped. With none, no peer is trusted.
        """
        self._set("trusted_proxies", networks)

    def access_log(
        self,
        format: str | None = None,
        *,
        to: str | None = None,
        flush: float | str | None = None,
        buffer_bytes: int | str | None = None,
        mask_query: str | Sequence[str] | None = None,
        mask_paths: str | Sequence[str] | None = None,
    ) -> None:
        """Enables the access log, as `json`, `combined`, or in your own format."""
        given = {"format": format, "to": to, "flush": flush, "buffer_bytes": buffer_bytes}
        self._set("access_log", said({**given, "mask_query": mask_query, "mask_paths": mask_paths}))

    def log_target(self, to: str, **options: Unpack[LogTargetOptions]) -> None:
        """Sends each line of the access log, as JSON, to a target as well, such as `"loki:http://loki:3100"`."""
        target = {"to": to, **options}
        GatewayConfig.parse({"log_targets": [target]}, locate=lambda _: caller())
        before = self._parts.settings.get("log_targets", [])
        self._parts.places["log_targets", len(before)] = caller()
        self._parts.settings["log_targets"] = [*before, target]

    def error_log(
        self, *, level: str | None = None, format: str | None = None, to: str | None = None
    ) -> None:
        """Configures the error log."""
        self._set("error_log", said({"level": level, "format": format, "to": to}))

    @property
    def metrics(self) -> GatewayMetrics:
        """Metrics of your own, such as `gate.metrics.counter("logins_total")`; called, it sets where all are served:
        `gate.metrics(listen="127.0.0.1:9145")`.
        """
        if self._metrics is None:
            self._metrics = GatewayMetrics(self.background.metrics, self._set)
        return self._metrics

    def tracing(self, otlp: str, **settings: Unpack[TracingOptions]) -> None:
        """Records requests as traces and sends them to a collector (`http://collector:4318`), such as `sample="1%"`."""
        self._set("tracing", {"otlp": otlp, **settings})

    def server_timing(self, on: bool = True) -> None:
        """Sends the times of hooks and of the server to clients in `Server-Timing`."""
        self._set("server_timing", on)

    def watchdog(self, limit: float | str | None = "100ms", *, kill: float | str | None = "30s") -> None:
        """Logs the stack of Python code that blocks the event loop for longer than `limit`.

        A worker that does not respond for `kill` is killed and replaced. `None` for either: never.
        """
        self._set("watchdog", {"log": limit, "kill": kill})

    def workers(self, count: int | None) -> None:
        """Sets the number of worker processes; `None`: one per core."""
        self._set("workers", count)

    def request_id(self, header: str | None) -> None:
        """Sets the header field with the request's id, for servers and clients; `None`: none is sent."""
        self._set("request_id_header", header)

    def consumer(
        self,
        name: str,
        *,
        keys: str | Sequence[str] | None = None,
        basic: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        jwt: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        hmac: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        certificates: str | Sequence[str] | None = None,
        groups: str | Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        plugin_sets: str | Sequence[str] | None = None,
    ) -> None:
        """Adds somebody who uses the gateway, with the credentials that plugins know them by."""
        given = {"keys": keys, "basic": basic, "jwt": jwt, "hmac": hmac, "certificates": certificates}
        more = {"groups": groups, "labels": labels, "plugin_sets": plugin_sets}
        self._set("consumers", {name: said({**given, **more})})

    def consumer_group(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        plugin_sets: str | Sequence[str] | None = None,
    ) -> None:
        """Says what the consumers of a group have in common; a consumer names its groups."""
        self._set("consumer_groups", {name: said({"labels": labels, "plugin_sets": plugin_sets})})

    def secrets(self, scheme: str) -> Callable[[F], F]:
        """Registers a function, sync or async, that fetches secrets: with `@gate.secrets("vault")`, the secret
        `vault:a/b` is what the function returns for `"a/b"`. It must come before what uses such secrets.

        It is called when settings are loaded, in each process that loads them, with a time limit of 10 s.
        """
        where = caller()

        def register(function: F) -> F:
            try:
                add_resolver(scheme, function)
                self._set("secret_resolvers", {scheme: _reference(function)})
            except ConfigError as error:
                raise error.at(where) from None
            return function

        return register

    def store(self, url: str) -> None:
        """Follows the configuration in a store as well, such as `"sqlite:///var/lib/headgate/config.db"`."""
        self._set("store", url)

    def admin(
        self,
        listen: str,
        *,
        tokens: str | Sequence[str | Mapping[str, str]] | None = None,
        tls: Mapping[str, Any] | str | None = None,
        hosts: str | Sequence[str] | None = None,
        breakpoints: bool | None = None,
    ) -> None:
        """Serves the Admin API on `127.0.0.1:9144` for who has one of `tokens`, or on `unix:/path` for the owner.

        With `breakpoints`, callers with the role `admin` may look into running code, and so run any.
        """
        given = {"tokens": tokens, "tls": tls, "hosts": hosts, "breakpoints": breakpoints}
        self._set("admin", said({"listen": listen, **given}))

    def zone(self, name: str) -> None:
        """Says where the gateway is, such as `"eu-1a"`, for upstreams with `locality`; `HEADGATE_CONFIG_ZONE` says it
        for one node.
        """
        self._set("zone", name)

    def state_folder(self, path: str) -> None:
        """Sets the directory for persistent state of this node."""
        self._set("state_folder", path)

    def hook_defaults(self, *, deadline: float | str | None = None, on_error: OnError | None = None) -> None:
        """Sets the default deadline and `on_error` of hooks."""
        for key, value in said({"hook_deadline": deadline, "hook_on_error": on_error}).items():
            self._set(key, value)

    def _set(self, key: str, value: Any) -> None:
        merged = {**self._parts.settings.get(key, {}), **value} if isinstance(value, Mapping) else value
        GatewayConfig.parse({key: merged}, locate=lambda _: caller())
        self._parts.places[key,] = caller()
        self._parts.settings[key] = merged


def said(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, without what was left out: defaults are written in the model only."""
    return {key: value for key, value in given.items() if value is not None}


def listed(value: Any) -> Any:
    """A list of what can be listed; the model refuses the rest."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
