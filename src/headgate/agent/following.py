"""Follows the store, and writes to it: each revision is built, made ready in every worker, and applied in one swap.

How it works: one change at a time. A write of our own is made ready in the workers first, then written to the store on
the condition that nobody has written meanwhile, then applied; so what no worker could build never reaches the store.
A revision of somebody else is in the store already: one that cannot be built here is reported, and what was in force
stays so until a later revision can be built.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from headgate.agent.breakpoints import Breakpoints
from headgate.agent.configuration import Base, Built
from headgate.agent.link import Link, ProposalRefused, Taken
from headgate.agent.state import Keeping, lent
from headgate.agent.tail import Recent, Tail
from headgate.config.discovered import Sets
from headgate.config.errors import ConfigError
from headgate.control.commands import Status
from headgate.stores import (
    Key,
    Resource,
    Revision,
    Snapshot,
    Store,
    StoreConflict,
    StoreError,
    StoreUnavailable,
    Transaction,
    Write,
)

MOST_TRIES = 20
"""Of a write, while others write too."""
ASKS_AGAIN_S, PAUSE_S = 1.0, 0.1
"""How long a store is asked again that did not say what became of a write: once at least."""
KEEPS_AGAIN_S = 0.1
"""How long after it was written the last good configuration is written again, with all changes of that time at once."""

logger = logging.getLogger("headgate.agent")

Decide = Callable[[Snapshot], Transaction]
"""What is to be written, given what the store holds; may raise what the writer is to hear."""
InStore = Callable[[Snapshot], None]
"""Called with what the store holds after a write that it will not have to take back."""


@dataclass(frozen=True)
class Written:
    """What became of a write."""

    snapshot: Snapshot
    """The store after it."""
    generation: int | None
    """In which it is in force; None where nothing changed, or where it was only tried."""


@dataclass(frozen=True)
class NotApplied:
    """Why a revision of the store is not in force."""

    number: int
    reason: str


class Follower:
    """The one who knows what is in the store, what is in force, and how to get from one to the other."""

    def __init__(self, base: Base, store: Store, link: Link, folder: Keeping, in_force: Built) -> None:
        self._base, self._link, self._folder = base, link, folder
        self._tail = Tail(link.follow_logs, link.unfollow_logs)
        self.breakpoints = Breakpoints(link.look)
        """In the workers' code."""
        self.store = store
        self.in_force = in_force
        """What the workers serve."""
        self.newest = in_force.snapshot
        """What the store holds, as far as it is known."""
        self.applied = in_force.snapshot.revision
        """That of `in_force`, or a later one in which nothing else is."""
        self.not_applied: NotApplied | None = None
        self.on_applied: list[Callable[[], None]] = []
        """Called when another configuration is in force."""
        self._lock = asyncio.Lock()
        self._keeping: asyncio.Future[None] | None = None
        self._unkept: list[dict[str, Any]] | None = None
        """Differences of resources that are not kept yet; None: all of it is not."""
        self._ends = asyncio.Event()

    @property
    def base(self) -> Base:
        """The file."""
        return self._base

    async def status(self) -> Status:
        """What runs."""
        return await self._link.status()

    async def metrics(self) -> tuple[str, float]:
        """What is counted, as JSON, and the CPU seconds that the supervisor took to add it up."""
        return await self._link.metrics()

    async def profile(self, seconds: float, interval_s: float) -> Taken:
        """A profile of the workers' Python code."""
        return await self._link.profile(seconds, interval_s)

    def recent(self, after: int) -> Recent:
        """The newest requests."""
        return self._tail.recent(after)

    async def run(self) -> None:
        """Follows the store without end."""
        self._tell_awaiting({})
        self._keep()
        since = self.newest.revision if self.newest.revision.epoch else None
        async for update in self.store.watch(since):
            async with self._lock:
                if isinstance(update, Snapshot):
                    await self._take(update)
                elif update.revision.number > self.newest.revision.number:  # or it is our own
                    changed = {change.key for change in update.changes}
                    await self._take(update.applied_to(self.newest), changed)

    async def write(
        self, decide: Decide, *, is_trial: bool = False, written: InStore = lambda _: None
    ) -> Written:
        """Writes what `decide` says, and has it applied in every worker; calls `written` when the store has it.

        With `is_trial`, every worker makes it ready, but nothing is written. Raises what `decide` raises, `ConfigError`
        for what does not fit or workers cannot build, and `StoreError`. What has begun goes on to its end, whether the
        caller waits or not.
        """
        return await asyncio.shield(
            asyncio.ensure_future(self._write(decide, is_trial=is_trial, written=written))
        )

    async def _write(self, decide: Decide, *, is_trial: bool, written: InStore) -> Written:
        async with self._lock:
            if not self.newest.revision.epoch:
                await self._take(await self.store.load())
            for _ in range(MOST_TRIES):
                transaction = decide(self.newest)
                if done := await self._try(transaction, is_trial=is_trial, written=written):
                    return done
                await self._take(await self.store.load())
            raise StoreConflict(None, self.newest.revision, None)

    async def _try(self, transaction: Transaction, *, is_trial: bool, written: InStore) -> Written | None:
        """None: somebody else has written meanwhile."""
        before = self.newest
        if not is_change(before, transaction):
            return Written(before, None)
        transaction = replace(
            transaction, expected_revision=before.revision, known=before, finishes_later=True
        )
        if not is_trial:
            self.store.foresee(transaction)
        after = _after(before, transaction, before.revision.number + 1)
        changed = self._differing(after, {write.key for write in transaction.writes})
        built, needs_workers = await self._prepare(after, changed, is_own=True)
        if is_trial:
            self._link.withdraw()
            return Written(built.snapshot, None)
        try:
            revision = await self._applied_once(transaction)
        except StoreConflict as error:  # the newest state is read, and `decide` is asked again
            self._link.withdraw()
            logger.debug("written meanwhile: %s", error)
            return None
        except BaseException:
            self._link.withdraw()
            raise
        if revision.number != before.revision.number + 1:  # others count in the same store
            after = _after(before, transaction, revision.number)
        built = replace(built, snapshot=Snapshot(revision, after.resources))
        self.newest = built.snapshot
        accepted = self._link.accept()
        if not needs_workers:
            written(built.snapshot)  # while the workers apply it
        try:
            generation = await accepted
        except ProposalRefused as error:
            if needs_workers:
                await self._take_back(before, transaction)
            raise ConfigError(str(error)) from None
        if needs_workers:
            written(built.snapshot)
        await self.store.finished()
        self._applied(built)
        return Written(built.snapshot, generation)

    async def _applied_once(self, transaction: Transaction) -> Revision:
        """Has the store do it; asks again where it did not say what became of it: it knows it by its mark."""
        asks_until = time.monotonic() + ASKS_AGAIN_S
        try:
            return await self.store.apply(transaction)
        except StoreUnavailable as error:
            logger.debug("the store did not say whether it was written: %s", error)
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                return await self.store.apply(transaction)
            except StoreUnavailable:
                if time.monotonic() > asks_until:
                    raise

    async def _take(self, snapshot: Snapshot, changed: set[Key] | None = None) -> None:
        """Applies what is in the store, if it can be; `changed` are the keys in which it may differ from before."""
        if snapshot.revision == self.newest.revision and not self.not_applied:
            return
        changed = self._differing(snapshot, changed)
        self.newest = snapshot
        before = self.in_force.snapshot.resources
        if all(before.get(key) == snapshot.resources.get(key) for key in changed):
            self.not_applied, self.applied = None, snapshot.revision
            return
        try:
            built, _ = await self._prepare(snapshot, changed, is_own=False)
            await self._link.accept()
        except StoreUnavailable:
            return  # this agent is about to be replaced
        except (ConfigError, ProposalRefused) as error:
            self.not_applied = NotApplied(snapshot.revision.number, str(error))
            logger.error(
                "revision %d of the store cannot be applied; still serving revision %d: %s",
                snapshot.revision.number,
                self.in_force.snapshot.revision.number,
                error,
            )
            return
        self._applied(built)

    def _differing(self, snapshot: Snapshot, changed: set[Key] | None) -> set[Key]:
        """The keys in which a snapshot may differ from the one in force; `changed`: from the newest one."""
        if changed is not None and self.newest is self.in_force.snapshot:
            return changed
        return differing(self.in_force.snapshot, snapshot)

    async def _prepare(self, snapshot: Snapshot, changed: set[Key], *, is_own: bool) -> tuple[Built, bool]:
        """Has it made ready, and gives whether only new workers can serve it; `changed` may differ from those in force.

        What is more than a difference, or is refused, is built whole: that says best what is wrong.
        """
        in_force = self.in_force
        if (built := self._base.differing(in_force, snapshot, changed)) and built.difference:
            try:
                if await self._link.prepare_difference(built.label, built.difference):
                    return built, False
            except ProposalRefused as error:
                logger.debug("a difference is refused: %s", error)
        built = self._base.build(snapshot)
        if is_own:
            built.merged.check_against(in_force.awaiting)
        try:
            return built, await self._link.prepare(built.loaded, built.label, self._lent(built.snapshot))
        except ProposalRefused as error:
            raise built.explained(str(error)) from None

    def _lent(self, snapshot: Snapshot) -> dict[str, Any]:
        """What workers load with the file."""
        return lent(snapshot, self._base.found)

    async def take_found(self, found: Sets) -> None:
        """Has other servers that are known by a name serve; raises `ConfigError`, or `StoreUnavailable` for later."""
        async with self._lock:
            before, self._base.found = self._base.found, found
            try:
                built = self._base.build(self.in_force.snapshot)
                try:
                    await self._link.prepare(built.loaded, built.label, self._lent(built.snapshot))
                    await self._link.accept()
                except ProposalRefused as error:
                    raise built.explained(str(error)) from None
            except BaseException:
                self._base.found = before
                raise
            self.in_force = built
            for call in self.on_applied:
                call()

    def _applied(self, built: Built) -> None:
        before, self.in_force, self.not_applied = self.in_force, built, None
        self.applied = built.snapshot.revision
        self._tell_awaiting(before.awaiting)
        if built.difference is None:
            self._unkept = None
        elif self._unkept is not None:
            self._unkept.append({**built.difference.resources, "revision": str(built.snapshot.revision)})
        how = "whole" if built.difference is None else "difference"
        logger.debug("in force", extra={"revision": built.snapshot.revision.number, "told": how})
        self._link.tell_secret_files()
        self._keep()
        for call in self.on_applied:
            call()

    def _tell_awaiting(self, before: dict[str, str]) -> None:
        for route, missing in self.in_force.awaiting.items():
            if before.get(route) != missing:
                facts = {"route": route, "missing": missing}
                logger.warning("a route responds with 503 until the store has what it uses", extra=facts)

    def _keep(self) -> None:
        """Keeps what is in force as the last good configuration, beside everything else."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._kept())

    async def _kept(self) -> None:
        while self._unkept != []:
            differences, self._unkept = self._unkept, []
            await asyncio.to_thread(self._folder.save, self.in_force.snapshot, differences)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEPS_AGAIN_S):
                    await self._ends.wait()

    async def end(self) -> None:
        """Has what is not kept yet be kept at once."""
        self._tail.close()
        self._ends.set()
        if self._keeping:
            await self._keeping

    async def _take_back(self, before: Snapshot, transaction: Transaction) -> None:
        """New workers could not serve it after all: the store is to hold what it held."""
        writes = tuple(
            Write(write.key, before.resources[write.key].document if write.key in before.resources else None)
            for write in transaction.writes
        )
        try:
            back = Transaction(
                writes,
                author=transaction.author,
                note="taken back: it could not be served",
                expected_revision=self.newest.revision,
            )
            revision = await self.store.apply(back)
            self.newest = Snapshot(revision, _after(before, Transaction(()), 0).resources)
            self.applied = revision
        except StoreError as error:
            logger.error("cannot revert a write that could not be applied: %s", error)


def differing(one: Snapshot, other: Snapshot) -> set[Key]:
    """The keys of what is not the same in both."""
    found = {key for key, resource in other.resources.items() if one.resources.get(key) is not resource}
    return found | (one.resources.keys() - other.resources.keys())


def is_change(snapshot: Snapshot, transaction: Transaction) -> bool:
    """Whether a transaction would change anything."""
    return any(
        (found.document if (found := snapshot.resources.get(write.key)) else None) != write.document
        for write in transaction.writes
    )


def _after(snapshot: Snapshot, transaction: Transaction, number: int) -> Snapshot:
    """A snapshot after a transaction that has made the revision of this number."""
    changed: dict[Key, Resource | None] = {}
    for write in transaction.writes:
        found = snapshot.resources.get(write.key)
        if write.document is None:
            changed[write.key] = None
        elif found is None or found.document != write.document:
            changed[write.key] = Resource(write.key, write.document, number)
    return snapshot.changed(snapshot.revision, changed)
