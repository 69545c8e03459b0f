"""An HTTP/3 client over aioquic's protocol without I/O, on a blocking socket: well-behaved or not."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from aioquic.tls import CipherSuite, SessionTicket

from .net import split_address
from .pki import Leaf

Fields = Sequence[tuple[str, str]]


@dataclass
class Http3Response:
    """What came on one stream so far."""

    heads: list[list[tuple[str, str]]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    is_ended: bool = False
    reset: int | None = None
    stopped: int | None = None

    @property
    def interim(self) -> list[int]:
        """The statuses of the interim responses."""
        return [int(dict(head)[":status"]) for head in self.heads if dict(head)[":status"].startswith("1")]

    @property
    def status(self) -> int:
        """The final status."""
        return int(dict(self.heads[-1])[":status"])

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for known, value in self.heads[-1] if known == name), None)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.is_ended or self.reset is not None


class Http3Client:
    """One connection. With `is_raw` it opens no streams of its own.

    With a `session`, one of the `tickets` of an earlier connection, requests may be sent at once: they leave with the
    first packets. A `token`, one of its `tokens`, proves the address. `window`: bytes that the gateway may send before
    the client has read any, `stream_window` on one stream.
    """

    def __init__(
        self,
        address: str,
        ca: str | None = None,
        name: str = "gate.test",
        *,
        timeout: float = 10,
        is_raw: bool = False,
        certificate: Leaf | None = None,
        session: SessionTicket | None = None,
        token: bytes = b"",
        window: int | None = None,
        stream_window: int | None = None,
        cipher_suites: list[CipherSuite] | None = None,
        alpn: Sequence[str] = H3_ALPN,
    ) -> None:
        family, self.peer = split_address(address)
        self.name = name
        self.timeout = timeout
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.configuration = QuicConfiguration(
            is_client=True, alpn_protocols=list(alpn), server_name=name, cipher_suites=cipher_suites
        )
        if certificate:
            self.configuration.load_cert_chain(certificate.chain, certificate.key)
        if ca:
            self.configuration.load_verify_locations(ca)
        self.configuration.session_ticket = session
        if window is not None:
            self.configuration.max_data = window
        if stream_window is not None:
            self.configuration.max_stream_data = stream_window
        self.configuration.token = token
        self.tickets: list[SessionTicket] = []
        self.tokens: list[bytes] = []
        self.quic = QuicConnection(
            configuration=self.configuration,
            session_ticket_handler=self.tickets.append,
            token_handler=self.tokens.append,
        )
        self.sent: list[bytes] = []
        self.responses: dict[int, Http3Response] = {}
        self.terminated: ConnectionTerminated | None = None
        self.events: list[QuicEvent] = []
        self.control = b""
        self.http: H3Connection | None = None
        self.is_raw = is_raw
        self.bodiless: set[int] = set()
        self.quic.connect(self.peer, now=time.monotonic())
        if session:
            self._begin_http()
            return
        self.flush()
        self.until(lambda: self.quic._handshake_confirmed or self.terminated, "the handshake")
        if not is_raw and self.terminated is None:
            self._begin_http()
            self.flush()

    def _begin_http(self) -> None:
        self.http = H3Connection(self.quic)
        check = self.http._check_content_length
        # responses to HEAD declare the length of what they leave out, which aioquic does not know
        self.http._check_content_length = (  # type: ignore[method-assign]
            lambda stream: None if stream.stream_id in self.bodiless else check(stream)
        )

    @property
    def handshake(self) -> HandshakeCompleted:
        """What the handshake came to."""
        self.until(lambda: any(isinstance(one, HandshakeCompleted) for one in self.events), "the handshake")
        return next(one for one in self.events if isinstance(one, HandshakeCompleted))

    def __enter__(self) -> "Http3Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        if self.terminated is None:
            self.quic.close(error_code=0x100)
            self.flush()
        self.socket.close()

    def flush(self) -> None:
        """Sends what is to be sent."""
        for datagram, peer in self.quic.datagrams_to_send(now=time.monotonic()):
            self.sent.append(datagram)
            self.socket.sendto(datagram, peer)

    def until(self, condition: Callable[[], object], what: str, *, within: float | None = None) -> None:
        """Receives until the condition holds."""
        end = time.monotonic() + (within or self.timeout)
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {within or self.timeout} s; {self.terminated}"
            self.receive(end)

    def receive(self, end: float) -> None:
        """Waits for a datagram, a timer, or the end."""
        now = time.monotonic()
        due = self.quic.get_timer()
        self.socket.settimeout(max(min(end, due if due is not None else end) - now, 0.001))
        try:
            datagram, peer = self.socket.recvfrom(65535)
        except TimeoutError:
            if due is not None and time.monotonic() >= due:
                self.quic.handle_timer(now=time.monotonic())
        else:
            self.quic.receive_datagram(datagram, peer, now=time.monotonic())
        self.take()
        self.flush()

    def take(self) -> None:
        """Takes what the connection has to tell."""
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)
            match event:
                case ConnectionTerminated():
                    self.terminated = event
                case StreamReset():
                    self._of(event.stream_id).reset = event.error_code
                case StopSendingReceived():
                    self._of(event.stream_id).stopped = event.error_code
                case StreamDataReceived() if event.stream_id == 3:
                    self.control += event.data  # the first stream that the gateway opens
            if self.http:
                for told in self.http.handle_event(event):
                    self._take_http(told)

    def _take_http(self, event: H3Event) -> None:
        match event:
            case HeadersReceived():
                response = self._of(event.stream_id)
                fields = [(name.decode(), value.decode()) for name, value in event.headers]
                if dict(fields).get(":status"):
                    response.heads.append(fields)
                else:
                    response.trailers = fields
                response.is_ended |= event.stream_ended
            case DataReceived():
                response = self._of(event.stream_id)
                response.body += event.data
                response.is_ended |= event.stream_ended

    def _of(self, stream: int) -> Http3Response:
        return self.responses.setdefault(stream, Http3Response())

    @property
    def may_request(self) -> bool:
        """Whether the server allows one more stream by now."""
        stream: int = self.quic.get_next_available_stream_id()
        return stream // 4 < self.quic._remote_max_streams_bidi

    def request(
        self, target: str, fields: Fields = (), *, method: str = "GET", body: bytes | None = None,
        ends: bool = True, pseudo: Fields | None = None,
    ) -> int:  # fmt: skip
        """Begins a request; its stream."""
        assert self.http is not None
        first = pseudo if pseudo is not None else (
            (":method", method), (":scheme", "https"), (":authority", self.name), (":path", target),
        )  # fmt: skip
        stream: int = self.quic.get_next_available_stream_id()
        if method == "HEAD":
            self.bodiless.add(stream)
        lines = [(name.encode(), value.encode()) for name, value in [*first, *fields]]
        self.http.send_headers(stream, lines, end_stream=ends and body is None)
        if body is not None:
            self.http.send_data(stream, body, end_stream=ends)
        self._of(stream)
        self.flush()
        return stream

    def send_body(self, stream: int, body: bytes, *, ends: bool = True) -> None:
        """Sends a part of a body."""
        assert self.http is not None
        self.http.send_data(stream, body, end_stream=ends)
        self.flush()

    def send_trailers(self, stream: int, fields: Fields) -> None:
        """Ends a request with trailers."""
        assert self.http is not None
        lines = [(name.encode(), value.encode()) for name, value in fields]
        self.http.send_headers(stream, lines, end_stream=True)
        self.flush()

    def cancel(self, stream: int, code: int = 0x10C) -> None:
        """Gives a request up."""
        for direction in (self.quic.reset_stream, self.quic.stop_stream):
            try:
                direction(stream, code)
            except (AssertionError, ValueError):
                pass  # that half is over
        self.flush()

    def send_raw(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        """Sends bytes on a stream as they are."""
        self.quic.send_stream_data(stream, data, end_stream=ends)
        self._of(stream)
        self.flush()

    def response(self, stream: int) -> Http3Response:
        """The whole response."""
        self.until(lambda: self._of(stream).is_over or self.terminated, f"the response on {stream}")
        return self._of(stream)

    def head(self, stream: int) -> Http3Response:
        """The response as soon as its head is there."""
        self.until(
            lambda: (self._of(stream).heads and self._of(stream).status >= 200) or self.terminated,
            f"a head on {stream}",
        )
        return self._of(stream)

    def get(self, target: str, fields: Fields = ()) -> Http3Response:
        """A GET, and its response."""
        return self.response(self.request(target, fields))

    @property
    def goaways(self) -> list[int]:
        """The ids of the GOAWAY frames that came."""
        data, found = Buffer(data=self.control[1:]), []
        while not data.eof():
            kind, length = data.pull_uint_var(), data.pull_uint_var()
            payload = data.pull_bytes(length)
            if kind == 7:
                found.append(Buffer(data=payload).pull_uint_var())
        return found

    @property
    def is_shutting_down(self) -> bool:
        """Whether the gateway has said that the connection ends."""
        return bool(self.goaways)

    def move(self) -> None:
        """Goes on from another port, as behind a NAT that has forgotten the mapping."""
        old, self.socket = self.socket, socket.socket(self.socket.family, socket.SOCK_DGRAM)
        old.close()

    def wait_closed(self) -> ConnectionTerminated:
        """Waits for the connection's end."""
        self.until(lambda: self.terminated, "the connection's end")
        assert self.terminated is not None
        return self.terminated


def frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/3."""
    return bytes(encode_uint_var(kind) + encode_uint_var(len(payload)) + payload)


def section(fields: Fields) -> bytes:
    """A field section of literals, whatever they are."""

    def integer(flags: int, prefix: int, value: int) -> bytes:
        most = (1 << prefix) - 1
        if value < most:
            return bytes([flags | value])
        out, value = [flags | most], value - most
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    lines = [
        integer(0x20, 3, len(name.encode()))
        + name.encode()
        + integer(0, 7, len(value.encode()))
        + value.encode()
        for name, value in fields
    ]
    return b"\0\0" + b"".join(lines)
