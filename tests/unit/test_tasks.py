"""The task of async hooks, against the real asyncio and anyio; the engine's part of the first step is played here."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import pytest

from headgate._tasks import HookTask, spawn_close, wait_for

Hook = Callable[[], Coroutine[Any, Any, Any]]
colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@dataclass
class Engine:
    """Takes the first steps of hooks from inside the loop but outside of any task, as the engine does."""

    loop: asyncio.AbstractEventLoop
    complaints: list[dict[str, Any]] = field(default_factory=list)

    def start(self, hook: Hook) -> tuple[HookTask, "asyncio.Future[Any]"]:
        """Takes a hook's first step; the future gets what the engine would be told in the end."""
        ended: asyncio.Future[Any] = self.loop.create_future()
        coroutine = hook()
        task = HookTask(self.loop)
        context = contextvars.copy_context()
        task._coro, task._context = coroutine, context
        asyncio._enter_task(self.loop, task)
        try:
            waits_for = context.run(coroutine.send, None)
        except StopIteration as stop:
            asyncio._leave_task(self.loop, task)
            task.conclude(stop.value, None)
            ended.set_result(stop.value)
        except BaseException as error:
            asyncio._leave_task(self.loop, task)
            task.conclude(None, error)
            ended.set_result(error)
        else:
            asyncio._leave_task(self.loop, task)
            task.adopt(waits_for, "hook", lambda result, error: ended.set_result(error or result))
        return task, ended

    def run(self, *hooks: Hook) -> list[Any]:
        """What each hook returned or raised."""

        async def all_ended() -> list[Any]:
            started = [await self.start_outside(hook) for hook in hooks]
            return [await ended for _, ended in started]

        return self.loop.run_until_complete(all_ended())

    async def start_outside(self, hook: Hook) -> tuple[HookTask, "asyncio.Future[Any]"]:
        """Takes the first step in a callback, where no task is the current one."""
        started: asyncio.Future[tuple[HookTask, asyncio.Future[Any]]] = self.loop.create_future()
        self.loop.call_soon(lambda: started.set_result(self.start(hook)))
        return await started


@pytest.fixture
def engine() -> Iterator[Engine]:
    loop = asyncio.SelectorEventLoop()
    engine = Engine(loop)
    loop.set_exception_handler(lambda _, context: engine.complaints.append(context))
    asyncio.set_event_loop(loop)
    try:
        yield engine
        gc.collect()
        loop.run_until_complete(asyncio.sleep(0))
        assert engine.complaints == []
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()


def test_hook_that_does_not_wait_ends_in_its_first_step(engine: Engine) -> None:
    async def hook() -> int:
        return 3

    assert engine.run(hook) == [3]


def test_current_task_is_the_same_object_before_and_after_waiting(engine: Engine) -> None:
    async def hook() -> bool:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        second = asyncio.current_task()
        await asyncio.sleep(0.001)
        return first is second is asyncio.current_task() and isinstance(first, HookTask)

    assert engine.run(hook) == [True]


def test_waiting_task_is_listed_and_keeps_its_coroutine(engine: Engine) -> None:
    async def hook() -> tuple[bool, bool]:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task in asyncio.all_tasks(), asyncio.iscoroutine(task.get_coro())

    assert engine.run(hook) == [(True, True)]


@pytest.mark.parametrize("delay", [0, 0.01])
def test_timeout_begun_in_the_first_step_expires(engine: Engine, delay: float) -> None:
    async def hook() -> str:
        try:
            async with asyncio.timeout(delay):
                await asyncio.sleep(5)
        except TimeoutError:
            return "late"
        return "in time"

    assert engine.run(hook) == ["late"]


def test_wait_for_in_the_first_step_expires(engine: Engine) -> None:
    async def hook() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)

    [error] = engine.run(hook)
    assert isinstance(error, TimeoutError)


def test_task_group_and_gather_work(engine: Engine) -> None:
    async def hook() -> list[int]:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(asyncio.sleep(0.001, 1))
        return [one.result(), *await asyncio.gather(asyncio.sleep(0, 2), asyncio.sleep(0.001, 3))]

    assert engine.run(hook) == [[1, 2, 3]]


def test_failing_child_cancels_the_hook_that_waits_in_its_task_group(engine: Engine) -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def hook() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(5)

    [error] = engine.run(hook)
    assert isinstance(error, ExceptionGroup)


def test_two_hooks_may_wait_for_the_same_future(engine: Engine) -> None:
    response = engine.loop.create_future()
    engine.loop.call_later(0.005, response.set_result, 7)

    async def hook() -> int:
        return await response  # type: ignore[no-any-return]

    assert engine.run(hook, hook) == [7, 7]


def test_cancel_from_outside_runs_the_cleanup(engine: Engine) -> None:
    cleaned = []

    async def hook() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            cleaned.append(True)

    async def run() -> Any:
        task, ended = await engine.start_outside(hook)
        task.cancel()
        result = await ended
        return result, task.cancelled()

    result, was_cancelled = engine.loop.run_until_complete(run())
    assert isinstance(result, asyncio.CancelledError)
    assert was_cancelled and cleaned


def test_cancel_in_the_first_step_strikes_at_the_first_wait(engine: Engine) -> None:
    async def hook() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            return f"cancelled {task.uncancel()}"
        return "slept"

    assert engine.run(hook) == ["cancelled 0"]


def test_cancel_reaches_the_awaited_task(engine: Engine) -> None:
    async def hook() -> str:
        child = asyncio.ensure_future(asyncio.sleep(5))
        try:
            async with asyncio.timeout(0.005):
                await child
        except TimeoutError:
            return "cancelled" if child.cancelled() else "running"
        return "slept"

    assert engine.run(hook) == ["cancelled"]


def test_context_variables_belong_to_the_hook(engine: Engine) -> None:
    async def hook() -> str:
        colour.set("red")
        await asyncio.sleep(0.001)
        return colour.get()

    assert engine.run(hook) == ["red"]
    assert colour.get() == "none"


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("waits", [False, True])
def test_exceptions_are_reported_and_never_end_the_loop(
    engine: Engine, error: BaseException, waits: bool
) -> None:
    async def hook() -> None:
        if waits:
            await asyncio.sleep(0)
        raise error

    [reported] = engine.run(hook)
    assert type(reported) is type(error)


def test_yielding_nonsense_is_an_error_of_the_hook(engine: Engine) -> None:
    class Odd:
        def __await__(self) -> Iterator[int]:
            yield 5

    async def hook() -> None:
        await Odd()  # type: ignore[misc]

    [error] = engine.run(hook)
    assert isinstance(error, RuntimeError)


def test_task_kept_from_a_single_step_is_done(engine: Engine) -> None:
    called = []

    async def hook() -> asyncio.Task[Any]:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(called.append)
        return task

    [task] = engine.run(hook)
    engine.loop.run_until_complete(asyncio.sleep(0))
    assert task.done() and called == [task]


def test_half_made_task_is_dropped_in_silence(engine: Engine) -> None:
    dropped = weakref.ref(HookTask(engine.loop))
    gc.collect()
    assert dropped() is None


def test_anyio_works_from_the_first_step_on(engine: Engine) -> None:
    async def hook() -> tuple[bool, int]:
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(5)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        return scope.cancelled_caught, await anyio.to_thread.run_sync(lambda: 4)

    assert engine.run(hook) == [(True, 4)]


def test_any_awaitable_becomes_a_coroutine(engine: Engine) -> None:
    response = engine.loop.create_future()
    response.set_result(1)
    assert engine.loop.run_until_complete(wait_for(response)) == 1


def test_given_up_stream_is_closed_once_its_reader_is_gone(engine: Engine) -> None:
    closed = []

    async def stream() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def run() -> None:
        body = stream()
        await anext(body)
        reader = asyncio.ensure_future(anext(body))
        await asyncio.sleep(0)
        reader.cancel()
        keep: set[asyncio.Task[None]] = set()
        spawn_close(engine.loop, body, reader, contextvars.copy_context(), keep)
        await asyncio.wait(set(keep))

    engine.loop.run_until_complete(run())
    assert closed == [True]
