"""Servers that are found by a name: which they are, and what an upstream comes to with them. Pure: nobody is asked.

How it works: what was found for a server of the configuration is a set, known by that server's address as it is
written. A server with a set stands for the servers in it, which may be none. One without a set was not looked up yet:
a name then is one server, whose workers resolve it themselves; a service (`srv:`) or a list has no servers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from .addresses import parse_server_address
from .model import GatewayConfig
from .registries import PREFIXES
from .upstreams import ServerConfig, UpstreamConfig

Found = Mapping[str, Any]
"""One server of a set: its `address`, and what was found of its other settings (`weight`, `backup` and so on)."""

Sets = Mapping[str, Sequence[Found]]
"""What was found, by the addresses of servers as they are written, without `https://`."""

MOST_SERVERS = 4096
"""Of an upstream."""


class Serving(NamedTuple):
    """A server that requests go to."""

    config: ServerConfig
    host: str | None
    """The `name:port` that it was found by; None for one that is written by its address."""


Kind = Literal["host", "service", "file", "function", "registry"]


class Sought(NamedTuple):
    """What is to be looked up for a server."""

    key: str
    """Under which the set is known."""
    kind: Kind
    name: str
    """A host, a service, a path, the name of a function, or a whole address of a registry."""
    port: int | None = None
    """Of a host."""


def sought(server: ServerConfig) -> Sought | None:
    """What is to be looked up for a server; None for an address, a path, `localhost`, and names left to workers."""
    return _sought(server.address) if server.resolve else None


def sought_by(address: str) -> Sought | None:
    """The same for a server of which only the address is written; None also for what is none."""
    try:
        return _sought(str(parse_server_address(address)))
    except ValueError:
        return None


_LISTS: Mapping[str, Kind] = {"srv:": "service", "file:": "file", "discover:": "function"}


def _sought(address: str) -> Sought | None:
    written = address.removeprefix("https://")
    if written.startswith("unix:"):
        return None
    if written.startswith(PREFIXES):
        return Sought(written, "registry", written)
    for prefix, kind in _LISTS.items():
        if written.startswith(prefix):
            return Sought(written, kind, written.removeprefix(prefix))
    host, _, port = written.rpartition(":")
    host = host.lower()
    if host.startswith("[") or host.rstrip(".").endswith("localhost") or _is_ip(host):
        return None
    return Sought(written, "host", host, int(port))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def every_sought(config: GatewayConfig) -> dict[str, Sought]:
    """All that is to be looked up for a configuration, by key."""
    servers = (server for upstream in config.every_upstream().values() for server in upstream.servers)
    return {one.key: one for one in map(sought, servers) if one}


def serving(upstream: UpstreamConfig, sets: Sets) -> list[Serving]:
    """The servers that requests go to, each once, in the order of the configuration; at most `MOST_SERVERS`."""
    known: dict[tuple[str, bool], Serving] = {}
    for server in upstream.servers:
        for one in _expanded(server, sets):
            is_secure = one.config.address.startswith("https://")
            known.setdefault((one.config.address, is_secure), one)
    return list(known.values())[:MOST_SERVERS]


def _expanded(server: ServerConfig, sets: Sets) -> Iterator[Serving]:
    looked_up = sought(server)
    if looked_up is None:
        yield Serving(server, None)
        return
    found = sets.get(looked_up.key)
    if found is None and looked_up.kind == "host":
        yield Serving(server, None)
        return
    is_named = looked_up.kind in ("host", "service")
    is_secure = is_named and (server.address.startswith("https://") or is_of_tls(looked_up.name))
    for one in found or ():
        address = one["address"]
        changed = {
            **one,
            "address": f"https://{address}" if is_secure else address,
            "backup": server.backup or one.get("backup", False),
            "metadata": {**server.metadata, **one.get("metadata", {})},
        }
        host = f"{known_as(looked_up)}:{address.rpartition(':')[2]}" if is_named else None
        yield Serving(server.model_copy(update=changed), host)


def known_as(one: Sought) -> str:
    """The host that certificates are checked for: a service's own domain, not the targets that anybody's DNS may name
    (RFC 6125 section 6.2.1).
    """
    if one.kind != "service":
        return one.name
    labels = one.name.rstrip(".").split(".")
    while len(labels) > 1 and labels[0].startswith("_"):
        labels.pop(0)
    return ".".join(labels)


def is_of_tls(service: str) -> bool:
    """Whether a service's name says that TLS is spoken: `_https._tcp.app.internal`."""
    return service.lower().startswith("_https.")
