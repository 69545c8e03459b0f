"""QUIC below HTTP/3 (RFC 9000, 9001): changes of address, keys, and clients that break its rules."""

import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.http3 import Http3Client
from e2e.kit.net import split_address
from e2e.kit.pki import Authority, Leaf
from e2e.kit.quic import PATH_CHALLENGE, drain, frames_seen, integers, send_frames

FLOW_CONTROL, STREAM_LIMIT, STREAM_STATE, FINAL_SIZE, FRAME_ENCODING, PARAMETER, ID_LIMIT, VIOLATION = range(
    3, 0xB
)
CRYPTO_EXCEEDED = 0xD
NO_ALPN = 0x100 + 120
UNEXPECTED_MESSAGE = 0x100 + 10
GET = "/fixed"


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, authority: Authority, origin: Origin) -> RunningGateway:
    leaf: Leaf = authority.issue("gate.test")
    return serve_module(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.http3(max_concurrent_streams=20, window_bytes="64k")
gate.timeouts(send=1)
gate.route("/fixed", respond="fixed")
gate.route("/large", respond="b" * 400_000)
gate.route("/", to={origin.address!r})
""")


@pytest.fixture
def client(gateway: RunningGateway, authority: Authority) -> Iterator[Http3Client]:
    with Http3Client(gateway.address, authority.ca) as client:
        yield client


@pytest.fixture
def plain(gateway: RunningGateway) -> Iterator[socket.socket]:
    """A socket that speaks to the gateway, with no connection."""
    _, peer = split_address(gateway.address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect(peer)
        plain.settimeout(10)
        yield plain


def test_a_new_address_is_challenged_and_the_connection_goes_on(client: Http3Client) -> None:
    assert client.get(GET).body == b"fixed"
    for _ in range(3):
        seen = frames_seen(client)
        client.move()
        assert client.get(GET).body == b"fixed"
        client.until(lambda seen=seen: PATH_CHALLENGE in seen, "the gateway checks the address")
    assert client.terminated is None


def test_challenges_of_a_path_are_responded_to(client: Http3Client) -> None:
    path = client.quic._network_paths[0]
    path.is_validated, path.local_challenge_sent = False, False
    client.get(GET)
    client.until(lambda: path.is_validated, "the response to a challenge")


def test_many_challenges_are_not_all_responded_to_and_harm_nothing(client: Http3Client) -> None:
    seen = frames_seen(client)
    for _ in range(200):
        send_frames(client, b"".join(b"\x1a" + os.urandom(8) for _ in range(100)))
    assert client.get(GET).body == b"fixed"
    assert seen.count(0x1B) <= 400


def test_keys_are_updated_as_often_as_the_client_wants(client: Http3Client) -> None:
    phases = []
    for _ in range(4):
        client.quic.request_key_update()
        assert client.get(GET).body == b"fixed"
        phases.append(client.quic._cryptos[Epoch.ONE_RTT].key_phase)
    assert phases == [1, 0, 1, 0]


def test_unknown_versions_are_told_the_known_one(plain: socket.socket) -> None:
    ids = bytes([8]) + b"dest-cid" + bytes([6]) + b"source"
    hello = b"\xc0" + struct.pack("!I", 0x1A2A3A4A) + ids
    plain.send(hello + bytes(1200 - len(hello)))
    told = plain.recv(65535)
    assert told[0] & 0x80 and told[1:5] == bytes(4)
    assert told[5 : 5 + 16] == bytes([6]) + b"source" + bytes([8]) + b"dest-cid"
    assert struct.pack("!I", 1) in [told[at : at + 4] for at in range(21, len(told), 4)]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xc0" + struct.pack("!I", 0x1A2A3A4A) + bytes(100),
        b"\xc0" + struct.pack("!I", 1) + bytes([8]) + b"dest-cid" + bytes([0, 0]) + bytes(400),
        b"\xc0" + struct.pack("!I", 0) + bytes(1195),
        b"\x80" * 1200,
        b"\x40" + bytes(20),
    ],
    ids=["empty", "small of an unknown version", "small", "negotiation", "no fixed bit", "short"],
)
def test_datagrams_that_begin_nothing_are_not_responded_to(
    plain: socket.socket, gateway: RunningGateway, authority: Authority, datagram: bytes
) -> None:
    plain.send(datagram)
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get(GET).body == b"fixed", "what was sent before was dealt with"
    plain.setblocking(False)
    with pytest.raises(BlockingIOError):
        plain.recv(65535)


def test_packets_of_a_connection_that_is_forgotten_get_a_reset_that_is_smaller(
    gateway: RunningGateway, authority: Authority, plain: socket.socket
) -> None:
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get(GET).body == b"fixed"
        sent = b"\x40" + client.quic._peer_cid.cid + os.urandom(60)
    plain.settimeout(0.1)

    def reset() -> bytes:
        plain.send(sent)
        try:
            return plain.recv(65535)
        except TimeoutError:
            return b""

    got = eventually(reset, "a reset, once the connection is forgotten")
    assert 21 <= len(got) < len(sent)
    assert got[0] & 0xC0 == 0x40


def test_clients_get_three_times_what_they_sent_until_their_address_is_proved(
    gateway: RunningGateway, plain: socket.socket
) -> None:
    quic = QuicConnection(
        configuration=QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="gate.test")
    )
    quic.connect(plain.getpeername(), now=time.monotonic())
    sent = 0
    for datagram, _ in quic.datagrams_to_send(now=time.monotonic()):
        sent += plain.send(datagram)
    got = len(plain.recv(65535))
    plain.settimeout(1.5)  # some of what is lost is sent again meanwhile
    try:
        while True:
            got += len(plain.recv(65535))
    except TimeoutError:
        pass
    # the library begins a datagram while there is any of the budget left
    assert 0 < got < 3 * sent + 1200


LARGE = (1 << 62) - 1
BREACHES = {
    "unknown frame": (b"\x40\x52", FRAME_ENCODING),
    "cut frame": (b"\x10", FRAME_ENCODING),
    "handshake done": (b"\x1e", VIOLATION),
    "token": (b"\x07\x01t", VIOLATION),
    "stream of the server": (integers(0x0A, 3, 1) + b"x", STREAM_STATE),
    "stream that the server has not opened": (integers(0x0A, 1, 1) + b"x", STREAM_STATE),
    "credit for a stream it only receives": (integers(0x11, 2, 5), STREAM_STATE),
    "stream beyond the limit": (integers(0x0A, 4 * 5000, 1) + b"x", STREAM_LIMIT),
    "too much data": (integers(0x0C, 0, 10_000_000) + b"x", FLOW_CONTROL),
    "data beyond any end": (integers(0x0C, 0, LARGE) + b"xx", FLOW_CONTROL),
    "two ends": (integers(0x0B, 0, 1) + b"x" + integers(0x0F, 0, 1, 1) + b"x", FINAL_SIZE),
    "too many streams allowed": (integers(0x12, 1 << 61), FRAME_ENCODING),
    "acknowledged before it was sent": (integers(0x02, 100_000, 0, 0, 0), VIOLATION),
    "id that was not given": (integers(0x19, 90), VIOLATION),
    "an empty id": (integers(0x18, 1, 0) + b"\0" + bytes(16), FRAME_ENCODING),
    "keys that TLS updates (RFC 9001 section 6)": (
        integers(0x06, 0, 5) + b"\x18\0\0\1\0",
        UNEXPECTED_MESSAGE,
    ),
    "an id that retires itself": (integers(0x18, 10, 11) + b"\x08" + bytes(8 + 16), FRAME_ENCODING),
    "an id that is too long": (integers(0x18, 10, 0) + b"\x15" + bytes(21 + 16), FRAME_ENCODING),
    "end of a stream of the server": (integers(0x04, 3, 0, 0), STREAM_STATE),
    "wait for a stream of the server": (integers(0x15, 3, 0), STREAM_STATE),
    "refusal of a stream it only receives": (integers(0x05, 2, 0), STREAM_STATE),
    "refusal of a stream that is not there": (integers(0x05, 1, 0), STREAM_STATE),
    "credit for a stream that is not there": (integers(0x11, 1, 5), STREAM_STATE),
    "end before what was sent": (integers(0x0A, 0, 5) + b"abcde" + integers(0x04, 0, 0, 3), FINAL_SIZE),
    "acknowledged below nothing": (integers(0x02, 1, 0, 0, 5), FRAME_ENCODING),
    "handshake data without end": (integers(0x06, 1_000_000, 1) + b"x", CRYPTO_EXCEEDED),
}


@pytest.mark.parametrize(("frames", "code"), BREACHES.values(), ids=BREACHES)
def test_what_breaks_the_transport_ends_the_connection_with_its_code(
    client: Http3Client, frames: bytes, code: int
) -> None:
    send_frames(client, frames)
    assert client.wait_closed().error_code == code


def test_more_ids_than_are_taken_end_the_connection(client: Http3Client) -> None:
    # those that aioquic has given itself are left alone
    for number in range(10, 40):
        send_frames(client, integers(0x18, number, 0) + b"\x08" + os.urandom(8 + 16))
    assert client.wait_closed().error_code == ID_LIMIT


def test_ids_that_are_given_up_without_end_harm_nothing(client: Http3Client) -> None:
    for number in range(1, 60):
        client.quic.change_connection_id()
        client.flush()
        if number % 10 == 0:
            assert client.get(GET).body == b"fixed"
    assert client.terminated is None


def test_clients_without_http3_are_told_so(gateway: RunningGateway, plain: socket.socket) -> None:
    quic = QuicConnection(
        configuration=QuicConfiguration(is_client=True, alpn_protocols=["hq"], server_name="gate.test")
    )
    quic.connect(plain.getpeername(), now=time.monotonic())
    plain.settimeout(1)
    events = []
    for _ in range(10):
        for datagram, _ in quic.datagrams_to_send(now=time.monotonic()):
            plain.send(datagram)
        try:
            quic.receive_datagram(plain.recv(65535), plain.getpeername(), now=time.monotonic())
        except TimeoutError:
            quic.handle_timer(now=time.monotonic())
        while (event := quic.next_event()) is not None:
            events.append(event)
        codes = [getattr(event, "error_code", None) for event in events]
        if NO_ALPN in codes:
            break
    assert NO_ALPN in codes


def test_client_that_reads_nothing_is_not_waited_for_for_ever(
    gateway: RunningGateway, authority: Authority
) -> None:
    before = gateway.counter("timeout_send")
    with Http3Client(gateway.address, authority.ca, stream_window=50_000) as client:
        stream = client.request("/large")
        slow = client.quic._streams[stream]
        # it counts as told already, so that the gateway is never told
        slow.max_stream_data_local = slow.max_stream_data_local_sent = 2**60
        assert client.response(stream).reset == 0x102
        assert client.get(GET).body == b"fixed", "the connection goes on"
    assert gateway.counter("timeout_send") == before + 1


def test_silent_clients_leave_nothing_behind(gateway: RunningGateway, authority: Authority) -> None:
    for _ in range(20):
        client = Http3Client(gateway.address, authority.ca)
        client.request("/large")
        client.quic.close(error_code=0)
        client.flush()
        client.socket.close()
    eventually(lambda: gateway.counter("connections_active") == 0, "all connections are gone")
    eventually(lambda: gateway.counter("requests_active") == 0, "and all requests")


def test_fields_of_the_servers_connection_stay_there(client: Http3Client, origin: Origin) -> None:
    def respond(call: Call) -> None:
        call.send(
            b"HTTP/1.1 200 OK\r\nConnection: x-own, close\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Proxy-Connection: close\r\nTransfer-Encoding: chunked\r\nX-Other: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )

    origin.on("/connection", respond)
    response = client.get("/connection")
    assert response.body == b"ok"
    assert response.get("x-other") == "1"
    names = {name for name, _ in response.heads[-1]}
    assert not names & {
        "connection",
        "x-own",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    }


def test_a_connection_goes_on_when_packets_are_garbled(client: Http3Client) -> None:
    send = client.socket.sendto
    for _ in range(50):
        garbled = bytearray(client.sent[-1])
        garbled[-1] ^= 1
        send(bytes(garbled), client.peer)
        send(os.urandom(80), client.peer)
    drain(client, 0.2)
    assert client.get(GET).body == b"fixed"
