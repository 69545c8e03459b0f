"""The watch that all stores share: wake-ups say that something may have happened, the store's history says what.

How it works: a watch holds a position and an event. It clears the event, asks for changes since the position, and
only when there are none waits for the event, or for `poll_s`. So a wake-up that is lost costs time and nothing
else, and a position moves by nothing but what was read (never by a time-out), or by what this process has written
itself, right behind the position: that is known and is not read.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Self

from headgate.stores.base import Changes, Health, Revision, Snapshot, Timing, Transaction, Update
from headgate.stores.errors import StoreError, StoreUnavailable

MOST_MADE = 64
REPEATS_AFTER_S = 60.0
"""How long a line is not logged again, however often a connection comes and goes."""
MOST_LINES = 32

log = logging.getLogger("headgate.stores")


class HistoryGap(Exception):
    """What happened since a position is not to be had: compacted, another epoch, another history."""


class Waker:
    """What a watch waits for."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.has_news = True
        """Whether the store is to be asked."""
        self.made: dict[Revision, Changes] = {}
        """The newest revisions that were made here since the watch began, by those that they followed."""

    def wake(self) -> None:
        """Something may have happened."""
        self.has_news = True
        self.event.set()


class Lines:
    """What was logged lately: a store that comes and goes must not fill the disk with its reasons."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}

    def is_due(self, line: str) -> bool:
        """Whether a line is to be logged now; it counts as logged then."""
        now = self._clock()
        if now - self._said.get(line, -math.inf) < REPEATS_AFTER_S:
            return False
        self._said.pop(line, None)
        self._said[line] = now
        if len(self._said) > MOST_LINES:
            del self._said[next(iter(self._said))]
        return True


class WatchedStore(ABC):
    """The common part of the stores: the watch, health, the end."""

    def __init__(self, url: str, timing: Timing) -> None:
        self.url = url
        self.timing = timing
        self._closed = asyncio.Event()
        self._health = Health(is_connected=False)
        self._wakers: set[Waker] = set()
        self._lines = Lines()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    @abstractmethod
    async def load(self) -> Snapshot:
        """See `Store`."""

    @abstractmethod
    async def changes_since(self, position: Revision) -> Changes | None:
        """Whole revisions after the position, at most some; `None` where there are none; raises `HistoryGap`."""

    @abstractmethod
    async def listen(self) -> None:
        """Sees to it that `wake` is called from now on; called before each read, cheap when it is so already."""

    def foresee(self, transaction: Transaction) -> None:  # noqa: B027 - most stores have nothing to read
        """See `Store`; nothing is to be read here."""

    async def finished(self) -> None:  # noqa: B027 - most stores leave nothing
        """See `Store`; nothing is left here."""

    def wake(self) -> None:
        """Something may have happened."""
        for waker in self._wakers:
            waker.wake()

    def made(self, before: Revision, changes: Changes) -> None:
        """A transaction of ours has made a revision right after `before`: no watch that is there need read it."""
        for waker in self._wakers:
            waker.made[before] = changes
            if len(waker.made) > MOST_MADE:
                del waker.made[next(iter(waker.made))]
                waker.has_news = True
            waker.event.set()

    @property
    def health(self) -> Health:
        """See `Store`."""
        return self._health

    def is_well(self) -> None:
        """The store gave a response."""
        if not self._health.is_connected:
            self._health = Health(is_connected=True)

    def is_ill(self, error: Exception) -> None:
        """The store is away; logged when it is news, the same reason once a minute."""
        is_news = self._health.is_connected or self._health.error != str(error)
        if is_news and self._lines.is_due(str(error)):
            log.warning("the configuration store is unavailable", extra={"error": str(error)})
        self._health = Health(is_connected=False, error=str(error))

    async def watch(self, since: Revision | None = None) -> AsyncGenerator[Update]:
        """See `Store`."""
        waker = Waker()
        self._wakers.add(waker)
        position, failures = since, 0
        try:
            while not self.is_closed:
                waker.event.clear()
                if position is not None and (own := waker.made.pop(position, None)):
                    position = own.revision
                    yield own
                    continue
                if not waker.has_news:
                    await self._wait(waker)
                    waker.has_news |= position not in waker.made
                    continue
                waker.has_news = False
                try:
                    update = await self._next(position)
                    failures = 0
                except Exception as error:
                    if not isinstance(error, StoreError) and self._lines.is_due(repr(error)):
                        log.exception("the configuration store cannot be read")
                    self.is_ill(error)
                    failures += 1
                    waker.has_news = True
                    await self.pause(failures)
                    continue
                if update is not None:
                    position, waker.has_news = update.revision, True  # there may be more
                    if isinstance(update, Snapshot) or update.changes:
                        yield update
        finally:
            self._wakers.discard(waker)

    async def _next(self, position: Revision | None) -> Update | None:
        """What comes after a position, if anything."""
        await self.listen()
        if position is None:
            update: Update | None = await self.load()
        else:
            try:
                update = await self.changes_since(position)
            except HistoryGap:
                log.info(
                    "the store's history has a gap; reading everything", extra={"since": position.number}
                )
                await self.rest(random.uniform(0, self.timing.spread_s))
                update = await self.load()
                if update.revision.number == 0 < position.number:
                    raise StoreUnavailable(
                        f"the store is new and empty, where revision {position.number} was: was it wiped?"
                        "\n  hint: what was known is kept until something is written to it, or until a restart"
                    ) from None
        self.is_well()
        return update

    async def pause(self, failures: int) -> None:
        """Waits before the next try: by chance from the first one on, longer with each."""
        longest = min(self.timing.longest_s, self.timing.spread_s * 2 ** (failures - 1))
        await self.rest(random.uniform(0, longest))

    async def rest(self, seconds: float) -> None:
        """Waits, but not past `close`."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            pass

    async def _wait(self, waker: Waker) -> None:
        try:
            async with asyncio.timeout(self.timing.poll_s):
                await waker.event.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        """See `Store`."""
        self._closed.set()
        self.wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@contextlib.asynccontextmanager
async def announced(
    say: Callable[[], Awaitable[object]], withdraw: Callable[[], Awaitable[object]], ttl_s: float
) -> AsyncIterator[None]:
    """Says that a node is there, and again each third of its lease, until the block ends; then withdraws it.

    The first time raises `StoreError`; what fails later is tried again.
    """

    async def renew() -> None:
        while True:
            await asyncio.sleep(ttl_s / 3)
            with contextlib.suppress(StoreError):
                await say()

    await say()
    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(StoreError):
            await withdraw()


def resumable(position: Revision, head: Revision, oldest: int, mark: str | None) -> bool:
    """Whether changes since a position can be told: same epoch, not beyond, not compacted, the same history.

    `mark` is the mark that the store's history has for the position's number.
    """
    return position.epoch == head.epoch and oldest <= position.number <= head.number and mark == position.mark
