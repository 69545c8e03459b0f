"""Breakpoints that callers of the Admin API have set: each a line to the supervisor, over which what was seen comes.

How it works: the supervisor gets one end of a socket with `Look`, and treats it as the line of a command: a hit is a
message, and closing our end takes the breakpoint off. Those that are over are kept until others need the room.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from headgate.control import commands
from headgate.control.commands import Look
from headgate.control.inspection_messages import CannotLook, InspectOrder
from headgate.control.records import MessageError

MOST, MOST_HITS = 16, 200
"""Breakpoints that are kept, and hits of each, the newest ones."""
BEGIN_LIMIT_S = 10.0
LONGEST_LINE_BYTES = 1 << 20


class Breakpoint:
    """One that was set, and what it has seen."""

    def __init__(self, order: InspectOrder) -> None:
        self.number, self.order = 0, order
        self.place = ""
        self.hits: deque[dict[str, Any]] = deque(maxlen=MOST_HITS)
        self.newest = 0
        """The number of the last hit."""
        self.ended: str | None = None
        """What ended it: `count`, `time`, `stop` (the gateway's), `removed`."""
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None

    async def begin(self, end: socket.socket) -> None:
        """Reads from our end of the line until a worker looks; raises `CannotLook`."""
        self._reading = asyncio.ensure_future(self._read(end))
        try:
            async with asyncio.timeout(BEGIN_LIMIT_S):
                await asyncio.shield(self._begun)
        except TimeoutError:
            self.remove()
            raise CannotLook("no worker has responded in time") from None

    def remove(self) -> None:
        """Takes it off."""
        self.ended = self.ended or "removed"
        if self._reading:
            self._reading.cancel()

    async def _read(self, end: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=end, limit=LONGEST_LINE_BYTES)
        try:
            while line := await reader.readline():
                self._take(commands.REPLIES.decode(line))
        except (OSError, ValueError, MessageError) as error:
            self._refuse(str(error))
        finally:
            writer.close()
            self.ended = self.ended or "stop"
            self._refuse("the gateway has ended it")

    def _take(self, reply: object) -> None:
        match reply:
            case commands.Refused(error=error):
                self._refuse(error)
            case commands.Looking(place=place):
                self.place = place
                if not self._begun.done():
                    self._begun.set_result(None)
            case commands.Seen():
                self.newest += 1
                self.hits.append({"number": self.newest, "worker": reply.worker, **reply.hit.plain()})
            case commands.LookingEnded(end=end):
                self.ended = end

    def _refuse(self, reason: str) -> None:
        if not self._begun.done():
            self._begun.set_exception(CannotLook(reason))


class Breakpoints:
    """All of them; `look` hands one end of a line to the supervisor."""

    def __init__(self, look: Callable[[Look, socket.socket], None]) -> None:
        self._look = look
        self._numbers = itertools.count(1)
        self._known: dict[int, Breakpoint] = {}

    def all(self) -> list[Breakpoint]:
        """Those that are known, the oldest first."""
        return list(self._known.values())

    def find(self, number: int) -> Breakpoint | None:
        """One of them."""
        return self._known.get(number)

    async def begin(self, order: InspectOrder, for_s: float) -> Breakpoint:
        """Sets one for so many seconds at most; raises `CannotLook`."""
        over = [one for one in self._known.values() if one.ended]
        if len(self._known) >= MOST and not over:
            raise CannotLook(f"{MOST} breakpoints are already set")
        made = Breakpoint(order)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._look(Look(order=order, for_s=for_s), theirs)
        await made.begin(ours)
        if len(self._known) >= MOST and over:
            self._known.pop(over[0].number, None)
        made.number = next(self._numbers)
        self._known[made.number] = made
        return made

    def remove(self, number: int) -> bool:
        """Takes one off and forgets it; false where there is none."""
        found = self._known.pop(number, None)
        if found:
            found.remove()
        return found is not None
