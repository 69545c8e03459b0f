"""Shows what blocks the event loop: a thread that logs the stack of Python code that does not return.

How it works: the engine counts each change between its own work and Python's (see `heartbeat.rs`). The thread sleeps
in the engine, outside the interpreter, and returns to Python only when one and the same piece of Python has run for
longer than the limit; then it looks at the loop's thread from outside, as a debugger would, and logs what it does.
"""

import asyncio
import contextlib
import linecache
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from headgate.control.inspection_messages import LoopHeld

MOST_LOGGED_PER_S = 1.0
"""Stalls within this after the last one are counted, not logged."""

LONGEST_STACK = 1500
"""Of a stack that is told; the innermost part of it."""

logger = logging.getLogger("headgate.watchdog")


class Heart(Protocol):
    """The engine's heartbeat; `headgate._core.Heartbeat` is one."""

    def wait_for_stall(self, limit_ms: int, /) -> tuple[int, str] | None:
        """Milliseconds so far and the request's id, once Python has blocked the loop for too long; None: stopped."""

    def stop(self) -> None:
        """Ends the wait."""


class Core(Protocol):
    """The engine as the watchdog needs it."""

    @property
    def heartbeat(self) -> Heart:
        """See `Heart`."""

    def count_loop_stall(self) -> None:
        """Adds to the counter `loop_stalls`."""


class Watchdog:
    """Watches the loop of the thread that makes it, from a thread of its own, until stopped."""

    def __init__(
        self,
        core: Core,
        loop: asyncio.AbstractEventLoop,
        limit_s: float,
        tell: Callable[[LoopHeld], None] | None = None,
    ) -> None:
        self._core, self._loop, self._tell = core, loop, tell
        self._heart = core.heartbeat
        self._limit_ms = max(1, round(limit_s * 1000))
        self._watched = threading.get_ident()
        self._logged_at = float("-inf")
        self._unlogged = 0
        # A daemon: it may sleep in the engine when the process ends.
        self._thread = threading.Thread(target=self._watch, name="headgate watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, a moment later."""
        self._heart.stop()

    def _watch(self) -> None:
        while (stall := self._heart.wait_for_stall(self._limit_ms)) is not None:
            frame = sys._current_frames().get(self._watched)
            try:
                self._loop.call_soon_threadsafe(self._core.count_loop_stall)
            except RuntimeError:
                return  # the loop is closed
            if time.monotonic() - self._logged_at < MOST_LOGGED_PER_S:
                self._unlogged += 1
                continue
            self._log(*stall, frame)
            self._logged_at, self._unlogged = time.monotonic(), 0

    def _log(self, held_ms: int, request_id: str, frame: FrameType | None) -> None:
        facts: dict[str, object] = {"held_ms": held_ms}
        if request_id := request_id or self._id_of_task():
            facts["request_id"] = request_id
        if self._unlogged:
            facts["unlogged"] = self._unlogged
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"
        record = logger.makeRecord(
            logger.name,
            logging.WARNING,
            where,
            0,
            "Python code is blocking the event loop, at %s",
            (where,),
            None,
            extra=facts,
            sinfo=_stack(frame),
        )
        logger.handle(record)
        if self._tell:
            stack = (record.stack_info or "")[-LONGEST_STACK:]
            held = LoopHeld(held_ms=held_ms, where=where[-1000:], stack=stack, request_id=request_id)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._tell, held)

    def _id_of_task(self) -> str:
        """The id of the request whose hook asyncio is resuming."""
        task = asyncio.current_task(self._loop)
        request_id: str = getattr(getattr(task, "_report", None), "request_id", "")
        return request_id


def _stack(frame: FrameType | None) -> str | None:
    if frame is None:
        return None
    # A file may have changed since: the lines must be those of now, or of none.
    linecache.checkcache(frame.f_code.co_filename)
    return "".join(["Stack (innermost last):\n", *traceback.format_stack(frame)]).rstrip()
