"""TLS that ends here for some names and is carried on for others, and the client's address on either way."""

import ssl
from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, TlsClient, free_port
from e2e.kit.pki import Authority
from e2e.kit.proxy_protocol import read_v2, tlv, v2
from e2e.kit.streams import StreamServer, client_hello


@pytest.fixture(scope="module")
def told() -> Iterator[StreamServer]:
    with StreamServer(lambda connection: connection.sendall(connection.recv(1 << 16))) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, authority: Authority, told: StreamServer) -> RunningGateway:
    plain = f"127.0.0.1:{free_port()}"
    tls = {"certificates": [authority.issue("gate.test").files]}
    secure = {"address": f"127.0.0.1:{free_port()}", "name": "secure", "tls": tls, "tls_passthrough": True}
    proxied = {
        "address": f"127.0.0.1:{free_port()}",
        "name": "proxied",
        "tls": tls,
        "proxy_protocol": "v2",
        "trusted_proxies": "127.0.0.1",
    }
    table = {
        "listeners": [plain, secure, proxied],
        "upstreams": {"told": {"servers": told.address, "proxy_protocol": "v2"}},
        "tls_routes": [{"host": "elsewhere.test", "to": "told"}],
        "forwarding": {"forwarded": True},
        "routes": [{"to": origin.address}],
    }
    gateway = serve_module(table, listen=plain)
    gateway.names["SECURE"], gateway.names["PROXIED"] = secure["address"], proxied["address"]
    return gateway


def test_name_of_a_certificate_ends_here_and_servers_get_the_address_in_fields(
    gateway: RunningGateway, authority: Authority, origin: Origin
) -> None:
    with TlsClient(str(gateway.names["SECURE"]), authority.client(), "gate.test") as client:
        assert client.get("/ended").status == 200
    call = origin.wait_for("/ended")
    assert (call.get("x-forwarded-for"), call.get("x-forwarded-proto")) == ("127.0.0.1", "https")
    assert (call.get("forwarded") or "").startswith("for=127.0.0.1;proto=https")


def test_other_name_is_carried_on_with_address_and_name_in_the_header(
    gateway: RunningGateway, told: StreamServer
) -> None:
    hello = client_hello("elsewhere.test")
    with RawClient(str(gateway.names["SECURE"])) as client:
        client.send(hello)
        header, rest = read_v2(client.read_to_end())
        assert header.source == client.socket.getsockname()
    assert header.tlvs[2] == b"elsewhere.test"
    assert rest == hello


def test_proxy_header_comes_before_the_handshake(
    gateway: RunningGateway, authority: Authority, origin: Origin
) -> None:
    with RawClient(str(gateway.names["PROXIED"])) as raw:
        raw.send(v2(("192.0.2.99", 4711), ("198.51.100.1", 443), tlv(2, b"gate.test")))
        context: ssl.SSLContext = authority.client()
        with context.wrap_socket(raw.socket, server_hostname="gate.test") as secure:
            secure.sendall(b"GET /behind HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
            assert secure.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert origin.wait_for("/behind").get("x-forwarded-for") == "192.0.2.99"
