"""Keeps the servers in force that are found by name: looks names up, and has what was found applied.

How it works: names of the configuration in force are looked up (`headgate.discovery`). Where another set was found, the
configuration is built and proposed as a change of the store is; of that, workers swap the servers that differ. What the
supervisor holds for workers has the sets in it: a new worker, a reload and a new agent begin with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from headgate import _core
from headgate.config.admin import leads_to
from headgate.config.discovered import Sets, every_sought, serving, sought
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.config.upstreams import UpstreamConfig
from headgate.control import agent_messages as messages
from headgate.control.channel import ChannelClosed
from headgate.control.commands import NameStatus
from headgate.discovery.finding import Finding
from headgate.discovery.listing import Source
from headgate.stores import StoreUnavailable

from .configuration import Base
from .following import Follower
from .link import Link

FIRST_LIMIT_S = 2.0
"""For the first lookups: after it the gateway starts with what is found by then."""
GATHER_S = 0.02
"""Names that change at nearly the same time are applied together."""
AGAIN_S = 1.0
"""After sets could not be applied."""
MOST_TOLD = 500
"""Names, and servers that have come or gone, in one message."""

log = logging.getLogger("headgate.agent")


class Discovering:
    """What is found by name, from the first lookup on."""

    def __init__(self, base: Base, link: Link, metrics: _core.Metrics) -> None:
        self._base, self._link, self._metrics = base, link, metrics
        self._wake = asyncio.Event()
        self._finding: Finding | None = None
        self._config: GatewayConfig | None = None
        """What is looked up for."""
        self._upstreams: dict[str, UpstreamConfig] = {}
        """Those with servers that are found by name."""
        self._told: list[NameStatus] = []
        self._servers: dict[str, set[str]] = {}
        """Addresses by upstream, of upstreams with servers that are found by name."""
        self._refused: set[str] = set()
        """Servers that were found and must not be used."""
        self._gauges: dict[str, Any] = {}
        self._counters: dict[tuple[str, bool], Any] = {}

    async def begin(self, config: GatewayConfig, found: Sets, *, waits: bool) -> None:
        """Looks up what a configuration seeks; with `waits`, all of it once, in `FIRST_LIMIT_S` at most."""
        self._base.found = found
        self._seek(config)
        if waits and self._finding:
            await self._finding.first(FIRST_LIMIT_S)
            self._base.found = self._allowed(self._finding.sets)
        self._servers = self._served()
        self._gauge()

    async def run(self, follower: Follower) -> None:
        """Keeps what is found in force until it is cancelled."""
        follower.on_applied.append(lambda: self._seek(follower.in_force.config))
        self._seek(follower.in_force.config)
        self._wake.set()
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            if self._finding is None:
                continue
            try:
                if (found := self._allowed(self._finding.sets)) != self._base.found:
                    await follower.take_found(found)
            except StoreUnavailable:
                await self._again()
            except ConfigError as error:
                log.error("the servers that were found cannot be applied: %s", error)
                await self._again()
            self._tell(self._served())

    def close(self) -> None:
        """Looks nothing up any more."""
        if self._finding:
            self._finding.close()

    # ---- steps

    def _allowed(self, sets: Sets) -> Sets:
        """Without servers that are the Admin API of this node, to which nobody is to be led through the gateway."""
        admin = self._base.admin
        if admin is None:
            return sets
        refused = {
            one["address"] for found in sets.values() for one in found if leads_to(admin, one["address"])
        }
        for address in refused - self._refused:
            log.error("a server that was found is the Admin API; it is not used", extra={"server": address})
        self._refused = refused
        return {key: [one for one in found if one["address"] not in refused] for key, found in sets.items()}

    async def _again(self) -> None:
        await asyncio.sleep(AGAIN_S)
        self._wake.set()

    def _seek(self, config: GatewayConfig) -> None:
        if config is self._config:
            return  # a difference of routes, each of whose upstreams was there before
        self._config = config
        self._upstreams = {
            name: upstream
            for name, upstream in config.every_upstream().items()
            if any(sought(server) for server in upstream.servers)
        }
        wanted = every_sought(config).values()
        if self._finding is None and wanted:
            self._finding = Finding(
                config.resolver,
                changed=self._wake.set,
                looked_up=self._looked_up,
                known=self._base.found,
                sources={
                    name: Source(*source) for name, source in self._base.gateway._parts.discover.items()
                },
            )
        if self._finding:
            self._finding.configure(config.resolver)
            self._finding.seek(wanted)
            self._wake.set()

    def _looked_up(self, name: str, is_well: bool) -> None:
        counter = self._counters.get((name, is_well))
        if counter is None:
            counter = self._counters[name, is_well] = self._metrics.series(
                "counter",
                "headgate_discovery_lookups_total",
                "Lookups of servers by name, and of lists of servers, by their outcome.",
                ["name", "outcome"],
                [name, "found" if is_well else "failed"],
                most=16_384,
            )
        counter.add(1.0)
        self._wake.set()

    def _tell(self, servers: dict[str, set[str]]) -> None:
        """Says what has changed to hooks, the status, metrics and the log."""
        before, self._servers = self._servers, servers
        changes: list[messages.FoundServer] = []
        for upstream in before.keys() | servers.keys():
            old, new = before.get(upstream, set()), servers.get(upstream, set())
            if old == new or upstream not in before or upstream not in servers:
                continue  # one that the configuration brought or took is no discovery
            facts = {
                "upstream": upstream,
                "added": len(new - old),
                "removed": len(old - new),
                "servers": len(new),
            }
            log.info("the servers of the upstream have changed", extra=facts)
            for state, some in (("added", new - old), ("removed", old - new)):
                changes += (
                    messages.FoundServer(upstream=upstream, server=server, state=state)
                    for server in sorted(some)
                )
        names = self._statuses()
        if changes or names != self._told:
            self._told = names
            with contextlib.suppress(ChannelClosed, BlockingIOError):
                self._link.say(messages.Discovered(names=names[:MOST_TOLD], changes=changes[:MOST_TOLD]))
        self._gauge()

    def _served(self) -> dict[str, set[str]]:
        """The addresses of servers, of upstreams where some are found by name."""
        return {
            name: {one.config.address.removeprefix("https://") for one in serving(upstream, self._base.found)}
            for name, upstream in self._upstreams.items()
        }

    def _statuses(self) -> list[NameStatus]:
        finding = self._finding
        if finding is None:
            return []
        return [
            NameStatus(
                name=key,
                servers=len(self._base.found[key]) if key in self._base.found else None,
                error=finding.error_of(key)[:500],
            )
            for key in finding.keys
        ]

    def _gauge(self) -> None:
        for upstream in self._gauges.keys() | self._servers.keys():
            gauge = self._gauges.get(upstream)
            if gauge is None:
                gauge = self._gauges[upstream] = self._metrics.series(
                    "gauge",
                    "headgate_upstream_servers",
                    "Servers of upstreams whose servers are found by name.",
                    ["upstream"],
                    [upstream],
                    most=16_384,
                )
            gauge.set(float(len(self._servers.get(upstream, ()))))
