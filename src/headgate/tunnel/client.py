"""The side behind NAT: keeps tunnels to a gateway open, and connects their streams to local servers.

How it works: each connection has a task. It dials, serves, and dials again when the tunnel has ended, after a random
part of a time that doubles with each failure. When the gateway says that it is leaving, the next tunnel is dialled at
once, and the streams of the old one go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import Callable, Mapping

from .dial import Dial
from .frames import Kind
from .handshake import Refused, check_response, request
from .link import MOST_STREAMS, Link
from .reversed import ReversedConnections
from .stream import Stream
from .target import LOCAL_S, Place, Target, connected

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
SETTLED_S = 10.0
"""A tunnel that has lived for so long begins the pauses anew."""

log = logging.getLogger("headgate.tunnel")


def pause_s(failures: int, chance: Callable[[], float]) -> float:
    """How long to wait after so many failures in a row: any part of 0.5, 1, 2 ... at most 30 s."""
    return chance() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))


class Client:
    """Exposes `targets` at the gateway of `place`, over so many connections, and at most `most_reversed` beside them
    for each name.
    """

    def __init__(
        self,
        place: Place,
        token: str,
        targets: Mapping[str, Target],
        *,
        context: ssl.SSLContext | None,
        connections: int = 1,
        most_reversed: int = 32,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._place, self._token, self._targets = place, token, dict(targets)
        self._context, self._connections, self._ready = context, connections, ready
        self._reversed = ReversedConnections(place, token, self._targets, context, most_reversed)
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
            self._reversed.close()

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
                log.error("the gateway refuses the tunnel: %s%s", error.reason, error.hint)
                is_ending = False
            except (OSError, TimeoutError, ssl.SSLError) as error:
                log.warning("no connection to the gateway: %s", why(error))
                is_ending = False
            if is_ending and not failures:
                failures = 1
                continue
            failures += 1
            await asyncio.sleep(pause_s(failures, random.random))

    async def _dial(self) -> tuple[Link, asyncio.Event]:
        place, tunnel = self._place, secrets.token_hex(8)
        head, key = request(place.authority, place.path, self._token, list(self._targets), tunnel)
        async with Dial.to(place, self._context, head) as dial:
            check_response(await dial.response, key)
        link = Link(self, is_client=True, names=self._targets, tunnel=tunnel)
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
        target = self._targets.get(name)
        if target is None:
            return link.send(Kind.REFUSED, number, b"it is not exposed here")
        try:
            stream = await connected(target, _local_stream)
        except (OSError, TimeoutError, UnicodeError) as error:
            reason = str(error) or f"no connection within {LOCAL_S:g} s"
            log.warning("`%s` is not reachable: %s", name, reason)
            return link.send(Kind.REFUSED, number, reason.encode()[:500])
        if link not in self._links:
            return stream.abort()
        link.send(Kind.OPENED, number)
        self._reversed.wanted(name, link.tunnel)
        return link.add(number, stream)


def _local_stream() -> Stream:
    return Stream(lambda stream: None, lambda stream: None)


def why(error: Exception) -> str:
    """What the log says of a connection that failed."""
    said = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{said}\n  hint: `--ca` names the file of the authority that issued the gateway's certificate"
    return said
