"""The way of lines to one target: what waits is bounded, batches go by size, age and bytes, pauses grow."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from headgate import _core
from headgate.shipping.backlog import Backlog
from headgate.shipping.counts import Counts
from headgate.shipping.delivery import LONGEST_PAUSE_S, Delivery
from headgate.shipping.senders import TooLarge, Unavailable
from headgate.shipping.target import Target

Outcome = Exception | Callable[[], Coroutine[Any, Any, None]] | None
"""What a sender raises or awaits at a call."""


def target(**more: Any) -> Target:
    plain = {"to": "tcp://a:1", "kind": "lines", "transport": "tcp", "host": "a", "port": 1, "path": ""}
    bounds = {"batch": 10, "batch_bytes": 1000, "flush": 0.01, "queue": 20, "queue_bytes": 10_000}
    kafka = {"user": None, "password": None, "sasl": "plain"}
    rest = {"headers": {}, "labels": {}, "ca": None, "timeout": 10.0}
    return Target.of({**plain, **bounds, **kafka, **rest, **more})


class Scripted:
    """Takes lines, or fails as it was told."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.taken: list[bytes] = []
        self.tried: list[int] = []
        self.idle = asyncio.Event()

    async def send(self, lines: list[bytes]) -> int:
        self.tried.append(len(lines))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if not self.outcomes:
            self.idle.set()
        if isinstance(outcome, Exception):
            raise outcome
        if outcome:
            await outcome()
        self.taken += lines
        return len(lines)

    def close(self) -> None: ...


def delivery(sender: Scripted, chance: float = 0.0, **more: Any) -> tuple[Delivery, Counts]:
    counts = Counts(_core.Metrics(), "tcp://a:1")
    return Delivery(target(**more), sender, counts, lambda: chance), counts


def dropped(counts: Counts, reason: str) -> float:
    return counts._dropped[reason].value if reason in counts._dropped else 0.0


def test_what_waits_is_bounded_in_lines_and_in_bytes() -> None:
    by_lines = Backlog(most=3, most_bytes=1000, batch=10, batch_bytes=1000, flush_s=1)
    assert [by_lines.put(b"x") for _ in range(5)] == [True, True, True, False, False]
    by_bytes = Backlog(most=100, most_bytes=10, batch=10, batch_bytes=1000, flush_s=1)
    assert [by_bytes.put(b"1234") for _ in range(3)] == [True, True, False]
    assert (len(by_bytes), by_bytes.bytes) == (2, 8)
    by_bytes.remove(1)
    assert by_bytes.put(b"1234") and by_bytes.bytes == 8


def test_a_batch_has_so_many_lines_and_bytes_and_one_line_at_least() -> None:
    backlog = Backlog(most=100, most_bytes=10_000, batch=3, batch_bytes=10, flush_s=1)
    for line in (b"1", b"2", b"3", b"4", b"12345678901", b"5"):
        backlog.put(line)
    assert backlog.batch(100) == [b"1", b"2", b"3"]
    assert backlog.batch(2) == [b"1", b"2"]
    backlog.remove(3)
    assert backlog.batch(100) == [b"4"]
    backlog.remove(1)
    assert backlog.batch(100) == [b"12345678901"]


def test_lines_beyond_the_queue_are_dropped_and_counted_and_the_first_ones_stay() -> None:
    async def run() -> None:
        sender = Scripted(Unavailable("away"))
        one, counts = delivery(sender, flush=3600.0, queue=5, batch=100)
        for number in range(8):
            one.offer(b"%d" % number)
        assert dropped(counts, "queue_full") == 3
        await one.finish(5)
        assert sender.taken == [b"0", b"1", b"2", b"3", b"4"]

    asyncio.run(run())


def test_a_batch_that_failed_is_sent_again_before_later_lines() -> None:
    async def run() -> None:
        sender = Scripted(OSError(111, "refused"), Unavailable("later"), None)
        one, _ = delivery(sender, flush=3600.0)
        for number in range(15):
            one.offer(b"%d" % number)
        await one.finish(5)
        assert sender.taken == [b"%d" % number for number in range(15)]
        assert sender.tried == [10, 10, 10, 5]

    asyncio.run(run())


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.1), (1.0, 1.0)])
def test_pauses_double_to_a_bound_and_are_spread(chance: float, share: float) -> None:
    async def run() -> None:
        one, _ = delivery(Scripted(), chance)
        pauses = [one._wait(Unavailable("away")) for _ in range(12)]
        assert pauses == pytest.approx([share * min(LONGEST_PAUSE_S, 0.5 * 2**n) for n in range(12)])
        assert one._wait(Unavailable("away", 45.0)) == 45.0  # what the target asks for
        await one.finish(0)

    asyncio.run(run())


def test_a_send_that_takes_too_long_is_cut_off() -> None:
    async def run() -> None:
        cancelled = asyncio.Event()

        async def hang() -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        sender = Scripted(hang, None)
        one, _ = delivery(sender, timeout=0.01)
        one.offer(b"x")
        await asyncio.wait_for(cancelled.wait(), 20)
        await one.finish(5)
        assert sender.taken == [b"x"]

    asyncio.run(run())


def test_the_line_that_is_too_large_alone_is_dropped_and_no_other() -> None:
    class Narrow(Scripted):
        async def send(self, lines: list[bytes]) -> int:
            if b"big" in lines:
                raise TooLarge("no")
            return await super().send(lines)

    async def run() -> None:
        sender = Narrow()
        one, counts = delivery(sender, flush=3600.0)
        for line in (b"1", b"2", b"big", b"3", b"4"):
            one.offer(line)
        await one.finish(5)
        assert sender.taken == [b"1", b"2", b"3", b"4"] and dropped(counts, "too_large") == 1

    asyncio.run(run())


def test_the_end_waits_for_a_limited_time_and_counts_what_is_left() -> None:
    async def run() -> None:
        async def hang() -> None:
            await asyncio.sleep(3600)

        one, counts = delivery(Scripted(hang))
        one.offer(b"x")
        await one.finish(0.05)
        assert dropped(counts, "stopped") == 1

    asyncio.run(run())
