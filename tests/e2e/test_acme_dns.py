"""DNS-01 records: written by dynamic update, and seen by every name server before the authority looks."""

import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import dns.resolver
import pytest
from lexicon.client import Client
from lexicon.config import ConfigResolver

from headgate.acme.dns import DnsError, DynamicUpdate, Lexicon, followed, records_of, wait_for
from headgate.config.acme import AcmeDnsConfig

from .kit import eventually
from .kit.acme import name_server

NAME = "_acme-challenge.shop.test"


def values(host: str, port: int, name: str = NAME) -> set[str]:
    """The values that a name server shows."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], port
    try:
        found = resolver.resolve(name, "TXT", raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return set()
    return {b"".join(one.strings).decode() for one in found.rrset or ()}


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


@contextmanager
def relay(host: str, target: tuple[str, int]) -> Iterator[str]:
    """Passes one message of DNS over TCP, and the response, at port 53 of a host."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length = self.rfile.read(2)
            with socket.create_connection(target, timeout=10) as server, server.makefile("rb") as response:
                server.sendall(length + self.rfile.read(int.from_bytes(length)))
                length = response.read(2)
                self.wfile.write(length + response.read(int.from_bytes(length)))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server((host, 53), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="this provider knows port 53 only")
def test_provider_of_lexicon_writes_and_removes_the_record_in_a_zone_of_its_own(tmp_path: Path) -> None:
    zone = "acme.headgate-shop.com"
    name = f"_acme-challenge.www.{zone}"
    with (
        name_server(tmp_path / "named", zone) as (host, port, secret),
        relay("127.53.8.61", (host, port)) as relayed,
    ):
        options = {
            "auth_token": f"hmac-sha256:gate:{secret}",
            "ddns_server": relayed,
            "zone": zone,
            "domain": zone,
        }
        said = {"provider": "ddns", "options": options, "servers": f"{host}:{port}", "wait": "20s"}
        records = records_of(AcmeDnsConfig.parse(said))
        records.add(name, "apex")
        records.add(name, "wildcard")
        assert values(host, port, name) == {"apex", "wildcard"}
        records.remove(name, "apex")
        assert values(host, port, name) == {"wildcard"}


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


@pytest.mark.parametrize(
    ("options", "zone"),
    [({}, "headgate-shop.com"), ({"zone": "acme.headgate-shop.com"}, "acme.headgate-shop.com")],
)
def test_zone_below_a_registered_domain_is_the_one_that_lexicon_changes(
    options: dict[str, str], zone: str
) -> None:
    said = {"provider": "cloudflare", "options": {"auth_token": "t", **options}}
    records = records_of(AcmeDnsConfig.parse(said))
    assert isinstance(records, Lexicon)
    told = records.settings("_acme-challenge.www.acme.headgate-shop.com")
    client = Client(cast(Any, ConfigResolver)().with_dict(told))
    assert client.config.resolve("lexicon:domain") == zone
