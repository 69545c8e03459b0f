"""Locks, timers, tasks and threads of one worker, without one."""

import asyncio
import itertools
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import Gateway, Overloaded
from headgate.background.background import Background


class Ticks:
    """Counts calls, and can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._changed.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def gate() -> Gateway:
    return Gateway()


async def test_locks_are_had_in_the_order_asked(gate: Gateway) -> None:
    order: list[int] = []

    async def use(number: int) -> None:
        async with gate.lock("l"):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(use(number) for number in range(20)))
    assert order == list(range(20))


@pytest.fixture
def two_workers() -> tuple[Background, Background]:
    """As if they were two processes of a node."""
    one, other = Background(), Background()
    other.node._memory = one.node.memory
    other.node.locks._holders = itertools.count(1_000_000)
    return one, other


async def test_workers_take_turns_at_a_lock(two_workers: tuple[Background, Background]) -> None:
    order: list[int] = []

    async def use(number: int) -> None:
        async with two_workers[number].node.locks.lock("l"):
            order.append(number)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(use(0) for _ in range(30)), *(use(1) for _ in range(10)))
    assert order[:20].count(1) >= 9
    assert two_workers[0].node.memory.keys() == []


async def test_waiters_that_are_gone_are_passed_over(two_workers: tuple[Background, Background]) -> None:
    one, other = two_workers
    memory = one.node.memory
    async with one.node.locks.lock("l"):
        gone = asyncio.ensure_future(other.node.locks.lock("l").acquire())
        await asyncio.sleep(0)
        memory.incr("queue/l", 1 << 32)  # the ticket of one that was killed before it could hold it
        waiting = asyncio.ensure_future(one.node.locks.lock("l").acquire())
        await asyncio.sleep(0)
        gone.cancel()
    async with asyncio.timeout(5):
        await waiting
    assert sorted(memory.keys()) == ["lock/l"]


async def test_a_forgotten_queue_is_begun_anew(two_workers: tuple[Background, Background]) -> None:
    one, other = two_workers
    async with one.node.locks.lock("l"):
        waiting = asyncio.ensure_future(other.node.locks.lock("l").acquire())
        await asyncio.sleep(0)
        one.node.memory.delete("queue/l")
    async with asyncio.timeout(5):
        await waiting


async def test_waiting_for_a_lock_ends(gate: Gateway) -> None:
    async with gate.lock("l"):
        with pytest.raises(TimeoutError, match=r"lock `l` was not free within 0\.01 s"):
            await gate.lock("l", timeout=0.01).acquire()
    assert gate.lock("l").try_acquire()


async def test_a_lock_held_for_too_long_is_lost(gate: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    first = gate.lock("l", ttl="10ms")
    await first.acquire()
    async with gate.lock("l"):
        first.release()
        assert "held for too long" in caplog.text
        assert not gate.lock("l").try_acquire()


async def test_locks_say_how_they_are_misused(gate: Gateway) -> None:
    lock = gate.lock("l")
    with pytest.raises(RuntimeError, match="is not held"):
        lock.release()
    await lock.acquire()
    with pytest.raises(RuntimeError, match="is already held"):
        await lock.acquire()
    with pytest.raises(ValueError, match="needs a name"):
        gate.lock("")


async def test_locks_of_dictionaries_are_their_own(gate: Gateway) -> None:
    one, two = gate.shared("one", "16k"), gate.shared("two", "16k")
    async with one.lock("l"), two.lock("l"), gate.lock("l"):
        assert not one.lock("l").try_acquire()


async def test_timers_begin_with_the_worker_and_go_on_after_a_failure(
    gate: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    ticks, node_ticks, once = Ticks(), Ticks(), Ticks()

    @gate.every("2ms")
    def fails() -> None:
        ticks()
        raise OSError("no")

    @gate.every(0.002, once_per="node", name="node")
    async def per_node() -> None:
        node_ticks()

    gate.after(0.001, once)
    await asyncio.sleep(0.005)
    assert ticks.count == 0
    gate.background.begin()
    await asyncio.gather(ticks.reach(3), node_ticks.reach(3), once.reach(1))
    assert "timer failed" in caplog.text and "OSError: no" in caplog.text
    gate.background.stop()
    await gate.background.end()
    assert once.count == 1


async def test_a_cancelled_timer_does_not_run(gate: Gateway) -> None:
    ticks, other = Ticks(), Ticks()
    gate.background.begin()
    gate.after(0.001, ticks).cancel()
    gate.after(0.002, other)
    await other.reach(1)
    assert ticks.count == 0
    await gate.background.end()


def test_wrong_timers_are_refused(gate: Gateway) -> None:
    gate.every(1, print, once_per="node")
    for wrong, told in (
        (lambda: gate.every(0, print), "at least 0.001 s"),
        (lambda: gate.every(1, print, once_per="node"), "is already defined"),
        (lambda: gate.every(1, print, once_per="cluster"), "`worker` or `node`"),  # type: ignore[call-overload]
        (lambda: gate.after(1, 5), "needs a function"),  # type: ignore[arg-type]
    ):
        with pytest.raises((ValueError, TypeError), match=told):
            wrong()


async def test_only_the_leader_runs_timers_of_the_node() -> None:
    first, second = Background(), Background()
    second.node._memory = first.node.memory
    second.node._looked_at = float("inf")  # looks for the lead only when the test says so
    assert first.node.is_leader and not second.node.is_leader
    assert first.node.seconds_until_due("t", 5, now=100) == 5
    assert second.node.seconds_until_due("t", 5, now=101) == 4, "a new leader goes on where the old one was"
    first.stop()
    assert not first.node.is_leader
    second.node._looked_at = 0
    assert second.node.is_leader


async def test_spawned_tasks_are_bounded_and_logged(gate: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    gate.background.count = counted.append
    gate.background.tasks.limit = 1

    async def fail() -> None:
        raise OSError("no")

    task = gate.spawn(fail())
    with pytest.raises(Overloaded, match="max_tasks"):
        gate.spawn(fail())
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert "task failed" in caplog.text and "OSError: no" in caplog.text
    assert counted == ["tasks_refused", "tasks_failed"]
    with pytest.raises(TypeError, match="takes a coroutine"):
        gate.spawn(fail)  # type: ignore[arg-type]


async def test_tasks_are_cancelled_at_the_end(gate: Gateway) -> None:
    task = gate.spawn(asyncio.sleep(60))
    assert gate.background.is_busy
    await gate.background.end()
    assert task.cancelled() and not gate.background.is_busy


async def test_a_task_tied_to_a_request_ends_with_it(gate: Gateway) -> None:
    request: Any = SimpleNamespace(id="r1", state=SimpleNamespace())
    task = gate.spawn(asyncio.sleep(60), request=request)
    other = gate.spawn(asyncio.sleep(0), request=request)
    await other
    del request.state  # as the engine does
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_threads_are_bounded_and_keep_the_context(gate: Gateway) -> None:
    threads = gate.background.threads
    threads.threads, threads.max_waiting = 1, 1
    goes_on = threading.Event()

    def block() -> str:
        goes_on.wait(10)
        return threading.current_thread().name

    running = [asyncio.ensure_future(gate.run_in_thread(block)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="max_waiting_threads"):
        await gate.run_in_thread(block)
    goes_on.set()
    assert all("headgate" in name for name in await asyncio.gather(*running))
    assert await gate.run_in_thread(int, "10", base=2) == 2
    gate.background.threads.close()


def test_a_missing_library_is_named(gate: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from headgate import ConfigError

    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigError, match=r"(?s)needs the package `asyncpg`.*headgate\[postgres\]"):
        gate.postgres("postgresql://user:secret@nowhere/db")
    with pytest.raises(ConfigError, match=r"(?s)\*\*\*@nowhere.*headgate\[redis\]"):
        gate.redis("redis://user:secret@nowhere")


async def test_an_unreachable_service_is_named_without_its_password(gate: Gateway) -> None:
    gate.redis("redis://user:secret@127.0.0.1:1")
    with pytest.raises(ConnectionError) as caught:
        await gate.background.open()
    assert "redis://user:***@127.0.0.1:1" in str(caught.value) and "secret" not in str(caught.value)
