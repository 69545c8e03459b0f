"""Keeps a certificate in force for every name: orders what is missing, renews what is due, tries again what failed.

How it works: one loop looks at every name, orders what is due one after the other in a thread, and sleeps until the
next is due. The old certificate serves until the new one is in its place. Of several processes on one folder, the one
that holds its lock orders; the others look again later. Times that are kept are doubted: the clock may have jumped.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import logging
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headgate.config.acme import AcmeConfig, KeyType

from . import schedule
from .authority import AuthorityError
from .issuing import Issuer, NotIssued
from .network import LONGEST_WAIT
from .on_demand import OnDemandOrders
from .order import new_key
from .storage import Certificate, Storage, StorageError

log = logging.getLogger("headgate.acme")

LOOK_AT_LEAST = timedelta(hours=1)
"""Clocks jump and folders change: nothing sleeps longer."""
FIRST_WAIT, FAILED_WAIT = timedelta(seconds=15), timedelta(minutes=5)
"""Before the next look where the folder cannot be used: at first, and at most."""
ASKS_AT_LEAST = timedelta(days=2)
"""Authorities say to ask about renewals again within hours (RFC 9773 section 4.3)."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class CertificateManager:
    """See the module. `names` gives the host names that are wanted now; `run` never returns."""

    def __init__(
        self,
        config: AcmeConfig,
        storage: Path | Storage,
        names: Callable[[], Iterable[str]],
        *,
        now: Callable[[], datetime] = utc_now,
        chance: random.Random | None = None,
    ) -> None:
        self.config = config
        self.storage = Storage(storage) if isinstance(storage, Path) else storage
        self._names = names
        self._now = now
        self._chance = chance or random.Random()
        self._issuer = Issuer(config, self.storage, now)
        self._on_demand = OnDemandOrders(config, self.storage, now, self._chance)
        self._woken = asyncio.Event()
        self._unkept: dict[tuple[str, KeyType], tuple[bytes, bytes]] = {}
        """Certificates that were given, and that the folder has not taken yet."""

    def wake(self) -> None:
        """Looks at every name now: names have changed."""
        self._woken.set()

    async def run(self) -> None:
        """Keeps certificates in force until it is cancelled."""
        async with self.storage.following(), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_on_demand())
            tasks.create_task(self._run_rounds())

    async def _run_on_demand(self) -> None:
        while True:
            try:
                await self._on_demand.run()
            except StorageError as error:
                log.error("no certificates are ordered on demand: %s", error)
            except Exception:
                log.exception("no certificates are ordered on demand")
            await asyncio.sleep(FIRST_WAIT.total_seconds())

    async def _run_rounds(self) -> None:
        failures = 0
        while True:
            self._woken.clear()
            try:
                wait = await self._round()
                failures = 0
            except Exception as error:
                if isinstance(error, StorageError):
                    log.error("certificates are not renewed: %s", error)
                else:
                    log.exception("certificates are not renewed")
                wait = min(FIRST_WAIT * 2 ** min(failures, 10), FAILED_WAIT)
                failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait.total_seconds(), 0.0)):
                    await self._woken.wait()

    async def _round(self) -> timedelta:
        """Orders everything that is due; how long until the next is."""
        await asyncio.to_thread(self.storage.prepare)
        rest = await asyncio.to_thread(self._rest)
        if rest > timedelta(0):
            return min(rest, LOOK_AT_LEAST)
        async with self.storage.ordering() as is_ours:
            if not is_ours:
                return timedelta(seconds=self.storage.retry_s)
            state = await asyncio.to_thread(self.storage.state)
            kept = copy.deepcopy(state)
            soonest = self._now() + LOOK_AT_LEAST
            for name, kind in self._wanted():
                entry = state.setdefault(f"{name} {kind}", {})
                due = await self._due(name, kind, entry)
                if due <= self._now():
                    await self._renew(name, kind, entry)
                    due = await self._due(name, kind, entry)
                else:
                    self._unkept.pop((name, kind), None)
                soonest = min(soonest, due)
                if state != kept:  # also with what the authority has told of the next renewal
                    await asyncio.to_thread(self.storage.put_state, state)
                    kept = copy.deepcopy(state)
            return max(soonest - self._now(), timedelta(seconds=1))

    def _rest(self) -> timedelta:
        """How long until something is to be done for some name, as far as is known without asking anybody."""
        state, now = self.storage.state(), self._now()
        soonest = now + LOOK_AT_LEAST
        for name, kind in self._wanted():
            entry = state.get(f"{name} {kind}", {})
            certificate = self.storage.certificate(name, kind)
            if certificate and certificate.not_after > now and self._asks_again(entry):
                return timedelta(0)
            soonest = min(soonest, self._due_as_noted(certificate, entry))
        return soonest - now

    def _wanted(self) -> list[tuple[str, KeyType]]:
        return list(itertools.product(sorted(set(self._names())), self.config.key_types))

    async def _due(self, name: str, kind: KeyType, entry: dict[str, Any]) -> datetime:
        """When the certificate of a name is to be ordered, a failed order being tried again later."""
        certificate = await asyncio.to_thread(self.storage.certificate, name, kind)
        if certificate and certificate.not_after > self._now() and self._asks_again(entry):
            await self._ask(certificate.chain, entry)
        return self._due_as_noted(certificate, entry)

    def _due_as_noted(self, certificate: Certificate | None, entry: dict[str, Any]) -> datetime:
        now = self._now()
        again = schedule.plausible(_time(entry.get("retry_at")), now, LONGEST_WAIT)
        again = again or datetime.min.replace(tzinfo=UTC)
        if certificate is None:
            return again
        told = _time(entry.get("renew_at"))
        by_age = schedule.due(certificate.not_before, certificate.not_after, entry.get("jitter", 0.5))
        if ordered_at := _time(entry.get("ordered_at")):
            life = certificate.not_after - certificate.not_before
            by_age = max(by_age, schedule.settled(ordered_at, life, now))
        return max(min(by_age, told) if told else by_age, again)

    def _asks_again(self, entry: dict[str, Any]) -> bool:
        again = schedule.plausible(_time(entry.get("ask_at")), self._now(), ASKS_AT_LEAST)
        return again is None or again <= self._now()

    async def _ask(self, chain: bytes, entry: dict[str, Any]) -> None:
        """Asks the authority when it wants the certificate renewed; noted, as is when to ask again."""
        entry["ask_at"] = (self._now() + timedelta(hours=6)).isoformat()
        try:
            when, again = await asyncio.to_thread(self._issuer.authorities[0].renewal_time, chain)
        except (AuthorityError, StorageError) as error:
            log.info("the authority does not say when to renew: %s", error)
            return
        entry["ask_at"] = again.isoformat()
        entry["renew_at"] = when.isoformat() if when else None

    async def _renew(self, name: str, kind: KeyType, entry: dict[str, Any]) -> None:
        """Orders a certificate, unless one waits to be kept, and notes what came of it."""
        if (name, kind) not in self._unkept and not await self._order(name, kind, entry):
            return
        await asyncio.to_thread(self._keep, name, kind)
        entry.clear()
        entry.update(jitter=self._chance.random(), ordered_at=self._now().isoformat())
        log.info("certificate for %s (%s) is in force", name, kind)
        self._doubt_the_clock(name, kind)

    async def _order(self, name: str, kind: KeyType, entry: dict[str, Any]) -> bool:
        """Whether a certificate was given, which is to be kept now."""
        old = await asyncio.to_thread(self.storage.certificate, name, kind)
        key = old.key if old and self.config.reuse_key else new_key(kind)
        try:
            chain, directory = await self._issuer.issue(name, key)
        except NotIssued as error:
            entry["failures"] = entry.get("failures", 0) + 1
            entry["problem"] = str(error)
            wait = schedule.retry_after(entry["failures"], error.wait, self._chance)
            entry["retry_at"] = (self._now() + wait).isoformat()
            self._alert(name, kind, entry)
            return False
        log.info("certificate for %s (%s) was given by %s", name, kind, directory)
        self._unkept[name, kind] = (chain, key)
        return True

    def _keep(self, name: str, kind: KeyType) -> None:
        """Puts a certificate in force; one that cannot be written now is not ordered again, but written later."""
        self.storage.put_certificate(name, kind, *self._unkept[name, kind])
        del self._unkept[name, kind]

    def _doubt_the_clock(self, name: str, kind: KeyType) -> None:
        found = self.storage.certificate(name, kind)
        if found and not found.not_before <= self._now() < found.not_after:
            log.critical(
                "the new certificate for %s (%s) is valid from %s to %s, but it is %s; hint: set the clock",
                *(name, kind, found.not_before, found.not_after, self._now()),
            )

    def _alert(self, name: str, kind: KeyType, entry: dict[str, Any]) -> None:
        """Says that an order failed, the louder the less of the certificate's life is left."""
        certificate = self.storage.certificate(name, kind)
        level = logging.ERROR
        left = "there is none yet"
        if certificate is not None:
            urgency = schedule.alert(certificate.not_before, certificate.not_after, self._now())
            level = {"none": logging.WARNING, "warning": logging.WARNING, "error": logging.ERROR}.get(
                urgency, logging.CRITICAL
            )
            left = f"the present one serves until {certificate.not_after:%Y-%m-%d %H:%M} UTC"
        log.log(
            level,
            "no certificate for %s (%s), attempt %d: %s; %s; next attempt at %s",
            name,
            kind,
            entry["failures"],
            entry["problem"],
            left,
            entry["retry_at"],
        )


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
