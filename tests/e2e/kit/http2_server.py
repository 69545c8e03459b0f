"""A scripted HTTP/2 server in threads, by prior knowledge: what it does with a request is a function of the test."""

import contextlib
import socket
import threading
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.settings

from .client import Fields
from .origin import PROBE_PATH

Handler = Callable[["Stream"], None]


class Stream:
    """A request on a connection, and the ways to respond to it."""

    def __init__(self, connection: "ServerConnection", number: int, fields: list[tuple[str, str]]) -> None:
        self.connection = connection
        self.number = number
        self.fields = fields
        self.body = b""
        self.trailers: list[tuple[str, str]] = []
        self.reset: int | None = None
        self.is_ended = False
        self.on_data: Callable[[bytes], None] | None = None
        """Called with what comes on a tunnel; nothing at its end."""

    def accept(self, fields: Fields = ()) -> None:
        """Accepts an extended CONNECT with 200: what follows is a tunnel."""
        self.connection.state.send_headers(self.number, [(":status", "200"), *fields])
        self.connection.flush()

    def send(self, data: bytes, *, ends: bool = False) -> None:
        """Sends data on a tunnel."""
        self.connection.state.send_data(self.number, data, end_stream=ends)
        self.connection.flush()

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next((value for key, value in self.fields if key == name), None)

    def respond(
        self, body: bytes = b"", *, status: int = 200, fields: Fields = (), trailers: Fields = ()
    ) -> None:
        """Responds with a head, a body and trailers."""
        state = self.connection.state
        head = [(":status", str(status)), *fields]
        state.send_headers(self.number, head, end_stream=not body and not trailers)
        if body:
            state.send_data(self.number, body, end_stream=not trailers)
        if trailers:
            state.send_headers(self.number, list(trailers), end_stream=True)
        self.connection.flush()

    def refuse(self) -> None:
        """Says that the request was not begun."""
        self.connection.state.reset_stream(self.number, error_code=7)
        self.connection.flush()


class ServerConnection:
    """One connection from the gateway."""

    def __init__(self, server: "Http2Server", connection: socket.socket, number: int) -> None:
        self.server = server
        self.socket = connection
        self.number = number
        config = h2.config.H2Configuration(
            client_side=False, header_encoding="latin-1", validate_outbound_headers=False
        )
        self.state = h2.connection.H2Connection(config)
        self.streams: dict[int, Stream] = {}
        self.proxy_header = b""

    def flush(self) -> None:
        """Sends what the state machine has to say."""
        self.socket.sendall(self.state.data_to_send())

    def goaway(self, last: int) -> None:
        """Says that streams past `last` were not begun."""
        payload = last.to_bytes(4, "big") + bytes(4)
        self.socket.sendall(len(payload).to_bytes(3, "big") + b"\x07\x00\x00\x00\x00\x00" + payload)

    def run(self) -> None:
        """Serves until the gateway closes."""
        if self.server.proxy_header:
            self._read_proxy_header()
        self.state.initiate_connection()
        if self.server.max_streams is not None:
            code = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
            self.state.update_settings({code: self.server.max_streams})
        if self.server.takes_websockets:
            self.state.update_settings({h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        self.flush()
        while data := self.socket.recv(65536):
            if self.server.is_mute:
                continue
            for event in self.state.receive_data(data):
                self._take(event)
            self.flush()

    def _read_proxy_header(self) -> None:
        """Takes a PROXY header of either version off the connection."""
        header = self.socket.recv(16, socket.MSG_WAITALL)
        if header.startswith(b"PROXY "):
            while not header.endswith(b"\r\n"):
                header += self.socket.recv(1)
        else:
            header += self.socket.recv(int.from_bytes(header[14:16], "big"), socket.MSG_WAITALL)
        self.proxy_header = header

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            fields = [(str(name), str(value)) for name, value in event.headers]
            self.streams[event.stream_id] = Stream(self, event.stream_id, fields)
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        is_tunnel = stream.get(":protocol") is not None
        if isinstance(event, h2.events.RequestReceived) and is_tunnel:
            self.server.requests.append(stream)
            self.server.handler(stream)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if stream.on_data and event.data:
                stream.on_data(event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = [(str(name), str(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code)
        elif isinstance(event, h2.events.StreamEnded) and is_tunnel:
            stream.is_ended = True
            if stream.on_data:
                stream.on_data(b"")
        elif isinstance(event, h2.events.StreamEnded) and stream.get(":path") == PROBE_PATH:
            stream.respond(b"ready")
        elif isinstance(event, h2.events.StreamEnded):
            self.server.requests.append(stream)
            self.server.handler(stream)


class Http2Server:
    """See the module."""

    def __init__(
        self,
        handler: Handler,
        *,
        max_streams: int | None = None,
        takes_websockets: bool = False,
        proxy_header: bool = False,
    ) -> None:
        self.proxy_header = proxy_header
        self.handler = handler
        self.max_streams = max_streams
        self.takes_websockets = takes_websockets
        self.is_mute = False
        """Reads on, but takes nothing in: neither requests nor pings."""
        self.requests: list[Stream] = []
        self.connections: list[ServerConnection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Http2Server":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = ServerConnection(self, accepted, len(self.connections))
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: ServerConnection) -> None:
        with contextlib.suppress(OSError):
            connection.run()
        connection.socket.close()
