"""UDP listeners: sessions by client address."""

import socket
from collections.abc import Iterator

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.net import split_address
from e2e.kit.streams import DatagramServer

GATE = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.route("/", respond="http")
gate.access_log("json", to="file:" + FOLDER + "/access.log")
gate.upstream("pair", ONE, TWO)

gate.listen_udp(PLAIN, to=ONE, name="plain", idle="300ms")
gate.listen_udp(PAIR, to="pair")
gate.listen_udp(SMALL, to=ONE, max_connections=1)
hooked = gate.listen_udp(HOOKED, to=ONE)

@hooked.connect
def meet(connection):
    connection.state.seen = 0

@hooked.client_data
async def change(connection, chunk):
    connection.state.seen += 1
    if chunk == b"drop":
        return b""
    return b"%d " % connection.state.seen + chunk

@hooked.server_data
def shout(connection, chunk):
    return chunk.upper()
"""


@pytest.fixture(scope="module")
def one() -> Iterator[DatagramServer]:
    with DatagramServer(b"one ") as server:
        yield server


@pytest.fixture(scope="module")
def two() -> Iterator[DatagramServer]:
    with DatagramServer(b"two ") as server:
        yield server


@pytest.fixture(scope="module")
def names(one: DatagramServer, two: DatagramServer) -> dict[str, str]:
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("PLAIN", "PAIR", "SMALL", "HOOKED")}
    return {**ports, "ONE": one.address, "TWO": two.address}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, str]) -> RunningGateway:
    return serve_module(GATE, names=names, workers=2)


class Client:
    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        self.socket.connect(split_address(address)[1])

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, data: bytes) -> bytes:
        self.socket.send(data)
        return self.socket.recv(1 << 16)


def test_responses_come_back_and_an_idle_session_ends(gateway: RunningGateway, names: dict[str, str]) -> None:
    with Client(names["PLAIN"]) as client:
        assert client.ask(b"hello") == b"one hello"
        assert client.ask(b"x" * 20_000) == b"one " + b"x" * 20_000
    record = gateway.access_record(gateway.folder / "access.log", route="plain")
    assert (record["version"], record["request_bytes"], record["response_bytes"]) == ("UDP", 20_005, 20_013)
    assert gateway.counter("udp_sessions") >= 1


def test_session_keeps_its_server_and_sessions_are_shared_out(
    gateway: RunningGateway, names: dict[str, str]
) -> None:
    servers = set()
    for _ in range(12):
        with Client(names["PAIR"]) as client:
            responses = {client.ask(b"x") for _ in range(4)}
        assert len(responses) == 1
        servers |= responses
    assert servers == {b"one x", b"two x"}


def test_sessions_are_bounded(gateway: RunningGateway, names: dict[str, str]) -> None:
    clients = [Client(names["SMALL"]) for _ in range(8)]
    for client in clients:
        client.socket.send(b"x")
    eventually(lambda: gateway.counter("udp_dropped") >= 6, "at most one session in each of two workers")
    for client in clients:
        client.socket.close()


def test_hooks_see_datagrams(gateway: RunningGateway, names: dict[str, str], one: DatagramServer) -> None:
    with Client(names["HOOKED"]) as client:
        assert client.ask(b"hello") == b"ONE 1 HELLO"
        client.socket.send(b"drop")
        assert client.ask(b"again") == b"ONE 3 AGAIN"
    assert b"2 drop" not in one.received


def test_port_of_another_gateway_is_refused(serve: Serve, names: dict[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway = serve({"udp": {"address": address, "to": names["ONE"]}}, is_ready=False)
        assert gateway.process.wait(timeout=30) != 0
        assert f"cannot listen on `udp:{address}`" in gateway.log()
