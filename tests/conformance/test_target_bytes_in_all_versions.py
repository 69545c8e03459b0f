"""One verdict on every byte of a request's path, query and authority, whichever version of HTTP it comes by."""

from collections.abc import Iterator

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.http2 import Http2Client
from e2e.kit.http3 import Http3Client
from e2e.kit.net import free_port
from e2e.kit.pki import Authority

PLACES = {"path": ("/a{}b", "gate.test"), "query": ("/a?x{}y", "gate.test"), "host": ("/a", "ga{}te.test")}

CUT_BY_HTTP2 = {("path", 0x23), ("query", 0x23)}
"""The library of HTTP/2 cuts a fragment off before anything sees it: the path without it is served."""

SPLITS_THE_LINE = {0x0A, 0x0D, 0x20}
"""Bytes that end a part of HTTP/1's text, and so cannot be in it."""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, authority: Authority) -> RunningGateway:
    leaf = authority.issue("gate.test")
    secure = f"127.0.0.1:{free_port()}"
    return serve_module(
        f"""
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.listen(SECURE, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.http3(max_resets=100000)

@gate.route("/*")
def shown(request):
    return Response(200, "seen")
""",
        names={"SECURE": secure},
    )


@pytest.fixture(scope="module")
def http3(gateway: RunningGateway, authority: Authority) -> Iterator[Http3Client]:
    with Http3Client(str(gateway.names["SECURE"]), authority.ca) as client:
        yield client


def asked(place: str, byte: int) -> tuple[str, str]:
    """The target and the host with that byte, as latin-1."""
    target, host = PLACES[place]
    return target.replace("{}", chr(byte)), host.replace("{}", chr(byte))


def over_http1(gateway: RunningGateway, place: str, byte: int) -> bool:
    target, host = asked(place, byte)
    with gateway.client() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        return client.response().status == 200


def over_http2(gateway: RunningGateway, place: str, byte: int) -> bool:
    target, host = asked(place, byte)
    with Http2Client(gateway.address) as client:
        return client.response(client.request(target, host=host)).status == 200


def over_http3(http3: Http3Client, place: str, byte: int) -> bool:
    assert http3.http is not None
    target, host = asked(place, byte)
    stream = http3.quic.get_next_available_stream_id()
    pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", target)]
    lines = [(name.encode(), value.encode("latin-1")) for name, value in pseudo]
    http3.http.send_headers(stream, lines, end_stream=True)
    http3._of(stream)
    http3.flush()
    response = http3.response(stream)
    assert http3.terminated is None
    # 421: understood, and for another host than the connection's
    return response.reset is None and response.status in (200, 421)


@pytest.mark.parametrize("place", PLACES)
def test_a_byte_is_taken_by_all_versions_or_by_none(
    gateway: RunningGateway, http3: Http3Client, place: str
) -> None:
    verdicts = {}
    for byte in range(256):
        two, three = over_http2(gateway, place, byte), over_http3(http3, place, byte)
        one = False if byte in SPLITS_THE_LINE else over_http1(gateway, place, byte)
        verdicts[byte] = (one, two, three)
    different = {hex(byte): seen for byte, seen in verdicts.items() if len(set(seen)) > 1}
    assert different == {hex(byte): (False, True, False) for at, byte in CUT_BY_HTTP2 if at == place}
