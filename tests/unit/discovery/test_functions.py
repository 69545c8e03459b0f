"""Functions that say the servers of an upstream: none of their ways out ends the lookup, or the process."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from headgate.discovery.listing import Source, lists_of
from headgate.discovery.outcomes import Failed, Outcome, Resolved

WAYS_OUT: list[type[BaseException]] = [
    ValueError,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
    GeneratorExit,
    RecursionError,
    MemoryError,
    StopIteration,
    TimeoutError,
]


def sync_function(error: type[BaseException]) -> Callable[[], Any]:
    def say() -> list[str]:
        raise error

    return say


def async_function(error: type[BaseException]) -> Callable[[], Any]:
    async def say() -> list[str]:
        raise error

    return say


def generator(error: type[BaseException]) -> Callable[[], Any]:
    async def say() -> AsyncIterator[list[str]]:
        yield ["10.0.0.1:80"]
        raise error

    return say


async def outcomes(function: Callable[[], Any]) -> list[Outcome]:
    return [one async for one in lists_of("app", {"app": Source(function, 1.0)})]


@pytest.mark.parametrize("error", WAYS_OUT)
@pytest.mark.parametrize("make", [sync_function, async_function, generator])
async def test_what_a_function_raises_is_a_failed_lookup(make: Any, error: type[BaseException]) -> None:
    found = await outcomes(make(error))
    assert isinstance(found[-1], Failed) and found[-1].reason.startswith(
        ("`app`: RuntimeError", f"`app`: {error.__name__}")
    )
    assert len(found) == (2 if make is generator else 1)
    assert all(isinstance(one, Resolved) for one in found[:-1])


async def test_a_generator_that_ends_says_so_once() -> None:
    async def say() -> AsyncIterator[list[str]]:
        yield ["10.0.0.1:80"]
        yield []

    first, second, last = await outcomes(say)
    assert isinstance(first, Resolved) and isinstance(second, Resolved) and second.records == ()
    assert isinstance(last, Failed) and last.reason == "`app` has ended"


async def test_a_module_that_exits_is_a_failed_lookup(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "exits_at_once.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (only,) = [one async for one in lists_of("exits_at_once:find", {})]
    assert isinstance(only, Failed) and only.reason == "`exits_at_once:find`: SystemExit: 3"


async def test_who_stops_the_lookup_stops_the_function() -> None:
    is_called, is_cancelled = asyncio.Event(), asyncio.Event()

    async def say() -> list[str]:
        is_called.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()
        return []

    task = asyncio.create_task(outcomes(say))
    await is_called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_cancelled.is_set()
