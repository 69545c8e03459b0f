"""Connections beside a tunnel that requests go on as they are, without frames: dialled by the client, kept in pools.

How it works: the client has connected to its server first, and then dials the gateway, with the id of its tunnel. When
the broker has let it in, a worker puts the connection into the pool of the name's server, as if it had dialled it, and
sends requests on it; so no byte of these passes through the broker. The broker keeps the worker's connection to it as a
leash: closing it takes the other out of the pool. The client dials one whenever a stream was opened in its tunnel: some
worker had no connection to the name. Those that nobody wants are not dialled again for a while.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import cast

from .dial import Dial
from .handshake import Refused, check_reversed, reversed_request
from .target import Place, Target, connected

RESTS_S = 60.0
"""After the gateway had no use for a connection, or none was possible."""
SOON_S = 1.0
"""A connection that the gateway ends so early without a request was of no use."""

log = logging.getLogger("headgate.tunnel")


class Leash(asyncio.Protocol):
    """The broker's side: ends with the connection that it belongs to, or ends it."""

    def __init__(self, name: str, tunnel: str, ended: Callable[[Leash], None]) -> None:
        self.name, self.tunnel = name, tunnel
        self._ended = ended
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`; a gateway that keeps such connections sends nothing here."""
        self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._ended(self)

    def close(self) -> None:
        """Takes the connection out of its pool, once it has no request."""
        if self._transport:
            self._transport.close()


class Half(asyncio.Protocol):
    """One side of a connection that is passed on as it is; what one side sends too fast waits at its sender."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self.other: Half | None = None
        self.has_received = False
        self._ended = ended
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.has_received = True
        if self.other and self.other._transport:
            self.other._transport.write(data)
        else:
            self.close()  # a server that speaks first

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.other and self.other._transport:
            self.other._transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.other and self.other._transport:
            self.other._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        if self.other:
            self.other.close()
        self._ended()

    def close(self) -> None:
        """Ends it when what was written is sent."""
        if self._transport:
            self._transport.close()


class ReversedConnections:
    """The client's side; `most` for each name."""

    def __init__(
        self,
        place: Place,
        token: str,
        targets: Mapping[str, Target],
        context: ssl.SSLContext | None,
        most: int,
    ) -> None:
        self._place, self._token, self._targets = place, token, targets
        self._context, self._most = context, most
        self._counts: Counter[str] = Counter()
        self._rests: dict[str, float] = {}
        """Until when none is dialled."""
        self._halves: set[Half] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def wanted(self, name: str, tunnel: str) -> None:
        """A stream was opened in the tunnel: a connection beside it would have served."""
        now_s = asyncio.get_running_loop().time()
        if name not in self._targets or self._counts[name] >= self._most or now_s < self._rests.get(name, 0):
            return
        self._counts[name] += 1
        task = asyncio.ensure_future(self._dial(name, tunnel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Ends them all."""
        for task in list(self._tasks):
            task.cancel()
        for half in list(self._halves):
            half.close()

    # ---- steps

    async def _dial(self, name: str, tunnel: str) -> None:
        loop, place = asyncio.get_running_loop(), self._place
        local, remote = Half(lambda: None), Half(lambda: self._ended(name, remote, opened_s))
        opened_s = loop.time()
        is_kept = False
        try:
            await connected(self._targets[name], lambda: local)
            head = reversed_request(place.authority, place.path, self._token, name, tunnel)
            async with Dial.to(place, self._context, head) as dial:
                check_reversed(await dial.response, name)
                if not local.is_open:
                    raise ConnectionError("the server has closed the connection")
                opened_s = loop.time()
                local.other, remote.other = remote, local
                self._halves.add(remote)
                is_kept = True
                dial.become(remote)
        except (OSError, TimeoutError, UnicodeError, ssl.SSLError, Refused) as error:
            log.debug("no connection beside the tunnel for `%s`: %s", name, error)
            self._rest(name)
        finally:
            if not is_kept:
                self._counts[name] -= 1
                local.close()

    def _ended(self, name: str, remote: Half, opened_s: float) -> None:
        self._halves.discard(remote)
        self._counts[name] -= 1
        if not remote.has_received and asyncio.get_running_loop().time() - opened_s < SOON_S:
            self._rest(name)

    def _rest(self, name: str) -> None:
        self._rests[name] = asyncio.get_running_loop().time() + RESTS_S
