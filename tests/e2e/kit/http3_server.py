"""An HTTP/3 server over aioquic, on a thread of its own: what it responds with is the test's to say."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.asyncio.server import QuicServer
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

from .net import free_port
from .pki import Leaf


@dataclass
class Http3Request:
    """A request, as far as it has come."""

    protocol: Http3Protocol
    stream: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for known, value in self.fields if known == name), None)

    def respond(
        self,
        body: bytes = b"ok",
        status: int = 200,
        fields: list[tuple[str, str]] | None = None,
        trailers: list[tuple[str, str]] | None = None,
    ) -> None:
        """Sends a whole response."""
        self.send_head([(":status", str(status)), *(fields or [])], ends=not body and not trailers)
        http = self.protocol.http
        if body:
            http.send_data(self.stream, body, end_stream=not trailers)
        if trailers:
            http.send_headers(self.stream, _bytes(trailers), end_stream=True)

    def send_head(self, fields: list[tuple[str, str]], *, ends: bool = False) -> None:
        """Sends a field section, whatever is in it."""
        self.protocol.http.send_headers(self.stream, _bytes(fields), end_stream=ends)

    def reset(self, code: int) -> None:
        """Gives the response up."""
        self.protocol._quic.reset_stream(self.stream, code)


Respond = Callable[[Http3Request], None]


class Http3Protocol(QuicConnectionProtocol):
    """One connection."""

    server: Http3Server

    def quic_event_received(self, event: QuicEvent) -> None:
        """Takes what aioquic tells."""
        if not hasattr(self, "http"):
            self.http = H3Connection(self._quic)
            self.open: dict[int, Http3Request] = {}
            self.server.connections.append(self)
        for told in self.http.handle_event(event):
            self._take(told)

    def _take(self, event: H3Event) -> None:
        if not isinstance(event, HeadersReceived | DataReceived):
            return
        request = self.open.setdefault(event.stream_id, Http3Request(self, event.stream_id))
        if isinstance(event, HeadersReceived):
            fields = [(name.decode(), value.decode()) for name, value in event.headers]
            if request.fields:
                request.trailers = fields
            else:
                request.fields = fields
        else:
            request.body += event.data
        if event.stream_ended:
            self.server.requests.append(request)
            self.server.respond(request)
            self.transmit()


class Http3Server:
    """Serves while it is entered; `address` is where."""

    def __init__(self, leaf: Leaf, respond: Respond) -> None:
        self.respond = respond
        self.requests: list[Http3Request] = []
        self.connections: list[Http3Protocol] = []
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._leaf = leaf
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: QuicServer | None = None

    def __enter__(self) -> Http3Server:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        def end() -> None:
            if self._server:
                self._server.close()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)
        with contextlib.suppress(RuntimeError):
            self._loop.close()

    async def _serve(self) -> QuicServer:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
        configuration.load_cert_chain(self._leaf.chain, self._leaf.key)
        kind = type("Protocol", (Http3Protocol,), {"server": self})
        return await serve("127.0.0.1", self.port, configuration=configuration, create_protocol=kind)

    def call(self, do: Callable[[], None]) -> None:
        """Runs something on the server's thread, and waits for it."""
        done = threading.Event()

        def run() -> None:
            do()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)


def _bytes(fields: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in fields]
