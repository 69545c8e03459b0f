"""HTTPS records (RFC 9460), by which clients learn of HTTP/3 before their first connection."""

from __future__ import annotations

from collections.abc import Iterator

from headgate.config.addresses import TcpAddress, parse_listen_address
from headgate.config.errors import ConfigError
from headgate.config.listeners import ListenerConfig
from headgate.config.model import GatewayConfig, is_orderable

HTTPS_PORT = 443
FALLBACK_TTL_S = 300
"""Where clients are not told by `Alt-Svc` for how long they may remember HTTP/3."""


def https_records(config: GatewayConfig) -> list[str]:
    """The records of the names that routes and `acme` have, as lines of a zone file.

    Raises `ConfigError` where nothing is to be published.
    """
    listeners = [one for one in config.listeners if one.http3]
    if not listeners:
        raise ConfigError("no listener speaks HTTP/3", hint="set `http3: true` on a listener with `tls`")
    names = dict.fromkeys([*_hosts(config), *config.acme_names()])
    if not names:
        raise ConfigError(
            "no route says which names the gateway has", hint="set `host` on routes, or `acme.names`"
        )
    ttl = round(config.http3.alt_svc_max_age or FALLBACK_TTL_S)
    alpn = "h3,h2" if config.http2.enabled else "h3"
    made = (
        record
        for listener in listeners
        for name in names
        for record in _record(name, _port(listener), f'{ttl} IN HTTPS 1 {{target}} alpn="{alpn}"')
    )
    return list(dict.fromkeys(made))


def _hosts(config: GatewayConfig) -> Iterator[str]:
    for route in config.routes:
        yield from (host for host in route.host if is_orderable(host, wildcards=True))


def _port(listener: ListenerConfig) -> int:
    """Where clients reach it."""
    address = parse_listen_address(listener.address)
    assert isinstance(address, TcpAddress), "as HTTP/3 needs"
    return listener.http3_port or address.port


def _record(name: str, port: int, rest: str) -> Iterator[str]:
    if port == HTTPS_PORT:
        yield f"{name}. {rest.format(target='.')}"
    elif not name.startswith("*."):
        # section 2.3: another port has names of its own, which no wildcard stands for
        yield f"_{port}._https.{name}. {rest.format(target=f'{name}.')}"
