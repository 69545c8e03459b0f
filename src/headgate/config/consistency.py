"""What a configuration as a whole must be: its parts fit together.

How it works: the models of the parts check each value; `check` looks at what one part says of another, and raises an
`Inconsistency` for the first that does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .addresses import Address, UnixAddress, parse_listen_address, parse_server_address
from .admin import leads_to
from .consumers import CONSUMER_NAME, ConsumerConfig, credentials
from .errors import ConfigError, suggestion
from .overlaps import overlap
from .streams import KINDS, senders, without_effect
from .tunnels import wrong_tunnel

if TYPE_CHECKING:
    from .listeners import ListenerConfig, TcpListenerConfig
    from .model import GatewayConfig, Sending

Place = tuple[str | int, ...]
"""Where in the configuration something is."""

_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Inconsistency(ConfigError):
    """Two parts of a configuration do not fit together; `path` says which one to look at."""

    def __init__(self, path: Place, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


def check(config: GatewayConfig, *, may_come: bool) -> None:
    """Raises `Inconsistency` for parts that do not fit; with `may_come`, a store may hold upstreams that are named."""
    # The path of the offender leads each message, since pydantic gives no path for a whole model.
    _check_upstreams(config)
    _check_shared_lists(config)
    _check_consumers(config.consumers)
    _check_proxy_headers(config)
    _check_routes(config, may_come=may_come)
    for key in KINDS:
        for position, one in enumerate(getattr(config, key)):
            _check_target(config, one, (key, position, "to"), may_come=may_come)
            if one.to in config.upstreams and config.upstreams[one.to].pull:
                raise Inconsistency(
                    (key, position, "to"),
                    f"the workers of `{one.to}` take HTTP requests, and `{key}` has connections or datagrams",
                    "send to it from `routes`",
                )
    if not may_come:  # resources may be routes that send requests
        _check_streams(config)
    _check_tunnels(config)
    _check_addresses(config)
    _check_names(config)
    _check_admin(config)


def _check_upstreams(config: GatewayConfig) -> None:
    for name, upstream in config.upstreams.items():
        if not _UPSTREAM_NAME.fullmatch(name):
            raise Inconsistency(
                ("upstreams", name),
                f"`{name}` is not a valid upstream name",
                "use letters, digits, `_`, `-`, `.`",
            )
        other = upstream.fallback and upstream.fallback.upstream
        if other == name or (other and other not in config.upstreams):
            raise Inconsistency(
                ("upstreams", name, "fallback", "upstream"),
                f"`{name}` cannot be its own fallback"
                if other == name
                else f"there is no upstream `{other}`",
                suggestion(other, [one for one in config.upstreams if one != name])
                or "name another upstream",
            )
        if upstream.pull and upstream.pull.fair_by == "client" and not config.forwarding.x_forwarded:
            raise Inconsistency(
                ("upstreams", name, "pull", "fair_by"),
                "`fair_by: client` reads X-Forwarded-For, which clients would write themselves",
                "set `forwarding.x_forwarded: true`",
            )
        if upstream.tls is not None and not upstream.is_secure:
            raise Inconsistency(
                ("upstreams", name, "tls"),
                f"the upstream `{name}` has `tls`, but no server that speaks it",
                "write its servers as `https://name`",
            )
        for position, server in enumerate(upstream.servers):
            if server.address.startswith("srv:") and "weight" in server.model_fields_set:
                raise Inconsistency(
                    ("upstreams", name, "servers", position, "weight"),
                    f"the weights of `{server.address}` are those of its SRV records",
                    "leave `weight` out",
                )


def _check_shared_lists(config: GatewayConfig) -> None:
    """Refuses two upstreams that take from one list: each would take announcements of the other's workers."""
    owners: dict[tuple[str, str], str] = {}
    for name, upstream in config.upstreams.items():
        if upstream.pull is None or (shared := upstream.pull.shared) is None:
            continue
        other = owners.setdefault((shared.redis.get_secret_value(), shared.list), name)
        if other != name:
            raise Inconsistency(
                ("upstreams", name, "pull", "shared", "list"),
                f"the upstreams `{other}` and `{name}` have the same list of workers `{shared.list}`",
                "give each a list of its own",
            )


def _check_proxy_headers(config: GatewayConfig) -> None:
    for key, position, listener in _proxied(config):
        if listener.proxy_protocol and not (listener.trusted_proxies or config.trusted_proxies):
            raise Inconsistency(
                (key, position, "proxy_protocol"),
                f"listener `{listener.name}` takes PROXY headers from no network",
                'say from whom: `trusted_proxies="10.0.0.0/8"`',
            )


def _check_routes(config: GatewayConfig, *, may_come: bool) -> None:
    asks = any(one.tls and one.tls.client_certificates.mode != "none" for one in config.listeners)
    for position, route in enumerate(config.routes):
        if route.to not in config.upstreams:
            _check_target(config, route, ("routes", position, "to"), may_come=may_come)
        if route.client_certificate == "required" and not asks:
            raise Inconsistency(
                ("routes", position, "client_certificate"),
                f"route `{route.shown_name}` wants a client certificate, but no listener asks for one",
                "set `tls.client_certificates` of a listener",
            )


def _check_target(config: GatewayConfig, route: Sending, path: Place, *, may_come: bool) -> None:
    if route.to is None or route.to in config.upstreams:
        return
    if ":" not in route.to:
        if may_come:
            return
        hint = suggestion(route.to, config.upstreams) or "write an address such as `10.0.0.1:9000`"
        raise Inconsistency(path, f"there is no upstream `{route.to}`", hint)
    try:
        parse_server_address(route.to)
    except ConfigError as error:
        raise Inconsistency(path, error.message, error.hint) from None


def _check_streams(config: GatewayConfig) -> None:
    """Refuses settings about requests of upstreams that get none."""
    for name, key in senders(config).items():
        for path in without_effect(config.upstreams[name], key):
            raise Inconsistency(
                ("upstreams", name, *path),
                f"`{'.'.join(path)}` has no effect: it is about HTTP requests, and only `{key}` sends to "
                f"the upstream `{name}`",
                "remove it, or send requests to an upstream of their own",
            )


def _check_tunnels(config: GatewayConfig) -> None:
    """Refuses servers behind tunnels that nobody may open."""
    servers: list[tuple[Place, str]] = [
        (("upstreams", name, "servers", position), server.address)
        for name, upstream in config.upstreams.items()
        for position, server in enumerate(upstream.servers)
    ]
    for key in ("routes", "tls_routes", "tcp", "udp"):
        for position, one in enumerate(getattr(config, key)):
            if one.to is not None and one.to.startswith("tunnel:"):
                servers.append(((key, position, "to"), str(parse_server_address(one.to))))
    for path, address in servers:
        if wrong := wrong_tunnel(config, address):
            raise Inconsistency(path, *wrong)


def _check_addresses(config: GatewayConfig) -> None:
    """Refuses modes of what has none, and addresses that cannot be listened on together."""
    for key, position, listener in _proxied(config):
        if listener.mode is not None and not listener.address.startswith("unix:"):
            raise Inconsistency(
                (key, position, "mode"), f"`{listener.address}` is not a Unix socket, so it has no mode"
            )
    addresses: list[tuple[Place, str]] = [
        ((key, n, "address"), one.address) for key, n, one in _proxied(config)
    ]
    if config.metrics and config.metrics.listen:
        addresses.append((("metrics", "listen"), config.metrics.listen))
    _refuse_overlaps(addresses)
    datagrams: list[tuple[Place, str]] = [
        (("listeners", n, "http3"), one.address) for n, one in enumerate(config.listeners) if one.http3
    ]
    datagrams += [(("udp", n, "address"), one.address) for n, one in enumerate(config.udp)]
    _refuse_overlaps(datagrams)


def _check_names(config: GatewayConfig) -> None:
    """Refuses two listeners, and two routes, of one name."""
    listeners = [
        (("listeners", n, "name"), one.name)
        for n, one in enumerate(config.listeners)
        if one.name != one.address
    ]
    _refuse_twins(listeners, "listener name")
    routes = [(("routes", n, "name"), one.name) for n, one in enumerate(config.routes) if one.name]
    _refuse_twins(routes, "route name")


def _check_admin(config: GatewayConfig) -> None:
    """Refuses servers that are the Admin API of this gateway."""
    if config.admin is None:
        return
    named: list[tuple[Place, str]] = [
        (("upstreams", name), server.address)
        for name, one in config.upstreams.items()
        for server in one.servers
    ]
    for key in ("routes", "tls_routes", "tcp", "udp"):
        named += [
            ((key, position, "to"), one.to)
            for position, one in enumerate(getattr(config, key))
            if one.to and ":" in one.to and one.to not in config.upstreams
        ]
    for path, address in named:
        if leads_to(config.admin, address):
            raise Inconsistency(
                path,
                f"`{address}` is the Admin API of this gateway",
                "clients must not reach it through here",
            )


def _proxied(config: GatewayConfig) -> Iterator[tuple[str, int, ListenerConfig | TcpListenerConfig]]:
    yield from (("listeners", position, one) for position, one in enumerate(config.listeners))
    yield from (("tcp", position, one) for position, one in enumerate(config.tcp))


def _check_consumers(consumers: dict[str, ConsumerConfig]) -> None:
    """Refuses names that are none, and two consumers with one credential, which is not shown."""
    owners: dict[tuple[str, str], str] = {}
    for name, consumer in consumers.items():
        if not CONSUMER_NAME.fullmatch(name):
            raise Inconsistency(
                ("consumers", name),
                f"`{name}` is not a valid consumer name",
                "letters, digits, `_`, `-`, `.`, `@`",
            )
        for credential in credentials(consumer):
            if (owner := owners.setdefault(credential, name)) != name:
                raise Inconsistency(
                    ("consumers", name), f"consumers `{owner}` and `{name}` have the same {credential[0]}"
                )


def _refuse_overlaps(values: Sequence[tuple[Place, str]]) -> None:
    """Refuses addresses that cannot be listened on beside an earlier one."""
    by_port: dict[int | str, list[tuple[str, Address]]] = {}
    for path, text in values:
        address = parse_listen_address(text)
        earlier = by_port.setdefault(address.path if isinstance(address, UnixAddress) else address.port, [])
        for other, known in earlier:
            if other == text and overlap(known, address):
                raise Inconsistency(
                    path, f"duplicate address `{text}`", "give each its own, or leave one out"
                )
            if overlap(known, address):
                raise Inconsistency(
                    path,
                    f"`{text}` is part of `{other}`, where this gateway listens already",
                    "keep one of them, or use another port",
                )
        earlier.append((text, address))


def _refuse_twins(values: Sequence[tuple[Place, str]], what: str) -> None:
    seen: set[str] = set()
    for path, value in values:
        if value in seen:
            raise Inconsistency(path, f"duplicate {what} `{value}`", "give each its own, or leave one out")
        seen.add(value)
