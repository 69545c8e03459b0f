"""An HTTP/2 client for tests: well-behaved by `hyper-h2`, ill-behaved by frames put on the wire as they are."""

import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack

from .client import Fields
from .net import Address, connect

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4

NO_PROTOCOLS = (
    "websocket\r\nx-smuggled: 1",
    "web\nsocket",
    "web socket",
    "websocket\r\n\r\nGET /hostile",
    "",
)
"""What no `:protocol` of an extended CONNECT may be, in HTTP/2 as in HTTP/3."""


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame's bytes (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(fields: Sequence[tuple[str, str]]) -> bytes:
    """Fields as HPACK, without the dynamic table, so that blocks can be sent in any order."""
    encoder = hpack.Encoder()
    block = encoder.encode(
        [hpack.NeverIndexedHeaderTuple(name, value) for name, value in fields], huffman=False
    )
    return bytes(block)


@dataclass
class Http2Response:
    """What came on a stream."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    is_ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """The status, 0 before the head."""
        return int(self.get(":status") or 0)

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def is_over(self) -> bool:
        """Nothing more will come on this stream."""
        return self.is_ended or self.reset is not None


class Http2Client:
    """A connection by prior knowledge, or over TLS when `tls` is given."""

    def __init__(
        self,
        address: Address,
        *,
        timeout: float = 10,
        tls: ssl.SSLContext | None = None,
        window: int | None = None,
        auto_window: bool = True,
    ) -> None:
        self.socket: socket.socket = connect(address, timeout)
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            self.socket = tls.wrap_socket(self.socket, server_hostname="gate.test")
        self.auto_window = auto_window
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.state = h2.connection.H2Connection(config)
        self.state.initiate_connection()
        if window is not None:
            self.state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.streams: dict[int, Http2Response] = {}
        self.goaway: int | None = None
        self.last_stream: int | None = None
        self.is_closed = False
        self.pings: list[bytes] = []
        self._unread = b""
        self.flush()

    def __enter__(self) -> "Http2Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def flush(self) -> None:
        """Sends what the state machine has to say."""
        self.send_raw(self.state.data_to_send())

    def send_raw(self, data: bytes) -> None:
        """Sends exactly these bytes; a connection that is gone is noted, not raised."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.is_closed = True

    def request(
        self,
        target: str,
        *,
        method: str = "GET",
        fields: Fields = (),
        body: bytes | None = None,
        ends: bool = True,
        host: str = "gate.test",
    ) -> int:
        """Sends a request; gives its stream."""
        stream = self.state.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", host), (":path", target), *fields]
        self.state.send_headers(stream, head, end_stream=ends and body is None)
        self.streams[stream] = Http2Response()
        self.flush()
        if body is not None:
            self.send_body(stream, body, ends=ends)
        return stream

    def send_body(self, stream: int, body: bytes, *, ends: bool = True) -> None:
        """Sends a body, waiting for the gateway's windows."""
        at = 0
        while at < len(body):
            room = min(self.state.local_flow_control_window(stream), self.state.max_outbound_frame_size)
            if room == 0:
                self.receive()
                continue
            piece = body[at : at + room]
            at += len(piece)
            self.state.send_data(stream, piece, end_stream=ends and at == len(body))
            self.flush()
        if ends and not body:
            self.state.end_stream(stream)
            self.flush()

    def send_trailers(self, stream: int, fields: Fields) -> None:
        """Ends a request with trailers."""
        self.state.send_headers(stream, list(fields), end_stream=True)
        self.flush()

    def cancel(self, stream: int) -> None:
        """Resets a stream."""
        self.state.reset_stream(stream, error_code=8)
        self.flush()

    def receive(self) -> bool:
        """Takes in what comes next; False at the connection's end."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        self._unread += data
        while (one := self._next_frame()) is not None:
            for event in self.state.receive_data(one):
                self._take(event)
        self.flush()
        return True

    def _next_frame(self) -> bytes | None:
        """The next whole frame for the state machine; a GOAWAY stays here, since it would end every stream there."""
        while len(self._unread) >= 9:
            size = 9 + int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < size:
                return None
            one, self._unread = self._unread[:size], self._unread[size:]
            if one[3] != GOAWAY:
                return one
            self.last_stream, self.goaway = struct.unpack(">II", one[9:17])
        return None

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.PingAckReceived):
            self.pings.append(event.ping_data)
        response = self.streams.get(getattr(event, "stream_id", None) or 0)
        if response is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            response.fields = _text(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            response.interim.append(_text(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            response.body += event.data
            if self.auto_window:
                self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            response.trailers = _text(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            response.is_ended = True
        elif isinstance(event, h2.events.StreamReset):
            response.reset = int(event.error_code)

    def response(self, stream: int) -> Http2Response:
        """Waits for the whole response on a stream."""
        response = self.streams[stream]
        while not response.is_over and self.receive():
            pass
        return response

    def head(self, stream: int) -> Http2Response:
        """Waits for the head of the response."""
        response = self.streams[stream]
        while not response.status and not response.is_over and self.receive():
            pass
        return response

    def body(self, stream: int, size: int) -> bytes:
        """The next `size` bytes of a stream's body, waited for and taken."""
        response = self.streams[stream]
        while len(response.body) < size and not response.is_over and self.receive():
            pass
        data, response.body = response.body[:size], response.body[size:]
        return data

    def get(self, target: str, fields: Fields = ()) -> Http2Response:
        """A GET and its response."""
        return self.response(self.request(target, fields=fields))

    def raw_statuses(self, stream: int) -> list[str]:
        """What became of a stream that was opened with raw frames: its status, `reset`, `goaway` or `closed`."""
        decoder = hpack.Decoder()
        pending = self._unread
        while True:
            while len(pending) < 9 or len(pending) < 9 + int.from_bytes(pending[:3], "big"):
                data = self.socket.recv(65536)
                if not data:
                    return ["closed"]
                pending += data
            size = 9 + int.from_bytes(pending[:3], "big")
            one, pending = pending[:size], pending[size:]
            kind, number = one[3], int.from_bytes(one[5:9], "big")
            if kind == HEADERS:
                fields = dict(_text(decoder.decode(one[9:])))
                if number == stream:
                    return [fields[":status"]]
            elif kind == RST_STREAM and number == stream:
                return ["reset"]
            elif kind == GOAWAY:
                return ["goaway"]

    def read_to_end(self) -> None:
        """Takes in everything until the gateway closes."""
        while self.receive():
            pass


def _text(headers: object) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in headers:  # type: ignore[attr-defined]
        pairs.append((_string(name), _string(value)))
    return pairs


def _string(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
