"""Idle workers that several gateways share: their announcements in Redis, taken when a request waits.

How it works: see `headgate.pull.announcing`. What this gateway has taken is in a list of its own until it is used. Each
gateway keeps a lease; the announcements of one whose lease has passed are put back by the others, as are its own when
its connection to Redis was lost: what Redis had written to it may never have arrived. An announcement is used on the
connection of its worker, and is held for a moment if that is not free yet, since Redis may be faster than it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from headgate.dispatch.figures import Figures
from headgate.pull import announcing
from headgate.pull.announcing import BLOCK_S, FIRST_DELAY_S, LONGEST_DELAY_S, Shared

if TYPE_CHECKING:
    from headgate.dispatch.dispatcher import Dispatcher
    from headgate.dispatch.worker_link import WorkerLink

HELD_S, HELD_UNKNOWN_S = 0.5, 0.05
"""How long an announcement waits for its worker's connection to be free, or to come."""

log = logging.getLogger("headgate.dispatch")

_PUT_BACK = """
if ARGV[1] == '1' and redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local count = 0
while redis.call('LMOVE', KEYS[1], KEYS[2], 'RIGHT', 'LEFT') do count = count + 1 end
return count
"""
"""Gives back what a gateway has taken; with `1`, only if its lease has passed."""


class Sharing:
    """The part of one upstream's dispatcher that takes announcements. `gateway` is its own name among the gateways."""

    def __init__(self, dispatcher: Dispatcher, shared: Shared, figures: Figures) -> None:
        self._dispatcher, self.shared, self._figures = dispatcher, shared, figures
        self.gateway = announcing.identity()
        self.announced = 0
        """Workers that were idle when it was last looked, for all gateways."""
        self._links: dict[str, WorkerLink] = {}
        """By the names of their workers."""
        self._held: dict[str, tuple[str, asyncio.TimerHandle]] = {}
        """Announcements whose workers are not ready yet, by the workers' names."""
        self._used: list[str] = []
        """Announcements that are still in the list of what was taken."""
        self._wanted = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = {
            loop.create_task(self._always(self._take)),
            loop.create_task(self._always(self._look_after)),
        }

    # ---- for the dispatcher

    def wake(self) -> None:
        """A request waits."""
        self._wanted.set()

    def ready(self, link: WorkerLink) -> None:
        """The connection of a worker is free."""
        self._links[link.worker] = link
        if held := self._held.pop(link.worker, None):
            announcement, timer = held
            timer.cancel()
            self._use(announcement, link)

    def lost(self, link: WorkerLink) -> None:
        """A connection is gone."""
        if self._links.get(link.worker) is link:
            del self._links[link.worker]

    async def close(self) -> None:
        """Takes no more, and gives back what it has."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, timer in self._held.values():
            timer.cancel()
        client = announcing.opened(self.shared)
        with contextlib.suppress(*announcing.failures()):
            async with asyncio.timeout(announcing.RESPONSE_S):
                await self._start(client)
                await client.srem(self.shared.gateways, self.gateway)
                await client.delete(self.shared.lease(self.gateway))
        with contextlib.suppress(*announcing.failures()):
            await client.aclose()

    # ---- in Redis

    async def _always(self, work: Callable[[Any], Awaitable[None]]) -> None:
        """Does `work` until it is cancelled, on a new connection after each failure."""
        delay_s = FIRST_DELAY_S
        while True:
            client, began_s = announcing.opened(self.shared), self._loop.time()
            try:
                await work(client)
            except announcing.failures() as error:
                facts = {"upstream": self._dispatcher.settings.upstream}
                log.error("Redis gives no announcements: %s", str(error) or type(error).__name__, extra=facts)
            finally:
                with contextlib.suppress(*announcing.failures()):
                    await client.aclose()
            if self._loop.time() - began_s > LONGEST_DELAY_S:
                delay_s = FIRST_DELAY_S
            await asyncio.sleep(random.uniform(0.5, 1) * delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    async def _start(self, client: Any) -> None:
        """Registers; what was taken on a connection before may never have arrived."""
        shared = self.shared
        async with client.pipeline(transaction=True) as asked:
            asked.set(shared.lease(self.gateway), "1", px=shared.lease_ms)
            asked.sadd(shared.gateways, self.gateway)
            await asked.execute()
        await self._forget_used(client)
        await self._put_back(client, self.gateway, only_if_lost=False)

    async def _take(self, client: Any) -> None:
        await self._start(client)
        shared, waiting = self.shared, self._dispatcher.waiting
        while True:
            await self._forget_used(client)
            if len(waiting) <= len(self._held):
                self._wanted.clear()
                await self._wanted.wait()
                continue
            taken = await client.blmove(
                shared.idle, shared.taken(self.gateway), BLOCK_S, src="LEFT", dest="RIGHT"
            )
            if taken is not None:
                await self._took(client, str(taken))

    async def _forget_used(self, client: Any) -> None:
        used, self._used = self._used, []
        if not used:
            return
        async with client.pipeline(transaction=False) as asked:
            for announcement in used:
                asked.lrem(self.shared.taken(self.gateway), 1, announcement)
            await asked.execute()

    async def _took(self, client: Any, announcement: str) -> None:
        worker = announcement.rpartition(" ")[0]
        link = self._links.get(worker)
        if link is not None and link.is_free:
            return self._use(announcement, link)
        if not len(self._dispatcher.waiting):
            return await self._give_back(client, announcement, is_first=True)
        if link is None and not await client.exists(self.shared.lease(worker)):
            log.warning("worker %s has announced itself and is gone", announcing.shown(worker))
            self._figures.announcement("lost")
            self._used.append(announcement)
            return None
        if held := self._held.pop(worker, None):
            held[1].cancel()
            self._used.append(held[0])  # an older one
        limit_s = HELD_UNKNOWN_S if link is None else HELD_S
        timer = self._loop.call_later(limit_s, self._held_too_long, worker)
        self._held[worker] = (announcement, timer)
        return None

    def _use(self, announcement: str, link: WorkerLink) -> None:
        if self._dispatcher.hand_out_for(announcement, link):
            self._figures.announcement("used")
            self._used.append(announcement)
            self._wanted.set()
        else:
            self._return_later(announcement, is_first=True)

    def _held_too_long(self, worker: str) -> None:
        announcement, _ = self._held.pop(worker)
        self._return_later(announcement, is_first=False)

    def _return_later(self, announcement: str, *, is_first: bool) -> None:
        async def give_back() -> None:
            client = announcing.opened(self.shared)
            try:
                await self._give_back(client, announcement, is_first=is_first)
            except announcing.failures():
                pass  # it is put back with all that was taken, when Redis responds again
            finally:
                with contextlib.suppress(*announcing.failures()):
                    await client.aclose()
            self._wanted.set()

        task = self._loop.create_task(give_back())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back(self, client: Any, announcement: str, *, is_first: bool) -> None:
        """Another gateway, or a later request, may use it."""
        shared = self.shared
        self._figures.announcement("returned")
        async with client.pipeline(transaction=True) as asked:
            asked.lrem(shared.taken(self.gateway), 1, announcement)
            (asked.lpush if is_first else asked.rpush)(shared.idle, announcement)
            await asked.execute()

    async def _look_after(self, client: Any) -> None:
        """Keeps the lease, and puts back what gateways that are gone have taken."""
        shared = self.shared
        while True:
            async with client.pipeline(transaction=False) as asked:
                asked.set(shared.lease(self.gateway), "1", px=shared.lease_ms)
                asked.sadd(shared.gateways, self.gateway)
                asked.smembers(shared.gateways)
                asked.llen(shared.idle)
                _, _, gateways, self.announced = await asked.execute()
            for gateway in sorted(set(gateways) - {self.gateway}):
                if not await client.exists(shared.lease(gateway)):
                    count = await self._put_back(client, gateway, only_if_lost=True)
                    await client.srem(shared.gateways, gateway)
                    log.warning(
                        "gateway %s is gone; announcements put back: %d", announcing.shown(gateway), count
                    )
            await asyncio.sleep(shared.lease_s / 3)

    async def _put_back(self, client: Any, gateway: str, *, only_if_lost: bool) -> int:
        shared = self.shared
        keys = [shared.taken(gateway), shared.idle, shared.lease(gateway)]
        return int(await client.eval(_PUT_BACK, 3, *keys, "1" if only_if_lost else "0"))
