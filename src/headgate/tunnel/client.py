"""The side behind NAT: keeps tunnels to a gateway open, and connects their streams to local servers.

How it works: each connection has a task. It dials, serves, and dials again when the tunnel has ended, after a random
part of a time that doubles with each failure. When the gateway says that it is leaving, the next tunnel is dialled at
once, and the streams of the old one go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Callable, Mapping
from typing import cast

from .frames import Kind
from .handshake import MOST_HEAD_BYTES, Refused, check_response, request
from .link import MOST_STREAMS, Link
from .stream import Stream
from .target import Place, Target

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
DIAL_S = 10.0
"""For the connection to the gateway, and its response."""
LOCAL_S = 4.0
"""For the connection to a local server: the gateway waits for 5 s."""
SETTLED_S = 10.0
"""A tunnel that has lived for so long begins the pauses anew."""

log = logging.getLogger("headgate.tunnel")


def pause_s(failures: int, chance: Callable[[], float]) -> float:
    """How long to wait after so many failures in a row: any part of 0.5, 1, 2 ... at most 30 s."""
    return chance() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))


class Client:
    """Exposes `targets` at the gateway of `place`, over so many connections."""

    def __init__(
        self,
        place: Place,
        token: str,
        targets: Mapping[str, Target],
        *,
        context: ssl.SSLContext | None,
        connections: int = 1,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._place, self._token, self._targets = place, token, dict(targets)
        self._context, self._connections, self._ready = context, connections, ready
        self._has_been_ready = False
        self._over: dict[Link, asyncio.Event] = {}
        """Set when no further stream will come through the link."""
        self._links: set[Link] = set()
        self._dialling: dict[tuple[Link, int], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until it is cancelled; raises `Refused` if the gateway does not want it from the start."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._connections):
                    tasks.create_task(self._keep())
        except* Refused as group:
            raise group.exceptions[0] from None
        finally:
            for link in list(self._links):
                link.close("the client ends")
            for dialling in list(self._dialling.values()):
                dialling.cancel()

    # ---- one connection

    async def _keep(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began_s = loop.time()
            try:
                link, is_over = await self._dial()
                await is_over.wait()
                is_ending = link in self._links
                failures = 0 if loop.time() - began_s > SETTLED_S else failures
            except Refused as error:
                if error.status in (401, 403) and not self._has_been_ready:
                    raise
                log.error("the gateway refuses the tunnel: %s", error.reason)
                is_ending = False
            except (OSError, TimeoutError, ssl.SSLError) as error:
                log.warning("no connection to the gateway: %s", str(error) or type(error).__name__)
                is_ending = False
            if is_ending and not failures:
                failures = 1
                continue
            failures += 1
            await asyncio.sleep(pause_s(failures, random.random))

    async def _dial(self) -> tuple[Link, asyncio.Event]:
        loop, place = asyncio.get_running_loop(), self._place
        head, key = request(place.authority, place.path, self._token, list(self._targets))
        async with asyncio.timeout(DIAL_S):
            _, dial = await loop.create_connection(
                lambda: Dial(head),
                place.host,
                place.port,
                ssl=self._context if place.is_secure else None,
                server_hostname=place.host if place.is_secure else None,
            )
            try:
                response = await dial.response
                check_response(response, key)
            except BaseException:
                dial.close()
                raise
        link = Link(self, is_client=True, names=self._targets)
        self._links.add(link)
        is_over = self._over[link] = asyncio.Event()
        dial.become(link)
        return link, is_over

    def on_alive(self, link: Link) -> None:
        """See `Owner`."""
        log.info("tunnel open", extra={"gateway": self._place.authority, "exposes": sorted(self._targets)})
        if not self._has_been_ready:
            self._has_been_ready = True
            self._ready()

    def on_closed(self, link: Link, reason: str) -> None:
        """See `Owner`."""
        log.info("tunnel closed: %s", reason)
        self._links.discard(link)
        self._over.pop(link).set()
        for key in [key for key in self._dialling if key[0] is link]:
            self._dialling.pop(key).cancel()

    def on_leave(self, link: Link) -> None:
        """See `Owner`."""
        self._over[link].set()

    def on_opened(self, link: Link, number: int, refusal: str | None) -> None:
        """See `Owner`; only the gateway opens streams."""

    # ---- streams

    def on_open(self, link: Link, number: int, name: str) -> None:
        """See `Owner`."""
        if number in link.streams or (link, number) in self._dialling:
            return link.close("invalid data: a stream is opened twice")
        if len(link.streams) + len(self._dialling) >= MOST_STREAMS:
            return link.send(Kind.REFUSED, number, b"there are too many streams")
        task = asyncio.ensure_future(self._connect(link, number, name))
        self._dialling[link, number] = task
        task.add_done_callback(lambda _: self._dialling.pop((link, number), None))
        return None

    async def _connect(self, link: Link, number: int, name: str) -> None:
        loop, target = asyncio.get_running_loop(), self._targets.get(name)
        if target is None:
            return link.send(Kind.REFUSED, number, b"it is not exposed here")
        try:
            async with asyncio.timeout(LOCAL_S):
                if target.path:
                    _, stream = await loop.create_unix_connection(_local_stream, target.path)
                else:
                    _, stream = await loop.create_connection(
                        _local_stream, target.host, target.port, happy_eyeballs_delay=0.25
                    )
        except (OSError, TimeoutError, UnicodeError) as error:
            reason = str(error) or f"no connection within {LOCAL_S:g} s"
            log.warning("`%s` is not reachable: %s", name, reason)
            return link.send(Kind.REFUSED, number, reason.encode()[:500])
        if link not in self._links:
            return stream.abort()
        link.send(Kind.OPENED, number)
        return link.add(number, stream)


def _local_stream() -> Stream:
    return Stream(lambda stream: None, lambda stream: None)


class Dial(asyncio.Protocol):
    """The connection to the gateway until its response."""

    def __init__(self, head: bytes) -> None:
        self._request, self._received = head, bytearray()
        self._transport: asyncio.Transport | None = None
        self.response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def become(self, link: Link) -> None:
        """The connection is a tunnel; what came behind the response is its first bytes."""
        transport = self._transport
        assert transport is not None, "its response has just come"
        transport.set_protocol(link)
        link.connection_made(transport)
        rest = self._received.partition(b"\r\n\r\n")[2]
        transport.resume_reading()
        if rest:
            link.data_received(bytes(rest))

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
        with contextlib.suppress(asyncio.InvalidStateError):
            self.response.set_exception(error or ConnectionError("the gateway has closed the connection"))
