"""Keeps looking up what a configuration seeks, and says when what was found is another set.

How it works: one task for each host and each service, so that one query for a name is under way at a time. A task
looks its name up, sleeps for as long as the schedule says, or until it is woken: the system's files are other ones.
The targets of a service are hosts with tasks of their own while some service names them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dns.exception

from headgate.config.discovered import Kind, Sets, Sought
from headgate.config.resolver import ResolverConfig

from .listing import Source, lists_of, read_list
from .outcomes import Failed, Outcome, Resolved
from .registries.asking import registered
from .resolving import Lookups, read_target
from .schedule import NEGATIVES, Standing, pause_s, take
from .services import servers_of, targets_of, with_port

FILES_S = 1.0
"""How often the system's files are looked at."""
MOST_AT_ONCE = 64
"""Names that are being looked up."""

Place = tuple[Kind, str]

log = logging.getLogger("headgate.discovery")


@dataclass
class Name:
    """One name that is looked up again and again."""

    place: Place
    standing: Standing = field(default_factory=Standing)
    is_due: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes its task before the time."""
    task: asyncio.Task[None] | None = None


class Finding:
    """What is looked up; `changed` is called when `sets` is another one, `looked_up` after each lookup."""

    def __init__(
        self,
        config: ResolverConfig,
        *,
        changed: Callable[[], None],
        looked_up: Callable[[str, bool], None] = lambda name, is_well: None,
        lookups: Lookups | None = None,
        known: Sets | None = None,
        sources: Mapping[str, Source] | None = None,
    ) -> None:
        self._sources = sources or {}
        self._changed, self._looked_up = changed, looked_up
        self._config = config
        self._lookups = lookups or Lookups(config)
        self._names: dict[Place, Name] = {}
        self._sought: dict[str, Sought] = {}
        self._before: dict[str, Any] = dict(known or {})
        """What others have found before: it holds until something is found here."""
        self._watching: asyncio.Task[None] | None = None
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)

    def configure(self, config: ResolverConfig) -> None:
        """Looks names up under other settings from here on."""
        if config != self._config:
            self._config, self._lookups = config, Lookups(config)
            for place in [place for place in self._names if place[0] == "registry"]:
                self._keep_found(place)
                self._end(place)
            self._wake_all()

    def seek(self, sought: Iterable[Sought]) -> None:
        """Looks these up, and no others."""
        self._sought = {one.key: one for one in sought}
        self._before = {key: one for key, one in self._before.items() if key in self._sought}
        self._keep_names()
        if self._sought and self._watching is None:
            self._watching = asyncio.ensure_future(self._watch_files())

    async def first(self, limit_s: float) -> None:
        """Waits until all was looked up once, at most so long."""
        end_s = time.monotonic() + limit_s
        while any(not self._is_known(one) for one in self._sought.values()):
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, 0.01))

    @property
    def sets(self) -> dict[str, list[dict[str, Any]]]:
        """What is found, by the keys of what is sought; nothing for what was not looked up yet."""
        return {key: found for key, one in self._sought.items() if (found := self._found(one)) is not None}

    @property
    def keys(self) -> list[str]:
        """Of what is sought, in order."""
        return list(self._sought)

    def error_of(self, key: str) -> str:
        """Why the last lookup of what is sought found nothing; empty where it did."""
        name = self._names.get(_place(self._sought[key]))
        return name.standing.error if name else ""

    def close(self) -> None:
        """Looks nothing up any more."""
        self.seek(())
        if self._watching:
            self._watching.cancel()

    # ---- steps

    def _is_known(self, one: Sought) -> bool:
        names = [self._names[_place(one)], *self._targets_of(one)]
        return all(name.standing.is_known for name in names)

    def _targets_of(self, one: Sought) -> list[Name]:
        if one.kind != "service":
            return []
        records = self._names[_place(one)].standing.records or ()
        return [self._names["host", host] for host in _hosts(records) if ("host", host) in self._names]

    def _found(self, one: Sought) -> list[dict[str, Any]] | None:
        standing = self._names[_place(one)].standing
        if standing.records is None:
            if standing.negatives >= NEGATIVES:
                return []
            # what others found holds while lookups fail; what never was found is known to have no server
            return self._before.get(one.key, [] if standing.is_known else None)
        if one.kind in ("file", "function", "registry"):
            return [json.loads(record) for record in standing.records]
        if one.port is not None:
            addresses = sorted(standing.records, key=_order)
            return [{"address": with_port(address, one.port)} for address in addresses]
        targets = targets_of(map(read_target, standing.records))
        if not all(name.standing.is_known for name in self._targets_of(one)):
            return self._before.get(one.key)
        of_hosts = {
            host: self._names["host", host].standing.records or () for host in _hosts(standing.records)
        }
        return servers_of(targets, {target.host: of_hosts[_plain(target.host)] for target in targets})

    def _keep_names(self) -> None:
        """Begins and ends tasks, so that there is one for each name that is needed."""
        needed: set[Place] = set()
        for one in self._sought.values():
            needed.add(_place(one))
            known = self._names.get(_place(one))
            if one.kind == "service" and known:
                needed |= {("host", host) for host in _hosts(known.standing.records or ())}
        for place in [place for place in self._names if place not in needed]:
            self._end(place)
        for place in needed - self._names.keys():
            name = self._names[place] = Name(place)
            is_told = place[0] in ("function", "registry")
            name.task = asyncio.ensure_future(
                self._keep_asking(name) if is_told else self._keep_looking(name)
            )
            name.task.add_done_callback(_tell_end)

    def _end(self, place: Place) -> None:
        """Looks it up no more."""
        name = self._names.pop(place)
        if name.task:
            name.task.cancel()

    def _keep_found(self, place: Place) -> None:
        """What was found holds until something is found under other settings."""
        for key, one in self._sought.items():
            if _place(one) == place and (found := self._found(one)) is not None:
                self._before[key] = found

    def _told_of(self, place: Place) -> AsyncGenerator[Outcome, None]:
        """What a function or a registry says, from here on."""
        kind, name = place
        if kind == "function":
            return lists_of(name, self._sources)
        return registered(name, self._config, self._lookups, self._before.get(name, ()))

    async def _keep_looking(self, name: Name) -> None:
        while True:
            outcome = await self._look_up(name.place)
            name.is_due.clear()
            self._take(name, outcome)
            pause = pause_s(name.standing, outcome, self._config, random.random)
            if name.place[0] == "file":
                pause = FILES_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await name.is_due.wait()

    async def _keep_asking(self, name: Name) -> None:
        """What a function or a registry says; a function is called again when it has returned, or ended."""
        while True:
            outcome: Outcome = Failed("it says nothing")
            async with contextlib.aclosing(self._told_of(name.place)) as lists:
                async for outcome in lists:
                    self._take(name, outcome)
            if isinstance(outcome, Resolved):
                await asyncio.sleep(outcome.ttl_s)
            else:
                await asyncio.sleep(pause_s(name.standing, outcome, self._config, random.random))

    def _take(self, name: Name, outcome: Outcome) -> None:
        """Notes and tells what a lookup came to."""
        was_known = name.standing.is_known
        self._tell(name, outcome)
        is_other = take(name.standing, outcome, time.monotonic(), self._config)
        self._looked_up(name.place[1], isinstance(outcome, Resolved))
        if is_other or not was_known or name.standing.negatives == NEGATIVES:
            self._keep_names()
            self._changed()

    async def _look_up(self, place: Place) -> Outcome:
        kind, name = place
        try:
            async with self._at_once:
                lookups = self._lookups
                if kind == "file":
                    return await read_list(name)
                return await (lookups.addresses(name) if kind == "host" else lookups.targets(name))
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return Failed(f"{type(error).__name__}: {error}")

    def _tell(self, name: Name, outcome: Outcome) -> None:
        """Logs it where it is another outcome than before."""
        facts, is_dns = {"looked_up": name.place[1]}, name.place[0] in ("host", "service")
        if isinstance(outcome, Resolved):
            if name.standing.failures:
                log.info(
                    "the %s again", "name resolves" if is_dns else "list of servers is good", extra=facts
                )
        elif not name.standing.failures:
            reason = outcome.reason if isinstance(outcome, Failed) else outcome.kind.upper()
            kept = "its known servers are used" if name.standing.records else "it has no servers yet"
            what = "the name does not resolve" if is_dns else "the list of servers is not usable"
            log.warning("%s, %s: %s", what, kept, reason, extra=facts)

    async def _watch_files(self) -> None:
        known, lookups = self._lookups.files, self._lookups
        while True:
            await asyncio.sleep(FILES_S)
            if self._lookups is lookups and self._lookups.files != known:
                log.info("the system's resolver files have changed; looking up all names again")
                self._wake_all()
            known, lookups = self._lookups.files, self._lookups

    def _wake_all(self) -> None:
        for name in self._names.values():
            name.is_due.set()


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a name is not looked up any more", exc_info=error)


def _place(one: Sought) -> Place:
    return one.kind, _plain(one.name) if one.kind == "host" else one.name


def _hosts(records: Iterable[str]) -> set[str]:
    """The targets of a service, as hosts."""
    return {_plain(one.host) for one in targets_of(map(read_target, records))}


def _plain(host: str) -> str:
    return host.lower()


def _order(address: str) -> tuple[int, int]:
    ip = ipaddress.ip_address(address)
    return ip.version, int(ip)
