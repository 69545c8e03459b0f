"""The requests of checks over HTTP/3. Each has a connection of its own, as a server that is down shows in new ones."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, StreamReset

from headgate.monitor.probes.connecting import CheckFailed
from headgate.monitor.probes.exchange import Asked, Received, TurnedAway
from headgate.monitor.probes.http_response import LONGEST_BODY
from headgate.monitor.target import Target

CRYPTO_ERROR = 0x100
"""Before the number of a TLS alert (RFC 9001 section 4.8)."""
OF_CERTIFICATES = range(CRYPTO_ERROR + 42, CRYPTO_ERROR + 49)
"""Alerts about certificates (RFC 8446 section 6.2)."""


async def ask(target: Target, asked: Asked) -> Received:
    """See `Ask`."""
    loop, place = asyncio.get_running_loop(), target.place
    connection = QuicConnection(configuration=_configuration(target))
    transport, client = await loop.create_datagram_endpoint(
        lambda: _Client(connection, asked), remote_addr=(place.host, place.port)
    )
    try:
        client.begin(transport.get_extra_info("peername"))
        return await client.received
    finally:
        client.end()


def _configuration(target: Target) -> QuicConfiguration:
    tls = target.check["tls"]
    made = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN)
    made.server_name = tls["server_name"] or target.host
    if not tls["verify"]:
        made.verify_mode = ssl.CERT_NONE
    if tls["ca"]:
        made.cadata = b"\n".join(Path(file).read_bytes() for file in tls["ca"])
    else:
        known = ssl.get_default_verify_paths()
        made.cafile, made.capath = known.cafile, known.capath
    if certificate := tls["certificate"]:
        made.load_cert_chain(certificate["chain"], certificate["key"])
    return made


class _Client(asyncio.DatagramProtocol):
    """Moves the packets of one connection, on which one request is sent."""

    def __init__(self, quic: QuicConnection, asked: Asked) -> None:
        self._loop = asyncio.get_running_loop()
        self._quic, self._asked = quic, asked
        self._http: H3Connection | None = None
        self._stream: int | None = None
        self._came = Received()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self.received: asyncio.Future[Received] = self._loop.create_future()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio`."""
        self._transport = transport

    def begin(self, address: Any) -> None:
        """Connects."""
        self._quic.connect(address, now=self._loop.time())
        self._address = address
        self._move()

    def end(self) -> None:
        """Closes the connection, and does not wait for the server."""
        if self._timer:
            self._timer.cancel()
        self.received.cancel()
        if self._transport:
            self._quic.close()
            for data, _ in self._quic.datagrams_to_send(now=self._loop.time()):
                self._transport.sendto(data)
            self._transport.close()

    def datagram_received(self, data: bytes, _: Any) -> None:
        """See `asyncio`."""
        self._quic.receive_datagram(data, self._address, now=self._loop.time())
        self._move()

    def error_received(self, error: Exception) -> None:
        """See `asyncio`: nobody listens there."""
        self._fail(error)

    def _on_time(self) -> None:
        self._timer = None
        self._quic.handle_timer(now=self._loop.time())
        self._move()

    def _move(self) -> None:
        """Takes what has happened, sends what is to be sent, and sets the clock."""
        while not self.received.done() and (event := self._quic.next_event()) is not None:
            try:
                self._take(event)
            except (CheckFailed, TurnedAway) as error:
                self._fail(error)
        if self.received.done() or self._transport is None:
            return
        for data, _ in self._quic.datagrams_to_send(now=self._loop.time()):
            self._transport.sendto(data)
        if self._timer:
            self._timer.cancel()
        due = self._quic.get_timer()
        self._timer = self._loop.call_at(due, self._on_time) if due is not None else None

    def _take(self, event: Any) -> None:
        match event:
            case ProtocolNegotiated():
                self._send()
            case ConnectionTerminated(error_code=code, reason_phrase=why):
                if code in OF_CERTIFICATES:
                    raise CheckFailed(f"its certificate is not valid: {why}")
                raise CheckFailed(f"the connection was closed with error {code:#x} {why}".rstrip())
            case StreamReset(error_code=code) if event.stream_id == self._stream:
                if code == ErrorCode.H3_REQUEST_REJECTED:
                    raise TurnedAway
                raise CheckFailed(f"the stream was reset with error {code:#x}")
        if self._http:
            for told in self._http.handle_event(event):
                self._take_response(told)

    def _send(self) -> None:
        self._http = H3Connection(self._quic)
        stream = self._stream = self._quic.get_next_available_stream_id()
        fields = [(name.encode(), value.encode()) for name, value in self._asked.fields]
        self._http.send_headers(stream, fields, end_stream=not self._asked.body)
        if self._asked.body:
            self._http.send_data(stream, self._asked.body, end_stream=True)

    def _take_response(self, event: Any) -> None:
        came = self._came
        if getattr(event, "stream_id", None) != self._stream:
            return
        match event:
            case HeadersReceived():
                fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
                if came.fields:
                    came.trailers = fields
                elif not dict(fields).get(":status", "").startswith("1"):
                    came.fields = fields
            case DataReceived():
                came.body += event.data
        came.is_whole = getattr(event, "stream_ended", False) or len(came.body) > LONGEST_BODY
        is_enough = came.is_whole or (came.fields and not self._asked.needs_end)
        if is_enough and not self.received.done():
            self.received.set_result(came)

    def _fail(self, error: Exception) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            self.received.set_exception(error)
