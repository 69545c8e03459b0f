"""One stream of a tunnel and the local connection it leads to: a worker's at the gateway, a server's at the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from .frames import PIECE_BYTES, WINDOW_BYTES, Kind

if TYPE_CHECKING:
    from .link import Link

GRANT_BYTES = WINDOW_BYTES // 4
"""So much is granted at a time."""


class Stream(asyncio.Protocol):
    """The local connection; nothing of it is read before it is `joined` to a link.

    How it works: what the local side sends goes on as far as the other side has granted; beyond that, and while the
    tunnel itself is full, the local connection is not read. What arrives is written to the local connection, and
    granted again when that has taken it.
    """

    def __init__(self, made: Callable[[Stream], None], ended: Callable[[Stream], None]) -> None:
        self._made, self._ended = made, ended
        self.transport: asyncio.Transport | None = None
        self.link: Link | None = None
        self.number = 0
        self._credit = WINDOW_BYTES
        self._pending = bytearray()
        self._owed = 0
        """Taken from the tunnel, and not granted again yet."""
        self._is_full = False
        """Whether the local side does not take what is written."""
        self._is_link_full = False
        self._has_local_end = self._has_remote_end = self._has_sent_end = False

    def join(self, link: Link, number: int) -> None:
        """From here on bytes go through `link`."""
        self.link, self.number = link, number
        self._is_link_full = link.is_full
        self._read_on()

    # ---- the local side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._credit >= len(data) <= PIECE_BYTES and not self._pending and self.link:
            self._credit -= len(data)
            self.link.send(Kind.DATA, self.number, data)
            return
        self._pending += data
        self._send_on()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: the other direction stays open."""
        self._has_local_end = True
        self._send_on()
        return not self._is_over

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.transport = None
        if self.link:
            if not (self._has_sent_end and self._has_remote_end):
                self.link.send(Kind.RESET, self.number)
            self.link.forget(self.number)
            self.link = None
        self._ended(self)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._is_full = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._is_full = False
        self._grant()

    # ---- the tunnel's side

    def on_data(self, data: bytes) -> bool:
        """Takes bytes of the tunnel; false if they are more than was granted."""
        self._owed += len(data)
        if self._owed > WINDOW_BYTES or self._has_remote_end:
            return False
        if self.transport:
            self.transport.write(data)
        if not self._is_full:
            self._grant()
        return True

    def on_window(self, count: int) -> None:
        """So much more may be sent."""
        self._credit += count
        self._send_on()
        self._read_on()

    def on_end(self) -> None:
        """The other side has sent all."""
        self._has_remote_end = True
        if self.transport:
            if self._is_over:
                self.transport.close()
            elif self.transport.can_write_eof():
                self.transport.write_eof()

    def on_reset(self) -> None:
        """The other side is gone, or the tunnel."""
        self.link = None
        self.abort()

    def on_link(self, *, is_full: bool) -> None:
        """The tunnel takes no more for now, or does again."""
        self._is_link_full = is_full
        self._read_on()

    def abort(self) -> None:
        """Ends the local connection at once."""
        if self.transport:
            self.transport.abort()

    # ---- steps

    @property
    def _is_over(self) -> bool:
        return self._has_sent_end and self._has_remote_end

    def _send_on(self) -> None:
        if self.link is None:
            return
        while self._pending and self._credit:
            count = min(len(self._pending), self._credit, PIECE_BYTES)
            self.link.send(Kind.DATA, self.number, bytes(memoryview(self._pending)[:count]))
            del self._pending[:count]
            self._credit -= count
        if self._has_local_end and not self._pending and not self._has_sent_end:
            self._has_sent_end = True
            self.link.send(Kind.END, self.number)
            if self._is_over and self.transport:
                self.transport.close()
        self._read_on()

    def _read_on(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if self.link is None or self._is_link_full or self._pending or not self._credit:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _grant(self) -> None:
        if self.link and self._owed >= GRANT_BYTES:
            self.link.send(Kind.WINDOW, self.number, self._owed.to_bytes(4))
            self._owed = 0
