"""How a worker says in Redis that it is idle, so that any of several gateways may hand it a request.

How it works: an announcement is the worker's name and a number, in a list that all gateways share. A gateway that has a
request moves it to a list of its own (BLMOVE), and hands the request out on the connection that the worker has to it,
with the announcement. The worker takes only the one that it has made last, and only while it is idle: whatever became
of its announcements, it has one request at a time, and none twice. One that nobody uses is made anew after `lease_s`,
so that it does not matter what a gateway that is gone, or a Redis that has lost its memory, did with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import socket
from typing import Any, NamedTuple

log = logging.getLogger("headgate.pull")

RESPONSE_S = 2.0
"""How long Redis may take for what it need not wait for."""
BLOCK_S = 1.0
"""How long Redis holds back its response to a read that waits; the socket's own limit is longer."""
SHORTEST_LEASE_S = 1.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0
"""Between attempts to connect."""


class Shared(NamedTuple):
    """The list, and where it is."""

    redis: str
    """`redis://host:6379/0`, or `rediss://` for TLS."""
    list: str
    """Its name, which the gateways and the workers that share it have in common."""
    lease_s: float = 10.0
    """After which one that says nothing is taken for lost."""

    @property
    def idle(self) -> str:
        """The list of announcements."""
        return f"headgate:pull:{{{self.list}}}:idle"

    @property
    def gateways(self) -> str:
        """The set of gateways that may have announcements."""
        return f"headgate:pull:{{{self.list}}}:gateways"

    def taken(self, gateway: str) -> str:
        """The announcements that a gateway has taken, and not used."""
        return f"headgate:pull:{{{self.list}}}:taken:{gateway}"

    def lease(self, who: str) -> str:
        """What is there while a gateway or a worker is."""
        return f"headgate:pull:{{{self.list}}}:lease:{who}"

    @property
    def lease_ms(self) -> int:
        """For Redis."""
        return round(self.lease_s * 1000)


def identity() -> str:
    """A name that no other process has."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"


_SCHEMES = ("redis://", "rediss://", "unix://")


def opened(shared: Shared) -> Any:
    """A client; raises `ImportError`, `ValueError`. Every wait has a limit, also where the network is dead."""
    import redis.asyncio

    if not shared.redis.startswith(_SCHEMES):  # what it is may hold a password
        raise ValueError("not a Redis URL\n  hint: write `redis://host:6379/0`, or `rediss://` for TLS")
    return redis.asyncio.Redis.from_url(
        shared.redis,
        decode_responses=True,
        socket_timeout=BLOCK_S + RESPONSE_S,
        socket_connect_timeout=RESPONSE_S,
        retry=None,
        driver_info=None,  # older servers refuse it
    )


def failures() -> tuple[type[Exception], ...]:
    """What using Redis may raise."""
    import redis.exceptions

    return (redis.exceptions.RedisError, OSError, TimeoutError)


class Announcer:
    """Announces one worker, which has at most one request at a time, on however many connections."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.worker = identity()
        """Its name, which gateways know its connections by."""
        self._number = 0
        self._is_busy = self._is_stopping = False
        self._connections = 0
        self._changed = asyncio.Event()
        self._said: str | None = None

    @property
    def announcement(self) -> str:
        """The last one."""
        return f"{self.worker} {self._number}"

    # ---- for the connections

    def take(self, announcement: Any) -> bool:
        """Whether the request that came with it is served; if so, `done` follows."""
        if self._is_busy or self._is_stopping or announcement != self.announcement:
            return False
        self._is_busy = True
        self._changed.set()
        return True

    def done(self) -> None:
        """The request is over; idle again."""
        self._is_busy = False
        self._renew()

    def connected(self, change: int) -> None:
        """A connection has come (1), or gone (-1), and with it maybe a gateway that had the announcement."""
        self._connections += change
        self._renew()

    def stop(self) -> None:
        """Takes no further request."""
        self._is_stopping = True
        self._changed.set()

    # ---- in Redis

    async def run(self) -> None:
        """Until `stop`."""
        delay_s = FIRST_DELAY_S
        while not self._is_stopping:
            client = opened(self._shared)
            try:
                await self._keep(client)
                delay_s = FIRST_DELAY_S
            except failures() as error:
                log.warning("Redis does not take announcements: %s", str(error) or type(error).__name__)
                await asyncio.sleep(random.uniform(0.5, 1) * delay_s)
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)
            finally:
                with contextlib.suppress(*failures()):
                    await client.aclose()

    async def _keep(self, client: Any) -> None:
        shared, loop = self._shared, asyncio.get_running_loop()
        self._renew()
        renewed_s = loop.time()
        while True:
            self._changed.clear()
            is_idle = not self._is_busy and not self._is_stopping and self._connections > 0
            wanted = self.announcement if is_idle else None
            async with client.pipeline(transaction=True) as asked:
                if self._said is not None and self._said != wanted:
                    asked.lrem(shared.idle, 0, self._said)
                asked.set(shared.lease(self.worker), "1", px=shared.lease_ms)
                if wanted is not None and wanted != self._said:
                    asked.rpush(shared.idle, wanted)
                self._said = wanted
                await asked.execute()
            if self._is_stopping:
                await client.delete(shared.lease(self.worker))
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(shared.lease_s / 3):
                    await self._changed.wait()
            if wanted != self.announcement or self._is_busy:
                renewed_s = loop.time()
            elif loop.time() - renewed_s >= shared.lease_s:
                renewed_s = loop.time()
                self._renew()

    def _renew(self) -> None:
        if not self._is_busy:
            self._number += 1
            self._changed.set()
