"""Servers that are found in a zone of BIND, which dynamic updates change (RFC 2136)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.acme import name_server
from e2e.kit.traffic import Traffic

ZONE = "app.test"


class Zone:
    """A zone, and how it is changed."""

    def __init__(self, host: str, port: int, secret: str) -> None:
        self.address = f"{host}:{port}"
        self._host, self._port = host, port
        self._keys = dns.tsigkeyring.from_text({"gate": secret})

    def has(self, name: str, kind: str, *records: str, ttl: int = 0) -> None:
        """From here on these are the records of a name."""
        update = dns.update.UpdateMessage(ZONE, keyring=self._keys, keyalgorithm="hmac-sha256")
        update.delete(name)
        for record in records:
            update.add(name, ttl, kind, record)
        reply = dns.query.tcp(update, self._host, timeout=10, port=self._port)
        assert reply.rcode() == dns.rcode.NOERROR


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    with name_server(tmp_path / "named", ZONE) as (host, port, secret):
        yield Zone(host, port, secret)


@pytest.fixture
def trio() -> Iterator[list[Origin]]:
    """Three servers on one port, at 127.0.0.1, .2 and .3."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin(host=f"127.0.0.{n}", port=port)) for n in (1, 2, 3)]


def served(serve: Serve, zone: Zone, **upstreams: Any) -> RunningGateway:
    routes = [{"path": f"/{name}", "to": name} for name in upstreams]
    resolver = {"servers": zone.address, "min_ttl": "50ms"}
    return serve({"upstreams": upstreams, "routes": routes, "resolver": resolver})


def test_names_aliases_and_services_are_followed_as_the_zone_changes(
    serve: Serve, zone: Zone, trio: list[Origin]
) -> None:
    port = trio[0].address.rpartition(":")[2]
    zone.has("plain", "A", "127.0.0.1", "127.0.0.2")
    zone.has("alias", "CNAME", f"plain.{ZONE}.")
    zone.has("_http._tcp", "SRV", f"10 0 {port} plain.{ZONE}.", f"20 0 {port} other.{ZONE}.")
    zone.has("other", "A", "127.0.0.3")
    gateway = served(
        serve,
        zone,
        plain=f"plain.{ZONE}:{port}",
        alias=f"alias.{ZONE}:{port}",
        service=f"srv:_http._tcp.{ZONE}",
    )

    def who(path: str) -> set[str]:
        return {gateway.get(path).json()["origin"] for _ in range(6)}

    one, other, third = (server.address for server in trio)
    assert who("/plain") == who("/alias") == who("/service") == {one, other}
    with Traffic([gateway], "/plain") as traffic:
        zone.has("plain", "A", "127.0.0.3")
        for path in ("/plain", "/alias", "/service"):
            eventually(lambda path=path: who(path) == {third}, f"{path} follows")
    assert not traffic.failures


def test_what_does_not_fit_in_a_datagram_comes_over_tcp(serve: Serve, zone: Zone) -> None:
    addresses = [f"127.0.0.{n + 1}" for n in range(90)]
    zone.has("many", "A", *addresses)
    key = f"many.{ZONE}:{free_port()}"
    gateway = served(serve, zone, many=key)

    def told() -> list[tuple[str, int, str]]:
        return [(one["name"], one["servers"], one["error"]) for one in gateway.ask()["names"]]

    eventually(lambda: told() == [(key, 90, "")], lambda: str(told()))


def test_name_that_the_zone_does_not_have_comes_into_being(
    serve: Serve, zone: Zone, trio: list[Origin]
) -> None:
    service = f"srv:_new._tcp.{ZONE}"
    gateway = served(serve, zone, new=service)
    assert gateway.get("/new").status == 503
    zone.has("_new._tcp", "SRV", f"0 0 {trio[0].address.rpartition(':')[2]} one.{ZONE}.")
    zone.has("one", "A", "127.0.0.1")
    gateway.ask("reload")
    eventually(lambda: gateway.get("/new").status == 200, "it is found", within=60)
