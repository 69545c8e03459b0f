"""DNS-SD over unicast DNS (RFC 6763): the instances of a service type, by PTR, SRV and address records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import dns.exception

from headgate.config.registries import Registered

from ..outcomes import Failed, Nothing, Outcome, Resolved
from ..resolving import Target, read_target
from ..services import servers_of, targets_of
from .calls import RegistryFailed
from .listed import Listing, Server

LEAST_S, MOST_S = 1.0, 3600.0
MOST_INSTANCES = 1000


class Asking(Protocol):
    """Who looks records up; see `Lookups`."""

    async def addresses(self, host: str) -> Outcome:
        """Addresses of a host."""

    async def records(self, name: str, kind: str) -> Outcome:
        """Records of an absolute name."""

    def pause_s(self, ttl_s: float) -> float:
        """How long records with such a TTL are used."""


async def listings(asking: Asking, sought: Registered) -> AsyncIterator[Listing]:
    """What is listed, again after the shortest TTL; raises `RegistryFailed`."""
    while True:
        try:
            listing, ttl_s = await _once(asking, sought.name)
        except dns.exception.DNSException as error:
            raise RegistryFailed(f"{type(error).__name__}: {error}") from error
        yield listing
        await asyncio.sleep(asking.pause_s(min(max(ttl_s, LEAST_S), MOST_S)))


async def _once(asking: Asking, service: str) -> tuple[Listing, float]:
    instances = await asking.records(service, "PTR")
    if not isinstance(instances, Resolved):
        return _nothing(instances)
    ttls, targets = [instances.ttl_s], set[Target]()
    for instance in sorted(instances.records)[:MOST_INSTANCES]:
        found = await asking.records(instance, "SRV")
        if isinstance(found, Resolved):
            ttls.append(found.ttl_s)
            targets |= set(map(read_target, found.records))
        elif isinstance(found, Failed):
            raise RegistryFailed(found.reason)
    addresses: dict[str, frozenset[str]] = {}
    for target in targets_of(targets):
        host = await asking.addresses(target.host)
        if isinstance(host, Resolved):
            ttls.append(host.ttl_s)
            addresses[target.host] = frozenset(host.records)
        elif isinstance(host, Failed):
            raise RegistryFailed(host.reason)
    servers = servers_of(targets_of(targets), addresses)
    return [Server(one["address"], one["weight"], one["backup"]) for one in servers], min(ttls)


def _nothing(outcome: Nothing | Failed) -> tuple[Listing, float]:
    """An empty listing; raises `RegistryFailed` where nobody said anything of use."""
    if isinstance(outcome, Failed):
        raise RegistryFailed(outcome.reason)
    return [], outcome.ttl_s or 30.0
