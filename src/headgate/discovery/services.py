"""The servers of a service, from its SRV records (RFC 2782): priorities, weights, and the addresses of targets.

How it works: targets of the lowest priority serve, those of all others are backups. Weights are shares among the
targets of one priority. One of weight 0 is to get a very small share, and each server here has at least the share 1:
so where some weights are 0, the others are scaled up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from typing import Any

from headgate._digits import whole_number

from .resolving import Target

ABSENT = "."
"""The target that says: there is decidedly no such service."""
LARGEST_SHARE = 100
"""Of a target among others: what is finer than a hundredth is not told apart."""


def targets_of(records: Iterable[Target]) -> list[Target]:
    """The targets that servers are to be looked up for."""
    return sorted({one for one in records if one.host != ABSENT and one.port > 0})


def servers_of(targets: Iterable[Target], addresses: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """The servers of a service, each address and port once, in order; `addresses` are those of its targets."""
    every = list(targets)
    first = min((one.priority for one in every), default=0)
    shares = {
        priority: _shares([one.weight for one in every if one.priority == priority])
        for priority in {one.priority for one in every}
    }
    found: dict[str, dict[str, Any]] = {}
    for target in sorted(every):
        for address in sorted(addresses.get(target.host, ())):
            server = {
                "address": with_port(address, target.port),
                "weight": shares[target.priority][target.weight],
                "backup": target.priority != first,
            }
            found.setdefault(str(server["address"]), server)
    return list(found.values())


def _shares(weights: list[int]) -> dict[int, int]:
    """The share of each weight, from 1 to `LARGEST_SHARE`."""
    largest, common = max(weights), gcd(*weights)
    if not largest:
        return {0: 1}
    if all(weights) and largest // common <= LARGEST_SHARE:
        return {weight: weight // common for weight in weights}
    return {weight: max(1, round(weight * LARGEST_SHARE / largest)) for weight in weights}


def number_of(said: object) -> int:
    """A number that a registry says, as one or as a text of digits; raises `ValueError`."""
    number = whole_number(said) if isinstance(said, str) else said
    if type(number) is not int:
        raise ValueError("a registry says something that is not a whole number")
    return number


def port_of(said: object) -> int:
    """A port that a registry says; raises `ValueError`."""
    port = number_of(said)
    if not 0 < port < 65536:
        raise ValueError("a registry says something that is not a port")
    return port


def weight_of(said: object) -> int:
    """A weight that a registry says, brought to what servers can have; raises `ValueError`."""
    return max(1, min(number_of(said), 65535))


def text_of(said: object) -> str | None:
    """A text that a registry says, if it says one; raises `ValueError`."""
    if said is not None and not isinstance(said, str):
        raise ValueError("a registry says something that is not a text")
    return said or None


def with_port(address: str, port: int) -> str:
    """An IP address and a port as one text."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
