"""`client_hello` hooks and HTTP/3: what they see of a client's first packets, and what they decide."""

import time
from collections.abc import Callable

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.http3 import Http3Client
from e2e.kit.pki import Authority, Leaf

CONNECTION_REFUSED = 2

GATE = """
import asyncio, json, logging
from pathlib import Path
from headgate import Certificate, Gateway, Response

gate = Gateway()
gate.listen(LISTEN, tls={"certificates": [CONFIGURED]}, http3=True)
gate.timeouts(tls_handshake="3s")
gate.access_log("json")
prepared = Certificate(*(Path(file).read_bytes() for file in GIVEN))

@gate.client_hello
async def choose(connection):
    what = (connection.server_name or "").partition(".")[0]
    logging.warning("hello %s", json.dumps([connection.server_name, connection.alpn[-1], connection.tls_versions]))
    if what == "refused":
        connection.refuse("not here")
    if what == "raises":
        1 / 0
    if what == "waits":
        await asyncio.sleep(60)
    if what == "later":
        await asyncio.sleep(0.7)
    if what != "gate":
        return prepared

@gate.route("/")
def who(request):
    return Response(200, request.tls.server_name)
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, authority: Authority) -> RunningGateway:
    given: Leaf = authority.issue("*.given.test")
    names = {"CONFIGURED": authority.issue("gate.test").files, "GIVEN": [given.chain, given.key]}
    return serve_module(GATE, names=names)


@pytest.mark.parametrize("name", ["gate.test", "prepared.given.test", "later.given.test"])
def test_hook_chooses_the_certificate_at_once_or_later(
    gateway: RunningGateway, authority: Authority, name: str
) -> None:
    with Http3Client(gateway.address, authority.ca, name) as client:
        assert client.get("/").body == name.encode()
    gateway.wait_for_log(rf'hello \["{name}", "h3", \["TLSv1.3"\]')


def test_message_may_come_in_several_packets(gateway: RunningGateway, authority: Authority) -> None:
    with Http3Client(
        gateway.address, authority.ca, "long.given.test", alpn=["x" * 250] * 20 + ["h3"]
    ) as client:
        assert client.get("/").body == b"long.given.test"
        first = [one for one in client.sent if one[0] & 0xF0 == 0xC0]
    assert len(first) > 3
    gateway.wait_for_log(r'hello \["long.given.test", "h3"')


@pytest.mark.parametrize("name", ["refused.given.test", "raises.given.test", "waits.given.test"])
def test_refusals_and_failures_end_the_connection(
    gateway: RunningGateway, authority: Authority, name: str
) -> None:
    begun = time.monotonic()
    with Http3Client(gateway.address, authority.ca, name) as client:
        assert client.terminated is not None
        assert client.terminated.error_code == CONNECTION_REFUSED
    assert name.startswith("waits") == (time.monotonic() - begun > 2)


def test_messages_that_are_too_large_are_refused_and_counted(serve: Serve, authority: Authority) -> None:
    given = authority.issue("*.given.test")
    names = {"CONFIGURED": authority.issue("gate.test").files, "GIVEN": [given.chain, given.key]}
    text = GATE.replace(
        "@gate.client_hello", "gate.limits(max_client_hello_bytes=4096)\n\n@gate.client_hello"
    )
    gateway = serve(text, names=names)
    with Http3Client(gateway.address, authority.ca, "a.given.test", alpn=["x" * 250] * 20 + ["h3"]) as client:
        assert client.terminated is not None
        assert client.terminated.error_code == CONNECTION_REFUSED
    eventually(lambda: gateway.counter("limit_client_hello") == 1, "the limit is counted")


def begin_with_piece(patch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> None:
    """The first packet of clients carries their message's second half before the whole of it, changed."""
    write = QuicConnection._write_crypto_frame
    has_begun = False

    def write_twice(self, builder, space, stream):  # type: ignore[no-untyped-def]
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            message = bytes(stream.sender._buffer)
            at = len(message) // 2
            piece = change(message)[at:]
            buffer = builder.start_frame(QuicFrameType.CRYPTO, capacity=8)
            buffer.push_uint_var(at)
            buffer.push_uint16(len(piece) | 0x4000)
            buffer.push_bytes(piece)
        return write(self, builder, space, stream)

    patch.setattr(QuicConnection, "_write_crypto_frame", write_twice)


def test_pieces_that_overlap_may_say_the_same_twice(
    gateway: RunningGateway, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_with_piece(monkeypatch, lambda message: message)
    with Http3Client(gateway.address, authority.ca, "twice.given.test") as client:
        assert client.get("/").body == b"twice.given.test"


def test_pieces_that_contradict_each_other_are_refused(
    gateway: RunningGateway, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = gateway.counter("client_hellos_refused")
    begin_with_piece(monkeypatch, lambda message: bytes(byte ^ 1 for byte in message))
    with Http3Client(gateway.address, authority.ca, "two.given.test") as client:
        assert client.terminated is not None
        assert client.terminated.error_code == CONNECTION_REFUSED
    eventually(lambda: gateway.counter("client_hellos_refused") == refused + 1, "the refusal is counted")
    assert 'hello ["two.given.test"' not in gateway.log()
