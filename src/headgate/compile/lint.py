"""What is allowed but hardly meant: told by `headgate check`, and refused by `check --strict`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from headgate.config.addresses import ListAddress, SrvAddress, TcpAddress, parse_server_address
from headgate.config.errors import Problem
from headgate.config.model import GatewayConfig, Sending
from headgate.gateway import Gateway

from .acme_names import unreachable_names
from .client_usage import unfit_for_clients
from .dangling import dangling
from .expiring import expiring
from .ineffective import ineffective
from .misplaced import misplaced
from .unreachable import unreachable

Resolve = Callable[[str], object]
"""Looks up a host name, or a service as `srv:NAME`; raises `OSError` for one that does not resolve."""


def lint(
    gateway: Gateway,
    resolve: Resolve | None = None,
    *,
    config: GatewayConfig | None = None,
    is_whole: bool = False,
) -> Iterator[Problem]:
    """Routes that take no request, upstreams and sets of plugins that nobody names, servers listed twice, names that
    lead to nothing, settings without effect, zones and subsets without servers, certificates that expire or are not for
    clients; with `resolve` also names that do not resolve.

    `config` is the model of the gateway where it has been made already. `is_whole`: the resources of its store are in
    it.
    """
    config = config or gateway.config
    yield from unreachable(gateway._parts.routes)
    if is_whole or not (config.store or config.admin):
        yield from _unused(gateway, config)
    yield from _listed_twice(gateway, config)
    yield from dangling(gateway, config, is_whole=is_whole)
    yield from ineffective(gateway, config)
    yield from misplaced(gateway, config)
    yield from expiring(gateway, config)
    yield from unfit_for_clients(gateway, config)
    if resolve:
        yield from _unresolved(gateway, config, resolve)
        yield from unreachable_names(gateway, config, resolve)


def _unused(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """Only where no code runs, which could choose an upstream by its name."""
    parts = gateway._parts
    has_code = (
        parts.hooks
        or parts.plugins
        or parts.plugin_sets
        or any(route._in_order() or route.when for route in parts.routes)
    )
    if has_code or any(one._hooks for one in (*parts.listeners, *parts.tcp, *parts.udp)):
        return
    every: list[Sending] = [*config.routes, *config.tls_routes, *config.tcp, *config.udp]
    named = {one.to for one in every}
    for name in config.upstreams:
        if name not in named:
            where = parts.locate(("upstreams", name))
            yield Problem(
                f"nothing leads to the upstream `{name}`", "name it as `to` of a route, or remove it", where
            )


def _listed_twice(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """Servers that an upstream lists more than once: it would count their failures and connections apart."""
    for name, upstream in config.every_upstream().items():
        seen: set[tuple[str, ...]] = set()
        for server in upstream.servers:
            key = _place(server.address)
            if key in seen:
                yield Problem(
                    f"the upstream `{name}` lists the server `{server.address}` more than once",
                    "list it once; `weight=2` gives it a larger share",
                    gateway._parts.locate(("upstreams", name)),
                )
            seen.add(key)


def _place(text: str) -> tuple[str, ...]:
    """What is equal for two spellings of one server."""
    address = parse_server_address(text)
    if isinstance(address, TcpAddress):
        return (address.host.lower().rstrip("."), str(address.port))
    if isinstance(address, SrvAddress | ListAddress):
        return (str(address).lower().rstrip("."),)
    return (os.path.normpath(address.path),)


def _unresolved(gateway: Gateway, config: GatewayConfig, resolve: Resolve) -> Iterator[Problem]:
    asked: set[str] = set()
    for name, upstream in config.every_upstream().items():
        for server in upstream.servers:
            address = parse_server_address(server.address)
            host = str(address) if isinstance(address, SrvAddress) else getattr(address, "host", None)
            if host is None or host in asked:
                continue
            asked.add(host)
            try:
                resolve(host)
            except OSError as error:
                where = gateway._parts.locate(("upstreams", name))
                yield Problem(
                    f"`{host}` of the upstream `{name}` does not resolve",
                    str(error.strerror or error).lower(),
                    where,
                )
