"""Silence is counted in turns; what follows from it happens once, and in order."""

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from headgate.control.channel import Channel
from headgate.control.messages import DUMP_SIGNAL, TO_WORKER, Adopt, BoundListener, Ping
from headgate.control.reactor import Reactor
from headgate.supervisor.heartbeats import BLOCKED_AFTER, Heartbeats
from headgate.supervisor.workers import WorkerProcess, WorkerState


class Process:
    """Notes the signals it gets; `end` is the supervisor's end of its channel."""

    def __init__(self, pid: int) -> None:
        self.pid, self.signals = pid, list[int]()
        self.end, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.setblocking(False)
        self.theirs.setblocking(False)

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def received(self) -> list[Any]:
        """What was sent to it since the last call."""
        found: list[Any] = []
        channel = Channel(self.theirs, TO_WORKER)
        while True:
            try:
                message, descriptors = channel.receive()
            except BlockingIOError:
                return found
            for descriptor in descriptors:
                os.close(descriptor)
            found.append(message)


class Listeners:
    """Lends one socket that is a slot's own."""

    def lend(self, addresses: list[str], slot: int, slots: int, *, is_own: bool) -> Any:
        assert is_own
        return [BoundListener(name=addresses[0], address=f"slot {slot}")], [0]


class Generation:
    """The workers that run."""

    def __init__(self, workers: dict[int, WorkerProcess]) -> None:
        self.workers, self.listeners = workers, [":80"]


class State:
    """Two workers that serve."""

    def __init__(self, kill_s: float | None) -> None:
        self.processes = [Process(1), Process(2)]
        self.workers: dict[int, WorkerProcess] = {}
        for slot, process in enumerate(self.processes):
            subject: Any = process
            worker = WorkerProcess(subject, slot=slot, zone_slot=None, generation=1, exits=0)
            worker.state, worker.kill_s = WorkerState.READY, kill_s
            self.workers[worker.pid] = worker
        self.current = Generation(dict(enumerate(self.workers.values())))
        self.count, self.stopping, self.listeners, self.reactor = 2, None, Listeners(), Reactor()


@pytest.fixture
def state() -> Iterator[State]:
    state = State(kill_s=4.0)
    yield state
    for process in state.processes:
        process.end.close()
        process.theirs.close()


def turn(heartbeats: Heartbeats, state: State, *, silent: int) -> None:
    """One second passes, in which all but one respond."""
    heartbeats.begin()
    for worker in state.workers.values():
        if worker.pid != silent:
            heartbeats.responded(worker)


def heartbeats_of(state: Any) -> Heartbeats:
    return Heartbeats(state)


def test_workers_that_respond_are_left_alone(state: State) -> None:
    heartbeats = heartbeats_of(state)
    for _ in range(5):
        turn(heartbeats, state, silent=0)
    for process, worker in zip(state.processes, state.workers.values(), strict=True):
        assert process.received() == [Ping()] * 5 and process.signals == []
        assert not worker.is_blocked and worker.status().state == "ready"


def test_a_silent_worker_is_blocked_then_killed(state: State, caplog: pytest.LogCaptureFixture) -> None:
    heartbeats = heartbeats_of(state)
    stuck, process = state.workers[1], state.processes[0]
    stuck.stacks = os.memfd_create("stacks")
    for _ in range(BLOCKED_AFTER):
        turn(heartbeats, state, silent=1)
    assert process.signals == [DUMP_SIGNAL] and not stuck.is_blocked
    os.write(stuck.stacks, b"Current thread:\n  File gate.py, line 3 in spin\n")
    turn(heartbeats, state, silent=1)
    assert stuck.is_blocked and stuck.status().state == "blocked"
    (record,) = caplog.records
    assert "worker is blocked: it has not responded for 2 s" in record.getMessage()
    assert record.stack_info is not None and "line 3 in spin" in record.stack_info
    turn(heartbeats, state, silent=1)
    assert process.signals == [DUMP_SIGNAL]
    turn(heartbeats, state, silent=1)
    assert process.signals == [DUMP_SIGNAL, signal.SIGKILL]
    assert stuck.error is not None and "blocked for 4 s" in stuck.error
    assert process.received() == [Ping()], "a silent worker is asked once"
    os.close(stuck.stacks)


def test_null_never_kills(state: State) -> None:
    heartbeats = heartbeats_of(state)
    state.workers[1].kill_s = None
    for _ in range(100):
        turn(heartbeats, state, silent=1)
    assert signal.SIGKILL not in state.processes[0].signals


def test_one_sibling_accepts_in_its_place_as_long_as_it_lives(state: State) -> None:
    heartbeats = heartbeats_of(state)
    state.workers[1].kill_s = None
    for _ in range(6):
        turn(heartbeats, state, silent=1)
    adopted = [message for message in state.processes[1].received() if isinstance(message, Adopt)]
    assert adopted == [Adopt(listeners=[BoundListener(name=":80", address="slot 0")])]
    del state.workers[2]
    state.current.workers = {0: state.workers[1]}
    turn(heartbeats, state, silent=1)
    assert state.workers[1].sibling == 2, "nobody is left to take over"


def test_a_worker_that_responds_again_is_ready(state: State, caplog: pytest.LogCaptureFixture) -> None:
    heartbeats = heartbeats_of(state)
    for _ in range(4):
        turn(heartbeats, state, silent=1)
    heartbeats.responded(state.workers[1])
    assert state.workers[1].status().state == "ready"
    assert caplog.records[-1].getMessage() == "worker responds again"
