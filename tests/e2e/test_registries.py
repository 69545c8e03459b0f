"""Servers that a registry lists serve, come and go as it says, and outlive its failures."""

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.pki import Authority
from e2e.kit.registry import Asked, Registry


class Consul:
    """Lists `servers`, by blocking queries."""

    def __init__(self) -> None:
        self.servers: list[str] = []
        self.index, self.status = 1, 200
        self.registry: Registry

    def says(self, *servers: str, status: int = 200) -> None:
        """From here on."""
        self.servers, self.status = list(servers), status
        self.index += 1

    def __call__(self, asked: Asked) -> None:
        """Responds when there is another index than was asked with."""
        while asked.query.get("index") == str(self.index) and not self.registry.over.wait(0.02):
            pass
        entries = [self._entry(one) for one in self.servers]
        asked.respond(entries, self.status, X_Consul_Index=str(self.index))

    def _entry(self, server: str) -> dict[str, Any]:
        host, _, port = server.rpartition(":")
        return {"Node": {"Address": "192.0.2.1"}, "Service": {"Address": host, "Port": int(port)}}


@pytest.fixture
def consul() -> Iterator[Consul]:
    made = Consul()
    with Registry(made) as registry:
        made.registry = registry
        yield made


@pytest.fixture
def pair() -> Iterator[list[Origin]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(2)]


def listed(serve: Serve, consul: Consul, /, **resolver: Any) -> RunningGateway:
    return serve(
        {
            "resolver": {"consul": consul.registry.url, **resolver},
            "upstreams": {"web": "consul:web"},
            "routes": [{"to": "web"}],
        }
    )


def asked(gateway: RunningGateway, count: int = 6) -> set[str]:
    """Who responds to so many requests."""
    with gateway.client() as client:
        return {client.get("/who").json()["origin"] for _ in range(count)}


def test_servers_come_and_go_as_the_registry_says(serve: Serve, consul: Consul, pair: list[Origin]) -> None:
    one, two = (origin.address for origin in pair)
    consul.says(one)
    gateway = listed(serve, consul)
    assert asked(gateway) == {one}
    consul.says(one, two)
    eventually(lambda: asked(gateway) == {one, two}, "the second one serves")
    consul.says(two)
    eventually(lambda: asked(gateway) == {two}, "the first one has gone")
    assert gateway.ask()["names"] == [{"name": "consul:web", "servers": 1, "error": ""}]


def test_a_registry_that_lists_nothing_for_a_while_takes_no_server_away(
    serve: Serve, consul: Consul, pair: list[Origin]
) -> None:
    one, two = (origin.address for origin in pair)
    consul.says(one, two)
    gateway = listed(serve, consul, hold="30s")
    assert asked(gateway) == {one, two}
    consul.says()
    eventually(lambda: gateway.ask()["names"][0]["error"], "it is suspect")
    assert gateway.ask()["names"][0]["error"] == "no servers are listed; the last ones are used for 30 s"
    assert asked(gateway, 20) == {one, two}
    consul.says(one, two)
    eventually(lambda: not gateway.ask()["names"][0]["error"], "it is good again")
    consul.says(status=500)
    eventually(lambda: gateway.ask()["names"][0]["error"] == "status 500", "it fails")
    assert asked(gateway, 20) == {one, two}


def test_an_empty_list_is_believed_in_the_end(serve: Serve, consul: Consul, pair: list[Origin]) -> None:
    consul.says(pair[0].address)
    gateway = listed(serve, consul, hold="100ms")
    assert asked(gateway) == {pair[0].address}
    consul.says()
    eventually(lambda: gateway.get("/").status == 503, "there is no server any more")


def test_consul_is_asked_over_tls_and_its_certificate_is_checked(
    serve: Serve, pair: list[Origin], authority: Authority
) -> None:
    leaf = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.chain, leaf.key)
    consul = Consul()
    with Registry(consul, tls=context) as registry:
        consul.registry = registry
        consul.says(pair[0].address)
        url = f"https://localhost:{registry.port}"
        believing = {"consul": {"url": url, "ca": str(authority.ca)}}
        assert asked(listed(serve, consul, **believing)) == {pair[0].address}
        doubting = listed(serve, consul, consul=url)
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in doubting.log(), doubting.log)
        assert doubting.get("/").status == 503
