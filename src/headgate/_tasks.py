"""The asyncio task in which an async hook runs.

How it works: the engine drives a hook's first step inline, with a `HookTask` as `asyncio.current_task()`.
That task is only half made: it knows its loop, coroutine and context, but nothing is scheduled and it is in
no list. If the coroutine ends at once, which is the common case, that was all. If it waits, `adopt` makes the
same object a task as asyncio knows them, and asyncio continues it. So whatever took hold of the task in the
first step (`asyncio.timeout`, a task group, an anyio scope) still holds the right one.

It builds on asyncio's task in its Python form, which every CPython has beside the one in C: a task in C
cannot be made without being scheduled. Only hooks that wait pay for that, about a microsecond each time they
are resumed.
"""

import asyncio
import contextvars
import functools
import logging
from asyncio import futures, tasks
from collections.abc import Awaitable, Callable
from typing import Any

_PyTask: Any = tasks._PyTask  # type: ignore[attr-defined]
_PyFuture: Any = futures._PyFuture  # type: ignore[attr-defined]

Report = Callable[[object, BaseException | None], None]
"""Called once when a task is done, with its result or its exception."""


class HookTask(_PyTask):  # type: ignore[misc]
    """A task that begins before asyncio knows of it."""

    # What asyncio's own `__init__` would set; as class attributes they cost nothing in a first step.
    _num_cancels_requested = 0
    _must_cancel = False
    _fut_waiter = None
    _name = "headgate hook"
    _report: Report | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliberately not asyncio's, which would schedule the task. The engine sets `_coro` and `_context`."""
        self._loop = loop
        self._callbacks: list[Any] = []
        self._coro: Any = None
        self._context: Any = None

    def __del__(self) -> None:
        """Complains about a pending task only if asyncio knew of it."""
        if self._report is not None:
            super().__del__()

    def adopt(self, waits_for: object, name: str, report: Report) -> None:
        """Makes this a task of the loop that waits for what its coroutine has just yielded."""
        coroutine = self._coro
        must_cancel, self._must_cancel = self._must_cancel, False
        self._name, self._report = name, report
        tasks._register_task(self)
        self._coro = _Yielded(self, waits_for, must_cancel)
        try:
            super()._Task__step()
        finally:
            self._coro = coroutine

    def conclude(self, result: object, exception: BaseException | None) -> None:
        """Marks a task done of which somebody took hold in its only step."""
        if isinstance(exception, asyncio.CancelledError):
            _PyFuture.cancel(self)
        elif exception is not None:
            _PyFuture.set_exception(self, exception)
            self._log_traceback = False
        else:
            _PyFuture.set_result(self, result)

    def _Task__step(self, exc: BaseException | None = None) -> None:
        # asyncio looks this name up on the task whenever it resumes it.
        try:
            super()._Task__step(exc)
        except (KeyboardInterrupt, SystemExit):
            # asyncio has put it into the task and would now end the loop too: one request must not end the worker.
            if not self.done():
                raise
        if self._state != "PENDING" and self._report is not None:
            report, self._report = self._report, None
            self._log_traceback = False
            report(self._result, self._make_cancelled_error() if self.cancelled() else self._exception)


class _Yielded:
    """Stands in for a coroutine that has taken its first step: gives what it yielded once more."""

    __slots__ = ("_must_cancel", "_task", "_waits_for")

    def __init__(self, task: HookTask, waits_for: object, must_cancel: bool) -> None:
        self._task = task
        self._waits_for = waits_for
        self._must_cancel = must_cancel

    def send(self, _: None) -> object:
        # A cancel asked for within the first step strikes after it, as in any task.
        self._task._must_cancel = self._must_cancel
        return self._waits_for


def is_cancelled(error: BaseException) -> bool:
    """Whether `error` cancels the current task; a `CancelledError` that user code raised itself does not."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def wait_for(awaitable: Awaitable[object]) -> object:
    """A coroutine of any awaitable."""
    return await awaitable


def spawn_close(
    loop: asyncio.AbstractEventLoop,
    stream: Any,
    reader: "asyncio.Future[object] | None",
    context: contextvars.Context,
    keep: set["asyncio.Task[None]"],
    hold: object = None,
) -> None:
    """Closes an abandoned async generator in its own task.

    `reader` is the task that was reading it when it was given up; `keep` holds the closing task while it runs, for
    asyncio itself holds tasks weakly; `hold` keeps the request's views usable meanwhile.
    """
    if not hasattr(stream, "aclose"):
        return
    task = loop.create_task(_close(stream, reader, hold), name="headgate close stream", context=context)
    keep.add(task)
    task.add_done_callback(keep.discard)


async def _close(stream: Any, reader: "asyncio.Future[object] | None", hold: object) -> None:
    if reader is not None:
        await asyncio.wait([reader])
    try:
        await stream.aclose()
    except Exception:
        logging.getLogger("headgate.hooks").exception("a streamed body raised while it was closed")


def begin(coroutine: Any, name: str) -> HookTask | None:
    """Takes a coroutine's first step at once, within the step of the hook that asks for it, as a task of its own.

    `None`: that was its only step, and asyncio never knows of it. It shares the hook's context. Raises what it raises.
    """
    loop = asyncio.get_running_loop()
    current: Any = asyncio.current_task()
    task = HookTask(loop)
    task._coro = coroutine
    if isinstance(current, HookTask):
        task._context, send = current._context, coroutine.send
    else:
        task._context = contextvars.copy_context()
        send = functools.partial(task._context.run, coroutine.send)
    tasks._leave_task(loop, current)
    tasks._enter_task(loop, task)
    try:
        waits_for = send(None)
    except StopIteration as end:
        if task._callbacks:  # somebody took hold of it and wants to know
            task.conclude(end.value, None)
        return None
    finally:
        tasks._leave_task(loop, task)
        tasks._enter_task(loop, current)
    tasks._leave_task(loop, current)
    try:
        task.adopt(waits_for, name, _nobody)
    finally:
        tasks._enter_task(loop, current)
    return task


def _nobody(_result: object, _exception: BaseException | None) -> None:
    """Whoever wants to know of the task's end asks for a callback."""
