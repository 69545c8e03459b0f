"""Probes that are coroutines or functions: what they raise, and what becomes of those that hang."""

import asyncio
import errno
import sys
import threading
from collections.abc import AsyncIterator
from types import ModuleType

import pytest

from headgate.monitor.checker import NoResult, Probe
from headgate.monitor.probes.function import FunctionProbe
from headgate.monitor.probes.task import TaskProbe, reason
from headgate.monitor.target import Target

TARGET = Target("u", "a:1", False, '{"function": "own_checks:hangs"}')


async def outcome(probe: Probe) -> str | None:
    """How one check goes."""
    done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    probe.begin(lambda failure, weight=None: done.set_result(failure))
    async with asyncio.timeout(10):
        return await done


@pytest.fixture
async def hanging(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[threading.Event, list[str]]]:
    """A function of the user's that hangs until the event is set, and the servers that it was called with."""
    goes_on, calls, module = threading.Event(), list[str](), ModuleType("own_checks")

    def hangs(server: str) -> None:
        calls.append(server)
        goes_on.wait(20)

    module.hangs = hangs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_checks", module)
    yield goes_on, calls
    goes_on.set()


async def test_function_that_hangs_is_not_called_again_meanwhile(
    hanging: tuple[threading.Event, list[str]],
) -> None:
    goes_on, calls = hanging
    probe = FunctionProbe(TARGET, "/")
    probe.begin(lambda failure, weight=None: None)
    while not calls:
        await asyncio.to_thread(goes_on.wait, 0.01)
    probe.cancel()
    assert await outcome(probe) == "its last call has not returned yet"
    goes_on.set()
    assert probe._running is not None
    await asyncio.wrap_future(probe._running)
    assert await outcome(probe) is None
    assert calls == ["a:1", "a:1"]
    probe.close()


async def test_what_would_end_the_process_fails_the_check() -> None:
    async def ends(_: Target) -> None:
        sys.exit(3)

    assert await outcome(TaskProbe(TARGET, ends)) == "SystemExit: 3"


@pytest.mark.parametrize(
    ("number", "is_of_server"),
    [(errno.EMFILE, False), (errno.ECONNREFUSED, True), (errno.EADDRNOTAVAIL, False)],
)
def test_errors_of_this_machine_are_no_failures_of_the_server(number: int, is_of_server: bool) -> None:
    assert isinstance(reason(OSError(number, "text")), NoResult) is not is_of_server
