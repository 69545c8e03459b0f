"""The newest requests for pages that watch them: read from the workers while somebody asks, and not otherwise.

How it works: the first question makes the workers write the line of each request into a socket of ours; `IDLE_S` after
the last one it is closed. At most `MOST_READ` lines are taken in a `STEP_S`, whatever the traffic; the workers drop
what the socket has no room for, and say how much.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

MOST_KEPT = 500
IDLE_S = 15.0
STEP_S, MOST_READ = 0.25, 250
BUFFER_BYTES = 1 << 20
LONGEST_LINE_BYTES = 256 * 1024


class Recent(NamedTuple):
    """What came after the last question."""

    newest: int
    """The number of the last one, for the next question."""
    lost: int
    """How many there were, in all, that nobody could read in time."""
    requests: list[dict[str, Any]]


class Tail:
    """The newest requests; `begin` lends the workers a socket, `end` has it forgotten."""

    def __init__(self, begin: Callable[[socket.socket], None], end: Callable[[], None]) -> None:
        self._begin, self._end = begin, end
        self._kept: deque[tuple[int, dict[str, Any]]] = deque(maxlen=MOST_KEPT)
        self._newest = self._lost = self._left = 0
        self._socket: socket.socket | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None

    def recent(self, after: int) -> Recent:
        """Those with a number above `after` that are kept; from now on the workers write."""
        loop = asyncio.get_running_loop()
        if self._idle:
            self._idle.cancel()
        self._idle = loop.call_later(IDLE_S, self.close)
        if self._socket is None:
            self._open()
        found = [request for number, request in self._kept if number > after or after > self._newest]
        return Recent(self._newest, self._lost, found)

    def close(self) -> None:
        """The workers write no more."""
        for timer in (self._idle, self._rest):
            if timer:
                timer.cancel()
        self._idle = self._rest = None
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._kept.clear()
        self._end()

    def _open(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        with theirs:
            self._begin(theirs)
        self._read_on()

    def _read_on(self) -> None:
        """Looks at the socket for the next step."""
        loop = asyncio.get_running_loop()
        self._left = MOST_READ
        if self._socket:
            loop.add_reader(self._socket.fileno(), self._on_readable)
            self._rest = loop.call_later(STEP_S, self._read_on)

    def _on_readable(self) -> None:
        while self._left and self._socket:
            try:
                line = self._socket.recv(LONGEST_LINE_BYTES)
            except BlockingIOError:
                return
            if not line:  # the supervisor and every worker have let go of it
                return self.close()
            self._left -= 1
            self._take(line)
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
        return None

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            self._lost += 1
            return
        if "dropped" in entry:
            self._lost += entry["dropped"]
            return
        self._newest += 1
        self._kept.append((self._newest, entry))
