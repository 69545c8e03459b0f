"""Looks up the addresses of a host, and the targets of a service, as the settings and the system's files say.

How it works: the name is looked up as the system would: in `/etc/hosts`, then in DNS, short names in the domains of the
search list. A name that does not exist (NXDOMAIN) leads to the next domain; one without such records (NODATA) ends
the search, since it does exist. Both families are asked at once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import dns.exception
import dns.name

from headgate.config.resolver import TLS_SCHEME, NameServer, ResolverConfig, parse_name_server

from .asking import ask
from .outcomes import Failed, Nothing, Outcome, Resolved
from .system_files import HOSTS, RESOLV_CONF, ResolvConf, WatchedFile, parse_hosts, parse_resolv_conf

FAMILIES = {"ipv4": ("A",), "ipv6": ("AAAA",), "auto": ("A", "AAAA"), "both": ("A", "AAAA")}
DISCARD_PORT = 9
"""RFC 863; nothing is sent to it."""


class Target(NamedTuple):
    """A record of a service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    host: str


class Lookups:
    """Lookups under certain settings."""

    def __init__(self, config: ResolverConfig, *, resolv_conf: str = RESOLV_CONF, hosts: str = HOSTS) -> None:
        self._config = config
        self._known_trust: ssl.SSLContext | None = None
        self._system = WatchedFile(Path(resolv_conf), parse_resolv_conf)
        self._hosts = WatchedFile(Path(hosts), parse_hosts)

    @property
    def files(self) -> tuple[int, int]:
        """Another value whenever one of the system's files is another one."""
        return self._system.version, self._hosts.version

    async def addresses(self, host: str) -> Outcome:
        """The addresses of a host, of the families that are wanted and can be reached."""
        if self._config.hosts and (known := self._hosts.content.get(host.lower().rstrip("."))):
            wanted = self._wanted(known)
            return Resolved(wanted, self._config.max_ttl) if wanted else Nothing("nodata", None)
        for name in self._candidates(host):
            outcome = await self._addresses_of(name)
            if not isinstance(outcome, Nothing) or outcome.kind == "nodata":
                return outcome
        return outcome

    async def targets(self, service: str) -> Outcome:
        """The SRV records of a service, as texts for `read_target`."""
        for name in self._candidates(service):
            outcome = await self._ask(name, "SRV")
            if not isinstance(outcome, Nothing) or outcome.kind == "nodata":
                return outcome
        return outcome

    async def records(self, name: str, kind: str) -> Outcome:
        """The records of one kind of an absolute name, as texts."""
        return await self._ask(dns.name.from_text(name), kind)

    def pause_s(self, ttl_s: float) -> float:
        """How long records with such a TTL are used, in seconds."""
        return max(min(ttl_s, self._config.max_ttl), min(self._config.min_ttl, self._config.max_ttl))

    async def _addresses_of(self, name: dns.name.Name) -> Outcome:
        outcomes = await asyncio.gather(
            *(self._ask(name, kind) for kind in FAMILIES[self._config.family]),
        )
        found = [one for one in outcomes if isinstance(one, Resolved)]
        failed = [one for one in outcomes if isinstance(one, Failed)]
        if failed:  # half of the addresses are not the set
            return failed[0]
        if found:
            wanted = self._wanted(address for one in found for address in one.records)
            return Resolved(wanted, min(one.ttl_s for one in found))
        nothing = [one for one in outcomes if isinstance(one, Nothing)]
        return next((one for one in nothing if one.kind == "nodata"), nothing[0])

    async def _ask(self, name: dns.name.Name, kind: str) -> Outcome:
        config = self._config
        return await ask(
            self._servers(),
            name,
            kind,
            timeout_s=config.timeout,
            attempts=config.attempts,
            trust=self._trust(),
        )

    def _trust(self) -> ssl.SSLContext | None:
        """Whose certificates are believed, if any server is asked over TLS. Raises `OSError` for an unusable file."""
        if self._known_trust is None and any(one.startswith(TLS_SCHEME) for one in self._config.servers):
            self._known_trust = ssl.create_default_context(cafile=self._config.ca)
        return self._known_trust

    def _servers(self) -> tuple[NameServer, ...]:
        return tuple(map(parse_name_server, self._config.servers)) or self._system.content.servers

    def _candidates(self, host: str) -> list[dns.name.Name]:
        """The absolute names that a name may stand for, in the order in which they are looked up (resolv.conf(5))."""
        system = ResolvConf() if self._config.servers else self._system.content
        search = system.search if self._config.search is None else self._config.search
        ndots = system.ndots if self._config.ndots is None else self._config.ndots
        itself = dns.name.from_text(host)
        if host.endswith("."):
            return [itself]
        longer = []
        for domain in search:
            try:
                longer.append(dns.name.from_text(f"{host}.{domain}"))
            except dns.exception.DNSException:  # too long together
                continue
        return [itself, *longer] if host.count(".") >= ndots else [*longer, itself]

    def _wanted(self, addresses: Iterable[str]) -> frozenset[str]:
        """Of these addresses, those of the families that are wanted."""
        every = frozenset(addresses)
        of_v4, family = frozenset(one for one in every if ":" not in one), self._config.family
        if family in ("ipv4", "ipv6"):
            return of_v4 if family == "ipv4" else every - of_v4
        if family == "both" or not of_v4 or of_v4 == every:
            return every
        return of_v4 if any(map(has_route, of_v4)) else every - of_v4


def has_route(address: str) -> bool:
    """Whether this host knows a way to an address; nothing is sent (RFC 6724 section 5, rule 1)."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((address, DISCARD_PORT))
    except OSError:
        return False
    return True


def read_target(text: str) -> Target:
    """A record as it is written: `10 60 8080 one.app.internal.`."""
    priority, weight, port, host = text.split()
    return Target(int(priority), int(weight), int(port), host)
