"""Addresses that cannot be listened on at once. The supervisor uses it, too, so it loads nothing heavy."""

import ipaddress

from .addresses import Address, TcpAddress

ANY = "any"


def overlap(one: Address, other: Address) -> bool:
    """Whether the second of two addresses could not be bound, since the first has the port on the same interface."""
    if not isinstance(one, TcpAddress) or not isinstance(other, TcpAddress):
        return one == other
    if one.port != other.port or one.port == 0:
        return False
    hosts, others = _hosts(one.host), _hosts(other.host)
    return any(
        ANY in (hosts[family], others[family]) or hosts[family] == others[family]
        for family in hosts.keys() & others.keys()
    )


def _hosts(host: str) -> dict[int, str]:
    """The address of each family that a host stands for; a name stands for itself."""
    if not host:
        return {4: ANY, 6: ANY}
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return {0: host}
    return {address.version: ANY if address.is_unspecified else str(address)}
