"""Lines over TCP or TLS: each with a line end, or framed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from headgate.shipping.senders import Unavailable
from headgate.shipping.target import Target


class StreamSender:
    """One connection, kept. What the peer has not read when it closes is lost: nothing acknowledges it."""

    def __init__(self, target: Target, frame: Callable[[bytes], bytes] | None) -> None:
        self._target, self._frame = target, frame
        self._tls = ssl.create_default_context(cafile=target.ca) if target.transport == "tls" else None
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, lines: list[bytes]) -> int:
        """See `Sender`."""
        frame = self._frame
        data = b"".join(map(frame, lines)) if frame else b"\n".join(lines) + b"\n"
        try:
            reader, writer = await self._connected()
            writer.write(data)
            await writer.drain()
        except BaseException:
            self.close()
            raise
        if reader.at_eof():
            self.close()
            raise Unavailable("it has closed the connection")
        return len(lines)

    def close(self) -> None:
        """See `Sender`."""
        if self._open:
            self._open[1].close()
            self._open = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._open and (self._open[0].at_eof() or self._open[1].is_closing()):
            self.close()
        if self._open is None:
            target = self._target
            self._open = await asyncio.open_connection(target.host, target.port, ssl=self._tls)
            self._open[1].transport.set_write_buffer_limits(high=0)  # drained is what the system has taken
            self._ignored = asyncio.ensure_future(_ignore(self._open[0]))
        return self._open


async def _ignore(reader: asyncio.StreamReader) -> None:
    """Reads what nobody asked for, so that the end of the connection is noticed and nothing is kept."""
    try:
        while await reader.read(1 << 16):
            pass
    except OSError:
        return
