"""Orders what workers want on demand: bounded in rate, a few at a time, with longer and longer waits after failures.

Whether a name is allowed has been decided before, in the worker. See `headgate._on_demand` for how both talk.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509

from headgate.config.acme import AcmeConfig
from headgate.config.acme_on_demand import OnDemandConfig
from headgate.stores.inotify import FolderEvents

from . import schedule
from .issuing import Issuer, NotIssued
from .order import new_key
from .storage import Storage, StorageError

log = logging.getLogger("headgate.acme")

AT_ONCE = 4
"""Orders under way at a time."""
LOOKS_EVERY_S = 30.0
"""Where the kernel tells of no file, it is found so late."""
TIDIES_EVERY_S = 3600.0
"""How often certificates that have expired are looked for."""
STALE = timedelta(minutes=5)
"""A wish that old is of a worker that has gone."""
MOST_FAILED = 10_000


class OnDemandOrders:
    """See the module; `run` never returns."""

    def __init__(
        self, config: AcmeConfig, storage: Storage, now: Callable[[], datetime], chance: random.Random
    ) -> None:
        self._said = config.on_demand or OnDemandConfig()
        self._kind = config.key_types[0]
        self._storage, self._now, self._chance = storage, now, chance
        self._free = [Issuer(config, storage, now) for _ in range(AT_ONCE)]
        self._begun: list[float] = []
        """When the last orders began, by a clock that cannot be set."""
        self._failed: OrderedDict[str, tuple[int, datetime]] = OrderedDict()
        self._tidies_at = 0.0
        self._woken = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Works until it is cancelled."""
        await asyncio.to_thread(self._storage.prepare)
        events = FolderEvents(lambda _: self._woken.set())
        events.watch([self._storage.folder / "wanted"])
        try:
            while True:
                await self._look()
        finally:
            events.close()
            for task in self._running.values():
                task.cancel()

    async def _look(self) -> None:
        self._woken.clear()
        wait = LOOKS_EVERY_S
        try:
            clock = asyncio.get_running_loop().time()
            tidies = clock >= self._tidies_at
            wanted = await asyncio.to_thread(self._storage.wanted)
            if wanted or tidies:
                self._tidies_at = clock + TIDIES_EVERY_S if tidies else self._tidies_at
                async with self._storage.ordering("on_demand.lock") as is_ours:
                    if is_ours and tidies:
                        await self._tidy()
                    if is_ours:
                        await self._work_off()
                    elif wanted:
                        wait = 0.5
        except StorageError as error:
            log.error("no certificates are ordered on demand: %s", error)
        try:
            async with asyncio.timeout(wait):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _tidy(self) -> None:
        expired = await asyncio.to_thread(self._storage.drop_expired, self._now())
        if expired:
            log.info(
                "%d certificates on demand have expired and are deleted: %s", len(expired), _few(expired)
            )

    async def _work_off(self) -> None:
        """Orders until nothing is wanted."""
        while True:
            self._woken.clear()
            wanted = await asyncio.to_thread(self._storage.wanted)
            for name, since in wanted.items():
                if name not in self._running and self._free and self._may_begin(name, since):
                    self._running[name] = asyncio.ensure_future(self._one(name, self._free.pop()))
            if not self._running:
                return
            woken = asyncio.ensure_future(self._woken.wait())
            await asyncio.wait([woken, *self._running.values()], return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            self._running = {name: task for name, task in self._running.items() if not task.done()}

    def _may_begin(self, name: str, since: float) -> bool:
        """Whether the name is ordered now; its wish ends if not."""
        _, again = self._failed.get(name, (0, self._now()))
        clock = asyncio.get_running_loop().time()
        self._begun = [one for one in self._begun if one > clock - self._said.period]
        if not self._storage.is_due(name, self._now()):
            self._storage.drop_wanted(name)  # another node has ordered it
            return False
        if again > self._now() or self._now().timestamp() - since > STALE.total_seconds():
            self._storage.drop_wanted(name)
            return False
        if len(self._begun) >= self._said.max_orders:
            log.warning(
                "no certificate on demand for %s: %d were ordered within %g s; hint: `acme.on_demand.max_orders`",
                *(name, len(self._begun), self._said.period),
            )
            self._storage.drop_wanted(name)
            return False
        self._begun.append(clock)
        return True

    async def _one(self, name: str, issuer: Issuer) -> None:
        try:
            key = new_key(self._kind)
            chain, directory = await issuer.issue(name, key)
            leaf = x509.load_pem_x509_certificate(chain)
            due = schedule.due(leaf.not_valid_before_utc, leaf.not_valid_after_utc, self._chance.random())
            await asyncio.to_thread(self._storage.put_on_demand, name, chain, key, due)
            self._failed.pop(name, None)
            log.info("certificate on demand for %s is in force, from %s", name, directory)
        except (NotIssued, StorageError) as error:
            self._note(name, error)
        except Exception:
            log.exception("certificate on demand for %s", name)
        finally:
            self._free.append(issuer)
            self._storage.drop_wanted(name)

    def _note(self, name: str, error: NotIssued | StorageError) -> None:
        failures = self._failed.get(name, (0, self._now()))[0] + 1
        wait = schedule.retry_after(failures, getattr(error, "wait", None), self._chance)
        self._failed[name] = (failures, self._now() + wait)
        self._failed.move_to_end(name)
        while len(self._failed) > MOST_FAILED:
            self._failed.popitem(last=False)
        log.error(
            "no certificate on demand for %s, attempt %d: %s; not ordered again for %d s",
            *(name, failures, error, wait.total_seconds()),
        )


def _few(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
