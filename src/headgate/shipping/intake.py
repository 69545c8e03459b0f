"""Reads the lines that workers write: a packet each, or how many there was no room for."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

LONGEST_LINE_BYTES = 256 * 1024
MOST_AT_ONCE = 256
"""Lines that are read before other work has its turn."""
_DROPPED = b'{"dropped":'


class Intake:
    """Calls `take` for each line, `lost` with the number of those that workers dropped, `ended` after the last one."""

    def __init__(
        self,
        reader: socket.socket,
        take: Callable[[bytes], None],
        lost: Callable[[int], None],
        ended: Callable[[], None],
    ) -> None:
        self._socket, self._take, self._lost, self._ended = reader, take, lost, ended
        self._buffer = memoryview(bytearray(LONGEST_LINE_BYTES))
        self._is_open = False
        reader.setblocking(False)

    def begin(self) -> None:
        """Reads from now on."""
        if not self._is_open:
            self._is_open = True
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Takes what is there, and reads no more."""
        while self._is_open and self._read() == MOST_AT_ONCE:
            pass
        self._stop()
        self._socket.close()

    def _stop(self) -> None:
        if self._is_open:
            self._is_open = False
            asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def _read(self) -> int:
        """Reads for a while; gives how many lines there were."""
        for count in range(MOST_AT_ONCE):
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return count
            if not size:
                self._stop()
                self._ended()
                return count
            line = bytes(self._buffer[:size])
            if line.startswith(_DROPPED):
                self._lost(int(json.loads(line)["dropped"]))
            else:
                self._take(line)
        return MOST_AT_ONCE
