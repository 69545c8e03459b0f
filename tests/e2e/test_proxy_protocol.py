"""The PROXY protocol in front of the gateway and towards servers."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.client import format_request
from e2e.kit.proxy_protocol import read_v2, tlv, v2

GATE = """
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
proxied = gate.listen(PROXIED, name="proxied", proxy_protocol="any", trusted_proxies="127.0.0.0/8")
gate.listen(DISTRUSTING, proxy_protocol="v1", trusted_proxies="192.0.2.0/24")
gate.timeouts(proxy_header="300ms")
gate.access_log("json", to="file:" + FOLDER + "/access.log")
api = gate.upstream("api", ORIGIN)

@proxied.connect
def look(connection):
    connection.state.seen = [connection.address, connection.port, connection.peer, connection.destination]
    proxy = connection.proxy
    print("connect", connection.state.seen, proxy.version, proxy.authority, proxy.alpn, proxy.unique_id, proxy.tls,
          proxy.other, flush=True)

gate.route("/", to=api)

@gate.route("/client")
def client(request):
    return Response.json([request.client.address, request.client.port, request.client.listener])
"""


@pytest.fixture(scope="module")
def names(origin: Origin) -> dict[str, object]:
    return {
        "ORIGIN": origin.address,
        "PROXIED": f"127.0.0.1:{free_port()}",
        "DISTRUSTING": f"127.0.0.1:{free_port()}",
    }


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, object]) -> RunningGateway:
    return serve_module(GATE, names=names)


def ask(address: object, header: bytes, target: str = "/client") -> object:
    with RawClient(str(address)) as client:
        client.send(header + format_request("GET", target))
        return client.response().json()


def test_line_of_version_1_gives_the_client(gateway: RunningGateway, names: dict[str, object]) -> None:
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
    assert ask(names["PROXIED"], header) == ["192.0.2.7", 4711, "proxied"]


def test_header_of_version_2_gives_the_client_and_its_values(
    gateway: RunningGateway, names: dict[str, object]
) -> None:
    ssl = tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))
    values = tlv(1, b"h2") + tlv(2, b"a.example") + tlv(5, b"id-1") + ssl + tlv(0xE0, b"own")
    header = v2(("2001:db8::7", 4711), ("2001:db8::1", 443), values)
    assert ask(names["PROXIED"], header) == ["2001:db8::7", 4711, "proxied"]
    seen = ["2001:db8::7", 4711, "127.0.0.1", ("2001:db8::1", 443)]
    line = eventually(
        lambda: [line for line in gateway.output().splitlines() if str(seen) in line], "the hook has run"
    )[0]
    assert "2 a.example h2 b'id-1'" in line and "'version': 'TLSv1.3'" in line and "(224, b'own')" in line


def test_local_command_keeps_the_address_of_the_socket(
    gateway: RunningGateway, names: dict[str, object]
) -> None:
    response = ask(names["PROXIED"], v2(None))
    assert isinstance(response, list) and response[0] == "127.0.0.1"


def test_header_in_pieces_is_awaited(gateway: RunningGateway, names: dict[str, object]) -> None:
    with RawClient(str(names["PROXIED"])) as client:
        for piece in (
            b"PROXY TC",
            b"P4 192.0.2.9 1.1.1.1 1 2\r",
            b"\nGET /client HT",
            b"TP/1.1\r\nHost: a\r\n\r\n",
        ):
            client.send(piece)
        assert client.response().json()[0] == "192.0.2.9"


def test_client_reaches_servers_in_x_forwarded_for(
    gateway: RunningGateway, names: dict[str, object], origin: Origin
) -> None:
    ask(names["PROXIED"], b"PROXY TCP4 192.0.2.33 1.1.1.1 1 2\r\n", "/xff")
    assert origin.wait_for("/xff").get("x-forwarded-for") == "192.0.2.33"


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "proxy_header_missing"),
        (b"PROXY TCP4 1.2.3.4 nonsense 1 2\r\n", "bad_proxy_line"),
        (v2(("1.2.3.4", 5), tlvs=tlv(3, b"\0\0\0\0")), "bad_proxy_checksum"),
        (v2(("1.2.3.4", 5), tlvs=tlv(0xEE, b"x" * 8000)), "proxy_header_too_large"),
    ],
)
def test_bad_header_closes_the_connection(
    gateway: RunningGateway, names: dict[str, object], header: bytes, error: str
) -> None:
    before = gateway.counter("proxy_headers_refused")
    with RawClient(str(names["PROXIED"])) as client:
        client.send(header)
        assert client.is_closed()
    gateway.access_record(gateway.folder / "access.log", error=error)
    assert gateway.counter("proxy_headers_refused") == before + 1


def test_header_that_does_not_come_is_not_awaited_for_ever(
    gateway: RunningGateway, names: dict[str, object]
) -> None:
    with RawClient(str(names["PROXIED"])) as client:
        client.send(b"PROXY ")
        assert client.is_closed()
    gateway.access_record(gateway.folder / "access.log", limit="timeouts.proxy_header")
    assert gateway.counter("timeout_proxy_header") >= 1


def test_untrusted_peer_is_cut_off(gateway: RunningGateway, names: dict[str, object]) -> None:
    with RawClient(str(names["DISTRUSTING"])) as client:
        with contextlib.suppress(OSError):
            client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n")
        assert client.is_closed()
    gateway.access_record(gateway.folder / "access.log", error="untrusted_proxy")


class Recorder:
    """A server that keeps what each connection begins with and responds as HTTP."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.begins: list[bytes] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            while b"\r\n\r\n" not in data.removeprefix(b"\r\n\r\n"):
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            if b"/kit-probe" not in data:
                self.begins.append(data)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            connection.recv(1)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    one = Recorder()
    yield one
    one.listener.shutdown(socket.SHUT_RDWR)
    one.listener.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_server_gets_a_header(serve: Serve, recorder: Recorder, version: str) -> None:
    proxied = f"127.0.0.1:{free_port()}"
    table = {
        "listeners": [
            f"127.0.0.1:{free_port()}",
            {"address": proxied, "proxy_protocol": "any", "trusted_proxies": "127.0.0.1"},
        ],
        "upstreams": {"api": {"servers": recorder.address, "proxy_protocol": version}},
        "routes": [{"to": "api"}],
    }
    gateway = serve(table, listen=str(table["listeners"][0]))  # type: ignore[index]
    recorder.begins.clear()
    with RawClient(gateway.address) as client:
        port = client.socket.getsockname()[1]
        for _ in range(2):
            assert client.get("/direct").status == 200
    values = tlv(2, b"a.example") + tlv(5, b"id-9")
    with RawClient(proxied) as client:
        client.send(
            v2(("192.0.2.50", 4711), ("198.51.100.1", 443), values) + format_request("GET", "/proxied")
        )
        assert client.response().status == 200
    first, second, third = recorder.begins
    here = int(gateway.address.rpartition(":")[2])
    if version == "v1":
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {here}\r\nGET /direct ".encode()
        assert first.startswith(line) and second.startswith(line), "a connection each: none is reused"
        assert third.startswith(b"PROXY TCP4 192.0.2.50 198.51.100.1 4711 443\r\nGET /proxied ")
        return
    header, rest = read_v2(first)
    assert (header.source, header.destination) == (("127.0.0.1", port), ("127.0.0.1", here))
    assert rest.startswith(b"GET /direct ")
    header, rest = read_v2(third)
    assert (header.source, header.destination) == (("192.0.2.50", 4711), ("198.51.100.1", 443))
    assert (header.tlvs[2], header.tlvs[5]) == (b"a.example", b"id-9"), "values are passed on"
    assert rest.startswith(b"GET /proxied ")
