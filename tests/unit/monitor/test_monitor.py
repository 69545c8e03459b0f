"""Which checks go on over changes of the configuration, and what is said of servers meanwhile."""

import asyncio
import json
from typing import Any

import pytest

from headgate.monitor.checker import Done, NoResult
from headgate.monitor.judge import State
from headgate.monitor.monitor import Monitor
from headgate.monitor.target import Destination, Key, Target, targets


class Board:
    """What was said, in order."""

    def __init__(self, known: dict[Key, State] | None = None) -> None:
        self.before: dict[Key, State] = known or {}
        self.said: list[tuple[str, State]] = []
        self.weights_before: dict[Key, int] = {}
        self.weighed: list[tuple[str, int]] = []
        self.has_said = asyncio.Event()

    def known(self) -> dict[Key, State]:
        return self.before

    def say(self, key: Key, state: State) -> None:
        self.said.append((key[1], state))
        self.has_said.set()

    def weights(self) -> dict[Key, int]:
        return self.weights_before

    def weighs(self, key: Key, percent: int) -> None:
        self.weighed.append((key[1], percent))
        self.has_said.set()

    def count(self, key: Key, *, is_well: bool) -> None:
        pass

    def taken(self) -> list[tuple[str, State]]:
        said, self.said = self.said, []
        return said


class Probe:
    """Passes or fails when it is told to."""

    def __init__(self, target: Target) -> None:
        self.target, self.done, self.is_closed = target, asyncio.Event(), False
        self.tell: Done | None = None

    def begin(self, done: Done) -> None:
        self.tell = done
        self.done.set()

    def cancel(self) -> None:
        self.tell = None

    def close(self) -> None:
        self.is_closed = True


def plan(*servers: str, **check: Any) -> list[Target]:
    table = {
        "upstream": "u",
        "weight_header": None,
        "servers": servers,
        "rise": 2,
        "fall": 2,
        "interval": 100,
        "timeout": 60_000,
    }

    return list(targets({"checks": [{**table, "address": None, "port": None, **check}]}))


@pytest.fixture
async def probes() -> dict[str, list[Probe]]:
    return {}


def monitor(board: Board, probes: dict[str, list[Probe]]) -> Monitor:
    def made(target: Target) -> Probe:
        probe = Probe(target)
        probes.setdefault(target.server, []).append(probe)
        return probe

    return Monitor(board, made, lambda *_: None)


async def result(probe: Probe, failure: str | None, weight: int | None = None) -> None:
    """The probe's next check goes so."""
    async with asyncio.timeout(10):
        await probe.done.wait()
    probe.done.clear()
    assert probe.tell is not None
    probe.tell(failure, weight)


async def test_servers_that_did_not_change_are_not_touched(probes: dict[str, list[Probe]]) -> None:
    board = Board()
    watching = monitor(board, probes)
    watching.watch(plan("a:1", "b:1"))
    await result(probes["a:1"][0], "no")
    assert board.taken() == [("a:1", "down")]
    for _ in range(20):
        watching.watch(plan("a:1", "c:1"))
        watching.watch(plan("a:1", "b:1"))
    assert len(probes["a:1"]) == 1 and not probes["a:1"][0].is_closed
    assert all(server != "a:1" for server, _ in board.taken())
    watching.close()


async def test_server_that_is_back_soon_is_the_one_that_it_was(probes: dict[str, list[Probe]]) -> None:
    board = Board()
    watching = monitor(board, probes)
    watching.watch(plan("a:1"))
    await result(probes["a:1"][0], "no")
    watching.watch([])
    assert board.taken() == [("a:1", "down"), ("a:1", "unknown")]
    assert probes["a:1"][0].is_closed
    watching.watch(plan("a:1"))
    assert board.taken() == [("a:1", "down")]
    await result(probes["a:1"][1], None)
    assert board.taken() == [], "one success is not enough for a server that was down"
    watching.close()


async def test_other_check_begins_where_the_state_was(probes: dict[str, list[Probe]]) -> None:
    board = Board()
    watching = monitor(board, probes)
    watching.watch(plan("a:1"))
    await result(probes["a:1"][0], "no")
    board.taken()
    watching.watch(plan("a:1", interval=120))
    assert board.taken() == [("a:1", "down")], "it is never taken to be well meanwhile"
    await result(probes["a:1"][1], None)
    await result(probes["a:1"][1], None)
    assert board.taken() == [("a:1", "up")]
    watching.close()


async def test_new_monitor_goes_on_from_what_the_last_one_said(probes: dict[str, list[Probe]]) -> None:
    board = Board({("u", "a:1"): "down", ("u", "gone:1"): "down", ("u", "drained:1"): "unknown"})
    watching = monitor(board, probes)
    watching.watch(plan("a:1"))
    assert board.taken() == [("a:1", "down"), ("gone:1", "unknown")]
    await result(probes["a:1"][0], None)
    assert board.taken() == []
    watching.close()


async def test_check_that_takes_too_long_fails_and_its_late_result_counts_nothing(
    probes: dict[str, list[Probe]],
) -> None:
    board = Board()
    watching = monitor(board, probes)
    watching.watch(plan("a:1", timeout=50))
    probe = probes["a:1"][0]
    async with asyncio.timeout(10):
        await probe.done.wait()
        late = probe.tell
        await board.has_said.wait()
    assert board.taken() == [("a:1", "down")] and late is not None
    watching.close()
    late(None)
    assert board.taken() == []


def test_places_are_the_servers_own_unless_said() -> None:
    def place(server: str, **check: Any) -> Destination:
        target = Target("u", server, False, json.dumps({"address": None, "port": None, **check}))
        return target.place

    assert place("10.0.0.1:80") == ("10.0.0.1", 80, "")
    assert place("[::1]:80", port=81) == ("::1", 81, "")
    assert place("[::1]:80", address="status.test") == ("status.test", 80, "")
    assert place("unix:/run/a.sock") == ("", 0, "/run/a.sock")


async def test_check_that_cannot_be_made_says_nothing_of_the_server(
    probes: dict[str, list[Probe]], caplog: pytest.LogCaptureFixture
) -> None:
    board = Board()
    watching = monitor(board, probes)
    watching.watch(plan("a:1"))
    for _ in range(3):
        await result(probes["a:1"][0], NoResult("Too many open files"))
    assert board.taken() == []
    assert [one.getMessage() for one in caplog.records] == ["servers cannot be checked: Too many open files"]
    await result(probes["a:1"][0], None)
    assert board.taken() == [("a:1", "up")]
    watching.close()


async def test_weights_that_servers_want_are_said_once_and_taken_back(probes: dict[str, list[Probe]]) -> None:
    board = Board()
    watching = monitor(board, probes)
    watching.watch(plan("a:1", "b:1", weight_header="x-weight"))
    await result(probes["a:1"][0], None, 60)
    await result(probes["b:1"][0], None)
    await result(probes["a:1"][0], None, 60)
    await result(probes["a:1"][0], None)
    assert board.weighed == [("a:1", 60)], "what says nothing changes nothing"
    await result(probes["a:1"][0], None, 100)
    await result(probes["a:1"][0], None, 30)
    watching.watch(plan("b:1", weight_header="x-weight"))
    await result(probes["b:1"][0], None, 0)
    watching.watch(plan("b:1"))
    assert board.weighed[1:] == [("a:1", 100), ("a:1", 30), ("a:1", 100), ("b:1", 0), ("b:1", 100)]
    watching.close()


async def test_new_monitor_takes_weights_back_that_nobody_says_any_more(
    probes: dict[str, list[Probe]],
) -> None:
    board = Board()
    board.weights_before = {("u", "a:1"): 40, ("u", "b:1"): 50}
    watching = monitor(board, probes)
    watching.watch(plan("a:1", weight_header="x-weight"))
    assert board.weighed == [("b:1", 100)]
    await result(probes["a:1"][0], None, 40)
    assert board.weighed == [("b:1", 100)]
    watching.close()
