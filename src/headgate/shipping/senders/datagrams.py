"""Lines as datagrams, over UDP or to a Unix socket such as `/dev/log`."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from headgate.shipping.senders import TooLarge
from headgate.shipping.target import Target


class DatagramSender:
    """A datagram a line. Over UDP nobody knows what arrives; only what the system refuses is noticed."""

    def __init__(self, target: Target, frame: Callable[[bytes], bytes] | None) -> None:
        self._target, self._frame = target, frame
        self._socket: socket.socket | None = None

    async def send(self, lines: list[bytes]) -> int:
        """See `Sender`."""
        loop = asyncio.get_running_loop()
        done = 0
        try:
            connected = await self._connected()
            for line in lines:
                await loop.sock_sendall(connected, self._frame(line) if self._frame else line)
                done += 1
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                self.close()
            if done:
                return done  # the next try finds out what is wrong with the one after
            if error.errno == errno.EMSGSIZE:
                raise TooLarge("a line is too long for a datagram") from None
            raise
        return done

    def close(self) -> None:
        """See `Sender`."""
        if self._socket:
            self._socket.close()
            self._socket = None

    async def _connected(self) -> socket.socket:
        if self._socket is None:
            loop, target = asyncio.get_running_loop(), self._target
            if target.transport == "unix":
                family, address = socket.AF_UNIX, target.path
            else:
                found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
                family, *_, address = found[0]  # type: ignore[assignment]
            made = socket.socket(family, socket.SOCK_DGRAM)
            try:
                made.setblocking(False)
                made.connect(address)
            except BaseException:
                made.close()
                raise
            self._socket = made
        return self._socket
