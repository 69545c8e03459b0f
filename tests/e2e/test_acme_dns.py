"""DNS-01 records: written by dynamic update, and seen by every name server before the authority looks."""

import threading
from pathlib import Path

import dns.resolver
import pytest

from headgate.acme.dns import DnsError, DynamicUpdate, followed, records_of, wait_for
from headgate.config.acme import AcmeDnsConfig

from .kit import eventually
from .kit.acme import name_server

NAME = "_acme-challenge.shop.test"


def values(host: str, port: int, name: str = NAME) -> set[str]:
    """The values that a name server shows."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], port
    try:
        found = resolver.resolve(name, "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return set()
    return {b"".join(one.strings).decode() for one in found}


def updates(host: str, port: int, secret: str, *servers: str, wait: str = "20s") -> DynamicUpdate:
    options = {
        "server": host,
        "port": str(port),
        "zone": "shop.test",
        "key_name": "gate",
        "key_secret": secret,
    }
    said = {"provider": "rfc2136", "options": options, "servers": list(servers), "wait": wait}
    records = records_of(AcmeDnsConfig.parse(said))
    assert isinstance(records, DynamicUpdate)
    return records


def test_values_at_one_name_are_added_and_removed_one_by_one(tmp_path: Path) -> None:
    with name_server(tmp_path / "named", "shop.test") as (host, port, secret):
        records = updates(host, port, secret, f"{host}:{port}")
        records.add(NAME, "apex")
        records.add(NAME, "wildcard")
        assert values(host, port) == {"apex", "wildcard"}
        records.remove(NAME, "apex")
        assert values(host, port) == {"wildcard"}


def test_record_is_awaited_on_every_server_also_one_that_lags(tmp_path: Path) -> None:
    with (
        name_server(tmp_path / "first", "shop.test") as (host, port, secret),
        name_server(tmp_path / "second", "shop.test") as (other, other_port, other_secret),
    ):
        records = updates(host, port, secret, f"{host}:{port}", f"{other}:{other_port}", wait="60s")
        adding = threading.Thread(target=records.add, args=(NAME, "value"), daemon=True)
        adding.start()
        eventually(lambda: values(host, port) == {"value"}, "the first has it")
        assert adding.is_alive(), "the second does not show it yet"
        updates(other, other_port, other_secret, f"{other}:{other_port}").add(NAME, "value")
        adding.join(30)
        assert not adding.is_alive()
        with pytest.raises(DnsError, match="did not show the record"):
            wait_for(NAME, "other", (f"{host}:{port}",), 0.2)


def test_alias_of_a_name_is_followed(tmp_path: Path) -> None:
    with name_server(tmp_path / "named", "shop.test") as (host, port, secret):
        name = "_acme-challenge.moved.shop.test"
        server = f"{host}:{port}"
        assert followed(name, (server,)) == "_acme-challenge.elsewhere.shop.test"
        records = updates(host, port, secret, server)
        records.add(name, "value")
        assert values(host, port, "_acme-challenge.elsewhere.shop.test") == {"value"}
        records.remove(name, "value")
        assert values(host, port, "_acme-challenge.elsewhere.shop.test") == set()


def test_key_that_is_wrong_is_told(tmp_path: Path) -> None:
    with (
        name_server(tmp_path / "named", "shop.test") as (host, port, _),
        pytest.raises(DnsError, match=r"dynamic update of `shop\.test`"),
    ):
        updates(host, port, "d3Jvbmc=", f"{host}:{port}").add(NAME, "value")


@pytest.mark.parametrize(
    ("provider", "words"), [("no-such-provider", "no-such-provider"), ("cloudflare", "cloudflare")]
)
def test_provider_that_cannot_work_is_told(provider: str, words: str) -> None:
    records = records_of(
        AcmeDnsConfig.parse(
            {"provider": provider, "options": {"zone": "shop.test"}, "servers": "127.0.0.1:1"}
        )
    )
    with pytest.raises(DnsError, match=f"provider `{words}`"):
        records.add(NAME, "value")
