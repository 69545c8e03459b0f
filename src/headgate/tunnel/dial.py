"""A connection of the client to the gateway, from the dial to the response of its handshake."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import cast

from .handshake import MOST_HEAD_BYTES
from .target import Place

DIAL_S = 10.0
"""For the connection to the gateway, and its response."""


class Dial(asyncio.Protocol):
    """The connection to the gateway until its response."""

    def __init__(self, head: bytes) -> None:
        self._request, self._received = head, bytearray()
        self._transport: asyncio.Transport | None = None
        self.response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, place: Place, context: ssl.SSLContext | None, head: bytes) -> AsyncIterator[Dial]:
        """A connection there on which the request was sent; it is closed if what follows fails, or takes too long."""
        async with asyncio.timeout(DIAL_S):
            _, dial = await asyncio.get_running_loop().create_connection(
                lambda: cls(head),
                place.host,
                place.port,
                ssl=context if place.is_secure else None,
                server_hostname=place.host if place.is_secure else None,
            )
            try:
                yield dial
            except BaseException:
                dial.close()
                raise

    def become(self, protocol: asyncio.Protocol) -> None:
        """The connection is a tunnel, or what `protocol` is; what came behind the response is its first bytes."""
        transport = self._transport
        assert transport is not None, "its response has just come"
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        rest = self._received.partition(b"\r\n\r\n")[2]
        transport.resume_reading()
        if rest:
            protocol.data_received(bytes(rest))

    def close(self) -> None:
        """Gives up."""
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if self.response.done():
            return
        if end:
            if self._transport:
                self._transport.pause_reading()
            self.response.set_result(bytes(head))
        elif len(self._received) > MOST_HEAD_BYTES:
            self.response.set_exception(ConnectionError("the response is too long"))

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        with contextlib.suppress(asyncio.InvalidStateError):
            self.response.set_exception(error or ConnectionError("the gateway has closed the connection"))
