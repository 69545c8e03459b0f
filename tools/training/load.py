"""The load of the training: requests over many connections at once, HTTP/1 and HTTP/2, with and without TLS."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

CONNECTIONS, STREAMS = 30, 10
HOST = "gateway.example.org"
FIELDS = (
    b"Host: " + HOST.encode() + b"\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/json;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nX-User: me\r\n"
)
SHORT = b"Host: localhost\r\n"


def _tls(protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


PLAIN_TLS, H2_TLS = _tls("http/1.1"), _tls("h2")


def connect(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    s = socket.create_connection(("127.0.0.1", port), timeout=60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(s, server_hostname=HOST) if tls else s


@contextlib.contextmanager
def connections(port: int, number: int, tls: ssl.SSLContext | None) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(connect(port, tls)) for _ in range(number)]


def read_answer(s: socket.socket) -> None:
    """Reads one response, whose status must be 200, and its body, with a length or in chunks."""
    data = s.recv(262_144)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += more(s)
    head, size = data[:end].lower(), len(data) - end - 4
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"the gateway responded with {data[:end].decode()}")
    at = head.find(b"content-length:")
    if at < 0:
        tail = data[-5:]
        while tail != b"0\r\n\r\n":
            tail = (tail + more(s))[-5:]
        return
    length = int(head[at + 15 :].split(b"\r\n", 1)[0])
    while size < length:
        size += len(more(s))


def more(s: socket.socket) -> bytes:
    data = s.recv(262_144)
    if not data:
        raise RuntimeError("the gateway closed early")
    return data


def http1(
    port: int, path: str, rounds: int, *, body: int = 0, tls: bool = False, fields: bytes = FIELDS
) -> None:
    """`rounds` requests over each of the connections, which are kept."""
    length = b"Content-Length: %d\r\n" % body if body else b""
    line = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\n".encode()
    request = line + fields + length + b"\r\n" + b"b" * body
    with connections(port, CONNECTIONS, PLAIN_TLS if tls else None) as opened:
        for _ in range(rounds):
            for s in opened:
                s.sendall(request)
            for s in opened:
                read_answer(s)


def each_its_own(port: int, path: str, rounds: int, *, tls: bool = False) -> None:
    """A new connection for each request."""
    request = f"GET {path} HTTP/1.1\r\n".encode() + FIELDS + b"Connection: close\r\n\r\n"
    for _ in range(rounds):
        with connections(port, CONNECTIONS, PLAIN_TLS if tls else None) as opened:
            for s in opened:
                s.sendall(request)
            for s in opened:
                read_answer(s)


def http2(port: int, path: str, rounds: int, *, tls: bool = False) -> None:
    """`rounds` times ten requests at once over a few connections."""
    scheme = "https" if tls else "http"
    asked = [
        (":method", "GET"),
        (":scheme", scheme),
        (":authority", HOST),
        (":path", path),
        ("x-user", "me"),
    ]
    with connections(port, 3, H2_TLS if tls else None) as opened:
        spoken = [(s, H2Connection(H2Configuration(header_encoding=None))) for s in opened]
        for s, h2 in spoken:
            h2.initiate_connection()
            s.sendall(h2.data_to_send())
        for _ in range(rounds):
            for s, h2 in spoken:
                for _ in range(STREAMS):
                    h2.send_headers(h2.get_next_available_stream_id(), asked, end_stream=True)
                s.sendall(h2.data_to_send())
            for s, h2 in spoken:
                ended = 0
                while ended < STREAMS:
                    for event in h2.receive_data(more(s)):
                        if isinstance(event, DataReceived):
                            h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        ended += isinstance(event, StreamEnded)
                    s.sendall(h2.data_to_send())
