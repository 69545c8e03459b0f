"""What is looked up, and when what was found is another set."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit.name_server import NameServer

from headgate.config.discovered import Sets, Sought
from headgate.config.resolver import ResolverConfig
from headgate.discovery.finding import Finding
from headgate.discovery.resolving import Lookups

HOST = Sought("a.test:80", "host", "a.test", 80)
SERVICE = Sought("srv:_http._tcp.a.test", "service", "_http._tcp.a.test")


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


class Found:
    """A `Finding`, and an event for each change."""

    def __init__(self, lookups: Lookups, config: ResolverConfig, known: Sets | None = None) -> None:
        self.changed = asyncio.Event()
        self.finding = Finding(config, changed=self.changed.set, lookups=lookups, known=known)

    async def until(self, wanted: dict[str, Any]) -> None:
        """Waits until these are the addresses by key."""
        async with asyncio.timeout(20):
            while {
                key: [one["address"] for one in some] for key, some in self.finding.sets.items()
            } != wanted:
                self.changed.clear()
                await self.changed.wait()


def settings(dns: NameServer, **more: Any) -> ResolverConfig:
    given = {"servers": dns.address, "family": "ipv4", "min_ttl": 0.01, "attempts": 1}
    return ResolverConfig.parse({**given, **more})


async def test_one_query_is_under_way_however_many_upstreams_have_the_name(dns: NameServer) -> None:
    dns.says("a.test", "A", ["192.0.2.1"])
    dns.ttl = 3600
    config = settings(dns)
    found = Found(Lookups(config), config)
    found.finding.seek([HOST, Sought("A.test:81", "host", "a.test", 81)])
    await found.until({"a.test:80": ["192.0.2.1:80"], "A.test:81": ["192.0.2.1:81"]})
    found.finding.seek([HOST])
    await found.until({"a.test:80": ["192.0.2.1:80"]})
    assert dns.queries("a.test") == 1
    found.finding.close()


async def test_files_of_the_system_are_watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with NameServer("127.0.0.71") as one, NameServer("127.0.0.72", one.port) as other:
        monkeypatch.setattr("headgate.config.resolver.DNS_PORT", one.port)
        for server, address in ((one, "192.0.2.1"), (other, "192.0.2.2")):
            server.ttl = 3600
            server.says("a.test", "A", [address])
        resolv, hosts, staged = tmp_path / "resolv.conf", tmp_path / "hosts", tmp_path / "staged"
        resolv.write_text(f"nameserver {one.host}\n")
        config = ResolverConfig.parse({"family": "ipv4"})
        found = Found(Lookups(config, resolv_conf=str(resolv), hosts=str(hosts)), config)
        found.finding.seek([HOST])
        await found.until({"a.test:80": ["192.0.2.1:80"]})
        staged.write_text(f"nameserver {other.host}\n")
        staged.replace(resolv)
        await found.until({"a.test:80": ["192.0.2.2:80"]})
        hosts.write_text("192.0.2.3 a.test\n")
        await found.until({"a.test:80": ["192.0.2.3:80"]})
        found.finding.close()


async def test_service_waits_for_its_targets_and_follows_them(dns: NameServer) -> None:
    dns.says("_http._tcp.a.test", "SRV", ["0 0 80 one.test.", "0 0 81 One.test."])
    dns.says("one.test", "A", ["192.0.2.1"])
    config = settings(dns)
    found = Found(Lookups(config), config)
    found.finding.seek([SERVICE])
    await found.finding.first(10)
    await found.until({SERVICE.key: ["192.0.2.1:80", "192.0.2.1:81"]})
    dns.says("one.test", "A", ["192.0.2.2"])
    await found.until({SERVICE.key: ["192.0.2.2:80", "192.0.2.2:81"]})
    dns.says("_http._tcp.a.test", "SRV", ["0 0 90 two.test."])
    dns.says("two.test", "A", ["192.0.2.3"])
    await found.until({SERVICE.key: ["192.0.2.3:90"]})
    asked = dns.queries("one.test")
    dns.says("two.test", "A", ["192.0.2.4"])
    await found.until({SERVICE.key: ["192.0.2.4:90"]})
    assert dns.queries("one.test") <= asked + 1, "what no service names is not looked up any more"
    found.finding.close()


async def test_what_others_found_holds_until_something_is_found(dns: NameServer) -> None:
    dns.fails("a.test")
    config = settings(dns)
    found = Found(Lookups(config), config, known={HOST.key: [{"address": "192.0.2.9:80"}]})
    found.finding.seek([HOST])
    await found.finding.first(10)
    assert found.finding.error_of(HOST.key)
    await found.until({HOST.key: ["192.0.2.9:80"]})
    dns.says("a.test", "A", ["192.0.2.1"])
    await found.until({HOST.key: ["192.0.2.1:80"]})
    found.finding.close()
