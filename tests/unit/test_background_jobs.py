"""Job processes: results, failures, bounds, and that nothing is left of a job nobody waits for."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from headgate.background.errors import Overloaded
from headgate.background.job_process import JobFailed
from headgate.background.job_wire import Unsendable
from headgate.background.jobs import Jobs
from headgate.background.node import Node


class Told(Exception):
    """An exception of the user's."""


def pid() -> int:
    return os.getpid()


def fail() -> None:
    raise Told("this way")


def leave() -> None:
    raise SystemExit(3)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def unsendable() -> object:
    return lambda: None


def touch_and_hang(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)


def priority() -> tuple[int, int]:
    return os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    counted: list[str] = []
    made = Jobs(Node(), counted.append)
    made.processes, made.counted = 2, counted  # type: ignore[attr-defined]
    yield made
    await made.end()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - of other processes there is no event
            await asyncio.sleep(0.01)


async def started(file: Path) -> int:
    await until(lambda: file.exists() and bool(file.read_text()))
    return int(file.read_text())


async def ended(process: int) -> None:
    await until(lambda: not Path(f"/proc/{process}/stat").exists())


async def test_a_job_runs_in_another_process_which_serves_again(jobs: Jobs) -> None:
    first = await jobs.run(pid, (), None)
    assert first != os.getpid()
    assert await jobs.run(divmod, (17, 5), None) == (3, 2)
    assert await jobs.run(pid, (), None) == first


async def test_job_processes_give_way(jobs: Jobs) -> None:
    nice, scheduler = await jobs.run(priority, (), None)
    assert nice >= 10 and scheduler == os.SCHED_BATCH


async def test_what_a_job_raises_arrives_with_its_traceback(jobs: Jobs) -> None:
    with pytest.raises(Told, match="this way") as caught:
        await jobs.run(fail, (), None)
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="raised SystemExit: 3"):
        await jobs.run(leave, (), None)
    assert await jobs.run(len, ("abc",), None) == 3
    assert jobs.counted == ["jobs_failed"] * 2  # type: ignore[attr-defined]


async def test_a_process_that_dies_is_replaced(jobs: Jobs) -> None:
    before = await jobs.run(pid, (), None)
    with pytest.raises(JobFailed, match="ended during a job"):
        await jobs.run(die, (), None)
    assert await jobs.run(pid, (), None) != before


async def test_an_idle_process_that_was_killed_is_replaced(jobs: Jobs) -> None:
    before = await jobs.run(pid, (), None)
    os.kill(before, signal.SIGKILL)
    await ended(before)
    assert await jobs.run(pid, (), None) != before


async def test_a_late_job_is_killed(jobs: Jobs, tmp_path: Path) -> None:
    job = asyncio.ensure_future(jobs.run(touch_and_hang, (str(tmp_path / "pid"),), 10))
    process = await started(tmp_path / "pid")
    with pytest.raises(TimeoutError, match="not done within 10 s"):
        await job
    await ended(process)


async def test_a_cancelled_job_is_killed(jobs: Jobs, tmp_path: Path) -> None:
    job = asyncio.ensure_future(jobs.run(touch_and_hang, (str(tmp_path / "pid"),), None))
    process = await started(tmp_path / "pid")
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await ended(process)
    assert await jobs.run(len, ("abc",), None) == 3


async def test_past_the_bounds_jobs_wait_and_then_are_refused(jobs: Jobs, tmp_path: Path) -> None:
    jobs.max_waiting = 1
    files = [tmp_path / "a", tmp_path / "b"]
    running = [asyncio.ensure_future(jobs.run(touch_and_hang, (str(file),), None)) for file in files]
    for file in files:
        await started(file)
    waiting = asyncio.ensure_future(jobs.run(len, ("abc",), None))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="max_waiting_jobs"):
        await jobs.run(len, ("abc",), None)
    assert jobs.counted == ["jobs_refused"]  # type: ignore[attr-defined]
    running[0].cancel()
    assert await waiting == 3
    running[1].cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_what_cannot_be_sent_is_said(jobs: Jobs) -> None:
    with pytest.raises(Unsendable, match="top level of a module"):
        await jobs.run(lambda: 1, (), None)
    with pytest.raises(Unsendable, match="the job's result cannot go"):
        await jobs.run(unsendable, (), None)
    jobs.max_bytes = 1000
    with pytest.raises(ValueError, match="max_job_bytes"):
        await jobs.run(len, ("x" * 2000,), None)
    with pytest.raises(ValueError, match="the result has"):
        await jobs.run(str.zfill, ("x", 2000), None)
