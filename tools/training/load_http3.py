"""The load of the training over HTTP/3: requests on many streams of a few connections."""

import socket
import ssl
import time

from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from load import HOST, STREAMS

WAIT_S = 60


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.connect(("127.0.0.1", port))
        configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=HOST)
        configuration.verify_mode = ssl.CERT_NONE
        configuration.max_data = configuration.max_stream_data = 8 << 20
        self._quic = QuicConnection(configuration=configuration)
        self._quic.connect(("127.0.0.1", port), now=time.monotonic())
        self._http = H3Connection(self._quic)
        self.ended = 0

    def close(self) -> None:
        self._quic.close()
        self._send()
        self._socket.close()

    def ask(self, path: str, streams: int, body: int) -> None:
        """Sends requests at once; `ended` counts their responses."""
        self.ended = 0
        method = b"POST" if body else b"GET"
        fields = [(b":method", method), (b":scheme", b"https"), (b":authority", HOST.encode())]
        fields += [(b":path", path.encode()), (b"x-user", b"me"), (b"accept", b"*/*")]
        fields += [(b"content-length", b"%d" % body)] if body else []
        for _ in range(streams):
            stream = self._quic.get_next_available_stream_id()
            self._http.send_headers(stream, fields, end_stream=not body)
            if body:
                self._http.send_data(stream, b"b" * body, end_stream=True)
        self._send()

    def receive(self) -> None:
        """Waits for packets, or for the time to send some again, and responds to them."""
        due = self._quic.get_timer()
        self._socket.settimeout(WAIT_S if due is None else max(due - time.monotonic(), 0.0001))
        try:
            self._take(self._socket.recv(65_536))
        except TimeoutError:
            self._quic.handle_timer(now=time.monotonic())
        self._send()

    def _take(self, packet: bytes) -> None:
        self._quic.receive_datagram(packet, self._socket.getpeername(), now=time.monotonic())
        while event := self._quic.next_event():
            for told in self._http.handle_event(event):
                if isinstance(told, HeadersReceived) and dict(told.headers)[b":status"] != b"200":
                    raise RuntimeError(f"the gateway responded with {told.headers}")
                if isinstance(told, HeadersReceived | DataReceived):
                    self.ended += told.stream_ended

    def _send(self) -> None:
        for packet, _ in self._quic.datagrams_to_send(now=time.monotonic()):
            self._socket.send(packet)


def http3(
    port: int, path: str, rounds: int, *, connections: int = 3, streams: int = STREAMS, body: int = 0
) -> None:
    """`rounds` times some requests at once over each of a few connections."""
    opened = [Client(port) for _ in range(connections)]
    for _ in range(rounds):
        end = time.monotonic() + WAIT_S
        for client in opened:
            client.ask(path, streams, body)
        for client in opened:
            while client.ended < streams:
                if time.monotonic() > end:
                    raise TimeoutError(f"no response to {path} over HTTP/3 for {WAIT_S} s")
                client.receive()
    for client in opened:
        client.close()
