"""Locks by name that the workers of a node share: `async with gate.lock("stock"): ...`.

How it works: a lock is an entry of the node's shared dictionary that says who holds it. A holder that dies loses it at
once to whoever wants it next. Within a worker those who wait come in the order they asked; the first of them stands in
the queue of the workers (see `tickets`) and looks whether it is its turn, after ever longer pauses, and at once when
the lock is released in this worker. So a worker with many waiters does not monopolize a lock.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

from headgate.config.units import parse_duration

from .tickets import Ticket
from .waiting import until

if TYPE_CHECKING:
    from .node import Node

logger = logging.getLogger("headgate.locks")

TIMEOUT_S = 10.0
TTL_S = 60.0


class _Queue:
    """Those in this worker who wait for one lock."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.freed = asyncio.Event()
        self.waiting = 0


class Locks:
    """All locks of a node, as one worker sees them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._queues: dict[str, _Queue] = {}
        self._holders = itertools.count(1)

    def lock(self, name: str, timeout: float | str | None = None, ttl: float | str | None = None) -> Lock:
        """The lock of that name; times are seconds, or texts such as `500ms`."""
        if not name:
            raise ValueError("a lock needs a name")
        return Lock(
            self,
            name,
            TIMEOUT_S if timeout is None else parse_duration(timeout),
            TTL_S if ttl is None else parse_duration(ttl),
        )

    def new_holder(self) -> int:
        """A number that tells this holder from others of this process."""
        return next(self._holders)

    def try_to_take(self, name: str, holder: int, ttl: float) -> bool:
        """Takes the lock if it is free, or its holder dead, or its holder's time up."""
        return self._node.memory._acquire(f"lock/{name}", holder, ttl)

    async def take(self, name: str, holder: int, ttl: float) -> None:
        """Waits for the lock; who waits in this worker gets it in the order they asked."""
        memory = self._node.memory

        def take() -> bool:
            return self.try_to_take(name, holder, ttl)

        if name not in self._queues and Ticket.is_queue_empty(memory, name) and take():
            return
        queue = self._queues.setdefault(name, _Queue())
        queue.waiting += 1
        ticket = Ticket(memory, name, holder)
        try:
            async with queue.turn:
                await until(lambda: ticket.look(take), queue.freed)
        finally:
            ticket.give_up()
            queue.waiting -= 1
            if not queue.waiting:
                self._queues.pop(name, None)

    def give_back(self, name: str, holder: int) -> bool:
        """Gives the lock back; false if this holder had lost it."""
        was_held = self._node.memory._release(f"lock/{name}", holder)
        if queue := self._queues.get(name):
            queue.freed.set()
        return was_held


class Lock:
    """A lock as one task uses it: `async with lock:`, or `acquire` and `release`.

    Waiting for it ends with `TimeoutError` after `timeout` seconds. It is held for `ttl` seconds at most: who holds
    it longer loses it to others, which is logged when it is released. It is not reentrant.
    """

    def __init__(self, locks: Locks, name: str, timeout: float, ttl: float) -> None:
        self.name, self.timeout, self.ttl = name, timeout, ttl
        self._locks = locks
        self._holder: int | None = None

    async def acquire(self) -> None:
        """Waits for the lock; raises `TimeoutError`."""
        if self._holder is not None:
            raise RuntimeError(f"lock `{self.name}` is already held; hint: create another with `gate.lock`")
        holder = self._locks.new_holder()
        try:
            async with asyncio.timeout(self.timeout):
                await self._locks.take(self.name, holder, self.ttl)
        except TimeoutError:
            raise TimeoutError(f"lock `{self.name}` was not free within {self.timeout:g} s") from None
        self._holder = holder

    def try_acquire(self) -> bool:
        """Acquires the lock if it is free; returns whether it did."""
        holder = self._locks.new_holder()
        if self._holder is not None or not self._locks.try_to_take(self.name, holder, self.ttl):
            return False
        self._holder = holder
        return True

    def release(self) -> None:
        """Releases the lock."""
        if self._holder is None:
            raise RuntimeError(f"lock `{self.name}` is not held")
        holder, self._holder = self._holder, None
        if not self._locks.give_back(self.name, holder):
            logger.warning(
                "lock was held for too long and lost", extra={"lock": self.name, "ttl_s": self.ttl}
            )

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
