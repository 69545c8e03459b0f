"""The way of lines to one target: batch by batch, again after a pause where the target is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import ssl
from collections.abc import Callable

from headgate.shipping.backlog import Backlog
from headgate.shipping.counts import Counts
from headgate.shipping.senders import Refused, Sender, TooLarge, Unavailable
from headgate.shipping.target import Target

FIRST_PAUSE_S, LONGEST_PAUSE_S, LAST_PAUSE_S = 0.5, 30.0, 0.2

logger = logging.getLogger("headgate.shipping")


class Delivery:
    """What one target has to get. Each of its troubles is logged once, until it takes lines again."""

    def __init__(
        self, target: Target, sender: Sender, counts: Counts, chance: Callable[[], float] = random.random
    ) -> None:
        self.target = target
        self._sender, self._counts, self._chance = sender, counts, chance
        self._backlog = Backlog(
            most=target.queue,
            most_bytes=target.queue_bytes,
            batch=target.batch,
            batch_bytes=target.batch_bytes,
            flush_s=target.flush,
        )
        self._most = target.batch
        self._failures = self._dropped = 0
        self._told: set[str] = set()
        self._closing = asyncio.Event()
        self._running = asyncio.ensure_future(self._run())

    def offer(self, line: bytes) -> None:
        """Has a line sent, or dropped where there is no room for it."""
        if not self._backlog.put(line):
            self.drop("queue_full", 1)
            self._show()
            self._tell(logging.WARNING, "queue", "the queue of log target `%s` is full; lines are dropped")

    def drop(self, reason: str, lines: int) -> None:
        """Counts lines that it will never get."""
        self._dropped += lines
        self._counts.drop(reason, lines)

    async def finish(self, limit_s: float) -> None:
        """Sends what there is within the limit; what is left is dropped."""
        self._closing.set()
        self._backlog.close()
        await asyncio.wait([self._running], timeout=limit_s)
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        self._sender.close()
        if left := len(self._backlog):
            self.drop("stopped", left)
            logger.warning(
                "log target `%s` did not get its last lines", self.target.name, extra={"lines": left}
            )
        self._counts.waiting(0, 0)

    # ---- steps

    async def _run(self) -> None:
        while await self._backlog.is_due():
            self._show()
            pause_s = await self._send(self._backlog.batch(self._most))
            self._show()
            if pause_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._closing.wait()
                if self._closing.is_set():
                    await asyncio.sleep(LAST_PAUSE_S)

    def _show(self) -> None:
        self._counts.waiting(len(self._backlog), self._backlog.bytes)

    async def _send(self, lines: list[bytes]) -> float:
        """Sends a batch, or drops it; gives how long to wait for the next try."""
        try:
            async with asyncio.timeout(self.target.timeout):
                done = await self._sender.send(lines)
        except TooLarge as error:
            return self._shrink(lines, str(error))
        except Refused as error:
            self._give_up(lines, "refused", str(error))
        except (Unavailable, OSError) as error:
            return self._wait(error)
        else:
            self._backlog.remove(done)
            self._counts.sent(done)
            self._took(len(lines))
        return 0.0

    def _took(self, lines: int) -> None:
        self._counts.is_up(is_up=True)
        self._failures = 0
        if lines >= self._most:
            self._most = min(self._most * 2, self.target.batch)
        if "away" in self._told:
            extra = {"dropped": self._dropped}
            logger.info("log target `%s` is available again", self.target.name, extra=extra)
            self._dropped = 0
        # a queue that is full, has room and is full again is one trouble
        is_relieved = len(self._backlog) < self.target.queue // 2
        self._told &= set() if is_relieved else {"queue"}

    def _shrink(self, lines: list[bytes], reason: str) -> float:
        if len(lines) > 1:
            self._most = len(lines) // 2
        else:
            self._give_up(lines, "too_large", reason)
        return 0.0

    def _give_up(self, lines: list[bytes], why: str, reason: str) -> None:
        self._backlog.remove(len(lines))
        self.drop(why, len(lines))
        self._tell(logging.ERROR, why, "log target `%s` refuses lines, which are dropped: %s", reason)

    def _wait(self, error: Exception) -> float:
        self._counts.is_up(is_up=False)
        reason = _reason(error) or f"no response within {self.target.timeout:g} s"
        self._tell(
            logging.WARNING, "away", "log target `%s` is unavailable; lines are kept in memory: %s", reason
        )
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        asked = error.after_s if isinstance(error, Unavailable) else 0.0
        return max(asked, longest * (0.1 + 0.9 * self._chance()))

    def _tell(self, level: int, what: str, text: str, *more: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.log(level, text, self.target.name, *more)


def _reason(error: Exception) -> str:
    """In the system's words where it is one of the system's errors, which asyncio wraps in its own."""
    if isinstance(error, ssl.SSLError):
        return str(error)
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error)
