"""CPU-bound work in other processes: `await gate.run_in_process(f, ...)`.

How it works: each worker has a few job processes, started when they are needed and ended when they are idle. How many
jobs run at a time is a bound of the whole node: a job needs one of so many places, which are locks in the node's shared
memory, so that a worker that dies gives its places back. Jobs wait in the order they came; past `max_waiting_jobs`
they are refused. A job that is cancelled or late is ended by killing its process. No job is ever begun twice.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable
from typing import Any

from .errors import Overloaded
from .job_process import JobProcess, Setting
from .job_wire import packed
from .node import Node
from .tasks import Count
from .waiting import until

IDLE_S = 30.0
COLLECT_S = 1.0
logger = logging.getLogger("headgate.jobs")


class Jobs:
    """The job processes of one worker."""

    def __init__(self, node: Node, count: Count) -> None:
        self.processes, self.max_waiting, self.timeout, self.max_bytes = 1, 64, 60.0, 64 << 20
        self.setting: Callable[[], Setting] = Setting
        self._node, self._count = node, count
        self._idle: list[JobProcess] = []
        self._processes: set[JobProcess] = set()
        """All that have not been collected, by the system's word."""
        self._waiting = 0
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()
        self._holders = itertools.count(1)
        self._sweep: asyncio.TimerHandle | None = None

    async def run(self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> Any:
        """Calls the function in a job process; `TimeoutError` after `timeout` seconds, waiting included."""
        frame = packed((function, args), f"`{getattr(function, '__qualname__', function)}`")
        if len(frame) > self.max_bytes:
            raise ValueError(
                f"function and arguments have {len(frame)} bytes, over {self.max_bytes} "
                "(background.max_job_bytes)"
            )
        limit = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit) as scope:
                place, holder = await self._take_place()
                try:
                    return await self._do(frame)
                finally:
                    self._node.memory._release(place, holder)
                    self._freed.set()
        except TimeoutError:
            self._count("jobs_failed")
            if not scope.expired():
                raise  # the function's own
            raise TimeoutError(f"the job was not done within {limit:g} s") from None
        except (Overloaded, asyncio.CancelledError):
            raise
        except BaseException:
            self._count("jobs_failed")
            raise

    async def _do(self, frame: bytes) -> Any:
        process = self._process()
        try:
            return await process.do(frame, self.max_bytes)
        finally:
            if not process.is_dead:
                process.idle_since = asyncio.get_running_loop().time()
                self._idle.append(process)
                self._sweep_later()

    def _process(self) -> JobProcess:
        while self._idle:
            process = self._idle.pop()
            if not process.is_dead:
                return process
        self._processes = {one for one in self._processes if not one.is_collected.is_set()}
        process = JobProcess(self.setting())
        self._processes.add(process)
        return process

    # ---- places

    async def _take_place(self) -> tuple[str, int]:
        """One of the node's places for a job; within this worker those who came first go first."""
        holder = next(self._holders)
        if not self._waiting and (place := self._free_place(holder)):
            return place, holder
        if self._waiting >= self.max_waiting:
            self._count("jobs_refused")
            raise Overloaded(f"{self.max_waiting} jobs are already waiting (background.max_waiting_jobs)")
        self._waiting += 1
        try:
            async with self._turn:
                return await until(lambda: self._free_place(holder), self._freed), holder
        finally:
            self._waiting -= 1

    def _free_place(self, holder: int) -> str | None:
        start = random.randrange(self.processes)
        for number in range(self.processes):
            place = f"job/{(start + number) % self.processes}"
            if self._node.memory._acquire(place, holder):
                return place
        return None

    # ---- ends

    def _sweep_later(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._end_idle)

    def _end_idle(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for process in [one for one in self._idle if now - one.idle_since >= IDLE_S]:
            self._idle.remove(process)
            process.kill()
        if self._idle:
            self._sweep_later()

    @property
    def pids(self) -> list[int]:
        """The job processes that live."""
        return [process.pid for process in self._processes if not process.is_dead]

    async def end(self) -> None:
        """Ends all job processes."""
        if self._sweep:
            self._sweep.cancel()
        self._idle.clear()
        for process in self._processes:
            process.kill()
        try:
            async with asyncio.timeout(COLLECT_S):
                for process in self._processes:
                    await process.is_collected.wait()
        except TimeoutError:
            logger.warning("job processes do not end", extra={"pids": [one.pid for one in self._processes]})
