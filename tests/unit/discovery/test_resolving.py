"""Lookups against a name server of the test's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit.name_server import SILENCE, NameServer
from e2e.kit.pki import Authority

from headgate.config.resolver import ResolverConfig
from headgate.discovery.outcomes import Failed, Nothing, Outcome, Resolved
from headgate.discovery.resolving import Lookups, has_route


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


async def looked_up(dns: NameServer, host: str, *, hosts: Path | None = None, **settings: Any) -> Outcome:
    config = ResolverConfig.parse({"servers": dns.address, "timeout": 0.2, "attempts": 1, **settings})
    return await Lookups(config, hosts=str(hosts or "/nowhere")).addresses(host)


@pytest.mark.parametrize(
    ("family", "addresses"),
    [
        ("ipv4", {"127.0.0.1"}),
        ("ipv6", {"::1"}),
        ("both", {"127.0.0.1", "::1"}),
        ("auto", {"127.0.0.1"}),
    ],
)
async def test_families_are_those_that_are_wanted(dns: NameServer, family: str, addresses: set[str]) -> None:
    dns.says("a.test", "A", ["127.0.0.1"])
    dns.says("a.test", "AAAA", ["::1"])
    dns.ttl = 7
    assert await looked_up(dns, "a.test", family=family) == Resolved(frozenset(addresses), 7)
    assert bool(dns.queries("a.test", "AAAA")) == (family != "ipv4")


async def test_only_family_there_is_is_taken(dns: NameServer) -> None:
    dns.says("six.test", "AAAA", ["::1"])
    assert await looked_up(dns, "six.test") == Resolved(frozenset({"::1"}), 0)
    assert await looked_up(dns, "six.test", family="ipv4") == Nothing("nodata", None)


async def test_hosts_come_first_unless_they_are_not_wanted(dns: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 a.test\n")
    dns.says("a.test", "A", ["192.0.2.1"])
    assert await looked_up(dns, "A.test.", hosts=hosts) == Resolved(frozenset({"192.0.2.7"}), 60)
    assert not dns.asked
    without = ResolverConfig.parse({"servers": dns.address, "hosts": False})
    assert await Lookups(without, hosts=str(hosts)).addresses("a.test") == Resolved(
        frozenset({"192.0.2.1"}), 0
    )


async def test_servers_are_asked_in_turn_each_as_often_as_is_set(dns: NameServer) -> None:
    with NameServer() as other:
        dns.fails("a.test", SILENCE)
        other.fails("a.test", "SERVFAIL")
        servers = [dns.address, other.address]
        outcome = await looked_up(dns, "a.test", servers=servers, attempts=2, family="ipv4", timeout=0.05)
        assert outcome == Failed(f"name server {other.address}: SERVFAIL")
        assert (dns.queries("a.test"), other.queries("a.test")) == (2, 2)
        other.says("a.test", "A", ["192.0.2.1"])
        assert isinstance(await looked_up(dns, "a.test", servers=servers, family="ipv4"), Resolved)
    outcome = await looked_up(dns, "a.test", family="ipv4", timeout=0.05)
    assert outcome == Failed(f"name server {dns.address} did not respond within 0.05 s")


async def test_half_of_the_families_is_not_the_set(dns: NameServer) -> None:
    with NameServer() as broken:
        broken.says("a.test", "A", ["192.0.2.1"])
        broken.fails_for.add(("a.test", "AAAA"))
        assert isinstance(await looked_up(broken, "a.test"), Failed)


async def test_aliases_are_followed_and_the_shortest_ttl_counts(dns: NameServer) -> None:
    dns.says("a.test", "CNAME", ["b.test."])
    dns.says("b.test", "A", ["192.0.2.1"])
    dns.ttl = 30
    assert await looked_up(dns, "a.test", family="ipv4") == Resolved(frozenset({"192.0.2.1"}), 30)


async def test_negative_responses_hold_as_long_as_their_soa_says(dns: NameServer) -> None:
    dns.soa_minimum = 17
    assert await looked_up(dns, "a.test") == Nothing("nxdomain", 17)
    dns.says("a.test", "TXT", ["here"])
    assert await looked_up(dns, "a.test") == Nothing("nodata", 17)


async def test_absolute_names_are_not_searched(dns: NameServer) -> None:
    dns.says("a.corp.test", "A", ["192.0.2.1"])
    assert await looked_up(dns, "a.", search=["corp.test"]) == Nothing("nxdomain", None)
    assert isinstance(await looked_up(dns, "a", search=["corp.test"]), Resolved)
    dns.asked.clear()
    await looked_up(dns, "a", search=["corp.test"], ndots=0, family="ipv4")
    assert list(dns.asked) == [("a", "A", "udp"), ("a.corp.test", "A", "udp")], (
        "with enough dots, itself first"
    )


async def test_over_tls_a_server_proves_who_it_is(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "Ours"), Authority(tmp_path, "Theirs")
    with NameServer(tls=authority.server(authority.issue("dns.test"))) as dns:
        dns.says("a.test", "A", ["192.0.2.1"])
        secure = f"tls://{dns.address}"

        async def look_up(server: str, ca: Authority) -> Outcome:
            return await looked_up(dns, "a.test", servers=server, ca=str(ca.ca), family="ipv4", timeout=5)

        assert await look_up(f"{secure}#dns.test", authority) == Resolved(frozenset({"192.0.2.1"}), 0)
        assert list(dns.asked) == [("a.test", "A", "tcp")]
        for server, ca in (
            (f"{secure}#other.test", authority),
            (secure, authority),
            (f"{secure}#dns.test", other),
        ):
            outcome = await look_up(server, ca)
            assert isinstance(outcome, Failed) and "certificate verify failed" in outcome.reason
        assert dns.queries("a.test") == 1, "nobody else hears the question"


def test_routes_are_known() -> None:
    assert has_route("127.0.0.1")
