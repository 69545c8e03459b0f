import asyncio
import select
import signal
import time
from collections.abc import Iterator

import pytest

from headgate.worker.loop import Loop


class WaitingCore:
    """Waits for asyncio's descriptor as the engine does, and counts how often."""

    def __init__(self) -> None:
        self.polls = 0
        self._epoll = select.epoll()

    def watch(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN)

    def poll(self, timeout: float | None, /) -> bool:
        self.polls += 1
        return bool(self._epoll.poll(-1 if timeout is None else timeout))

    def close(self) -> None:
        self._epoll.close()


@pytest.fixture
def core() -> Iterator[WaitingCore]:
    core = WaitingCore()
    yield core
    core.close()


@pytest.fixture
def loop(core: WaitingCore) -> Iterator[Loop]:
    loop = Loop()
    loop.attach(core)
    yield loop
    loop.detach()
    loop.close()


def test_timers_wait_in_the_engine(loop: Loop, core: WaitingCore) -> None:
    started = time.monotonic()
    loop.run_until_complete(asyncio.sleep(0.05))
    assert 0.045 <= time.monotonic() - started < 1
    assert 1 <= core.polls < 20


def test_threads_and_subprocesses_wake_the_loop(loop: Loop) -> None:
    async def work() -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        return await asyncio.to_thread(lambda: 7), output

    asyncio.set_event_loop(loop)
    try:
        assert loop.run_until_complete(work()) == (7, b"hello\n")
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)


def test_signals_wake_the_loop(loop: Loop) -> None:
    async def wait() -> None:
        came = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        loop.call_later(0.01, signal.raise_signal, signal.SIGUSR1)
        async with asyncio.timeout(2):
            await came.wait()

    loop.run_until_complete(wait())
