"""The example that takes backends from Redis, with a real one."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, free_port
from e2e.kit.services import redis
from e2e.kit.streams import StreamServer, client_hello

EXAMPLE = Path(__file__).parents[2] / "examples" / "sni_redis.py"


@pytest.fixture(scope="module")
def secure() -> Iterator[StreamServer]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"secure:" + connection.recv(1 << 16)[:1])

    with StreamServer(serve) as server:
        yield server


@pytest.fixture(scope="module")
def other() -> Iterator[StreamServer]:
    with StreamServer(lambda connection: connection.sendall(b"fallback")) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    serve_module: Serve,
    tmp_path_factory: pytest.TempPathFactory,
    origin: Origin,
    secure: StreamServer,
    other: StreamServer,
) -> Iterator[RunningGateway]:
    with redis(tmp_path_factory.mktemp("redis")) as url:
        port = url.rpartition(":")[2]
        for key, address in (
            ("hostnames:www.example:backends", origin.address),
            ("hostnames:shop.example:backends", secure.address),
            ("hostnames:httpDefaultBackends", origin.address),
            ("hostnames:httpsDefaultBackends", other.address),
            ("hostnames:half.example:backends", origin.address),
            ("hostnames:half.example:backends", f"127.0.0.1:{free_port()}"),
            ("hostnames:secure.example:backends", secure.address),
            ("hostnames:secure.example:backends", f"127.0.0.1:{free_port()}"),
        ):
            subprocess.run(["redis-cli", "-p", port, "sadd", key, address], check=True, capture_output=True)
        listen = f"127.0.0.1:{free_port()}"
        environment = {"SNI_HTTP": listen, "SNI_TLS": f"127.0.0.1:{free_port()}", "SNI_REDIS": url}
        yield serve_module(EXAMPLE.read_text(), listen=listen, environment=environment)


def over_tls(gateway: RunningGateway, name: str) -> bytes:
    with RawClient(gateway.environment["SNI_TLS"]) as client:
        client.send(client_hello(name))
        return client.read_to_end()


def test_http_goes_to_a_member_of_the_hosts_set(gateway: RunningGateway, origin: Origin) -> None:
    for _ in range(3):
        response = gateway.get("/page", host="www.example:80").json()
        assert (response["target"], response["origin"]) == ("/page", origin.address)
    call = origin.wait_for("/page")
    assert call.get("host") == "www.example:80", "the client's own Host"
    assert call.get("x-forwarded-for") == "127.0.0.1"


def test_dead_member_of_a_set_costs_no_request(gateway: RunningGateway) -> None:
    assert [gateway.get("/", host="half.example").status for _ in range(6)] == [200] * 6
    assert [over_tls(gateway, "secure.example") for _ in range(6)] == [b"secure:\x16"] * 6


def test_tls_goes_to_a_member_of_the_names_set_undecrypted(gateway: RunningGateway) -> None:
    assert over_tls(gateway, "shop.example") == b"secure:\x16"


def test_other_hosts_share_the_fallbacks(gateway: RunningGateway, origin: Origin) -> None:
    assert over_tls(gateway, "nobody.example") == b"fallback"
    assert gateway.get("/fallen", host="nobody.example").json()["origin"] == origin.address
