"""Names whose certificates are ordered, but that lead elsewhere. Told by `headgate check --strict`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from headgate.config.acme import AcmeConfig
from headgate.config.addresses import TcpAddress, parse_listen_address
from headgate.config.errors import Problem
from headgate.config.model import GatewayConfig
from headgate.gateway import Gateway


def unreachable_names(
    gateway: Gateway, config: GatewayConfig, resolve: Callable[[str], object]
) -> Iterator[Problem]:
    """One for each name that does not resolve, or has an IPv6 address while no listener is on IPv6.

    Authorities try IPv6 first, and IPv4 only where that connection fails at once.
    """
    if not config.uses_acme or (config.acme or AcmeConfig()).challenges == ("dns-01",):
        return
    has_ipv6 = any(map(_is_on_ipv6, (one.address for one in config.listeners)))
    for name in config.acme_names():
        if name.startswith("*."):
            continue
        where = gateway._parts.locate(("acme",))
        try:
            found = resolve(name)
        except OSError as error:
            reason = str(error.strerror or error).lower()
            yield Problem(
                f"`{name}`, for which a certificate is ordered, does not resolve: {reason}",
                "its DNS records must lead to this gateway",
                where,
            )
            continue
        addresses = (
            [one[4][0] for one in found if one[0] == socket.AF_INET6] if isinstance(found, list) else []
        )
        if addresses and not has_ipv6:
            yield Problem(
                f"`{name}` has the IPv6 address `{addresses[0]}`, but no listener is on IPv6",
                "authorities connect to it first: listen on `:443` and `:80`, or remove the AAAA record",
                where,
            )


def _is_on_ipv6(text: str) -> bool:
    address = parse_listen_address(text)
    return isinstance(address, TcpAddress) and (not address.host or ":" in address.host)
