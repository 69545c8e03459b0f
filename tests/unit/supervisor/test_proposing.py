"""A proposal in the workers that run: ready in all, then applied or forgotten, and never in a reload's way."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from headgate.control import messages
from headgate.control.agent_messages import Propose
from headgate.control.channel import Channel
from headgate.control.messages import TO_WORKER, Change, ChangePrepared, Commit, Discard, Offer, Prepare
from headgate.control.reactor import Reactor
from headgate.supervisor.generations import Generations
from headgate.supervisor.proposing import Proposing
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState

CHANGE = Change(drain_s=1.0, kill_s=None, log_format="text", log_level="info")
PROPOSAL = Propose(change=CHANGE, label="7", listeners=[":80", ":81"])
NEEDS_WORKERS = ChangePrepared(error="other code", needs_workers=True)


class Process:
    """Notes what it is sent; it is never started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.end, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.setblocking(False)
        self.theirs.setblocking(False)

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
    """The addresses that are open."""

    def __init__(self) -> None:
        self.opened = {":80"}

    def open(self, addresses: list[str], modes: dict[str, int], places: dict[str, str]) -> None:
        self.opened |= set(addresses)

    def keep_only(self, addresses: list[str]) -> None:
        self.opened &= set(addresses)

    def lend(self, addresses: list[str], slot: int, slots: int) -> Any:
        return [], []


class State:
    """A generation of two workers that serve."""

    def __init__(self) -> None:
        self.reactor, self.listeners, self.count = Reactor(), Listeners(), 2
        self.resources = self.pending = None
        zygote: Any = None
        self.current = Generation(1, zygote)
        self.current.listeners = [":80"]
        self.processes = [Process(1), Process(2)]
        for slot, process in enumerate(self.processes):
            subject: Any = process
            worker = WorkerProcess(subject, slot=slot, zone_slot=None, generation=1, exits=0)
            worker.state = WorkerState.READY
            self.current.workers[slot] = worker


class Proposal:
    """One that is under way, and what became of it."""

    def __init__(self, state: Any) -> None:
        self.state, self.said = state, list[Any]()
        nothing: Any = None
        self.generations = Generations(
            state, watch=nothing, serving=nothing, failed=nothing, settled=lambda _: None
        )
        self.proposing = Proposing(state, self.generations, lambda: self.said.append("settled"))
        self.proposing.begin(
            PROPOSAL,
            os.memfd_create("told"),
            prepared=lambda needs_workers: self.said.append(("prepared", needs_workers)),
            refused=lambda error: self.said.append(("refused", error)),
            applied=lambda number: self.said.append(("applied", number)),
        )

    def responds(self, message: ChangePrepared) -> None:
        """Every worker says the same."""
        for worker in self.state.current.workers.values():
            self.generations.applying.prepared(worker, message)

    def received(self) -> list[list[type]]:
        """The kinds of messages that each worker got since the last call."""
        return [[type(message) for message in process.received()] for process in self.state.processes]


@pytest.fixture
def proposal() -> Iterator[Proposal]:
    state = State()
    yield Proposal(state)
    for process in state.processes:
        process.end.close()
        process.theirs.close()


def test_it_is_applied_when_it_is_committed_and_not_before(proposal: Proposal) -> None:
    proposal.responds(ChangePrepared())
    assert proposal.received() == [[Prepare], [Prepare]]
    assert proposal.said == [("prepared", False)]
    proposal.proposing.commit()
    assert proposal.received() == [[Commit], [Commit]]
    for worker in proposal.state.current.workers.values():
        assert proposal.said == [("prepared", False)]
        proposal.generations.applying.applied(worker)
    assert proposal.said == [("prepared", False), ("applied", 1), "settled"]
    assert proposal.state.listeners.opened == {":80", ":81"}
    assert not proposal.generations.is_reloading


def test_one_that_is_withdrawn_is_forgotten_with_its_addresses(proposal: Proposal) -> None:
    proposal.responds(ChangePrepared())
    proposal.proposing.discard()
    assert proposal.received() == [[Prepare, Discard], [Prepare, Discard]]
    assert proposal.said == [("prepared", False), "settled"]
    assert proposal.state.listeners.opened == {":80"}
    proposal.proposing.commit()
    assert proposal.received() == [[], []]


def test_addresses_of_one_that_waited_for_new_workers_are_closed(proposal: Proposal) -> None:
    proposal.responds(NEEDS_WORKERS)
    assert proposal.said == [("prepared", True)]
    proposal.proposing.discard()
    assert proposal.state.listeners.opened == {":80"}


def test_a_reload_goes_on_when_one_that_waited_for_new_workers_is_withdrawn(proposal: Proposal) -> None:
    proposal.responds(NEEDS_WORKERS)
    zygote: Any = None
    proposal.state.pending = reload = Generation(2, zygote)
    first: Any = None
    offer = Offer(change=CHANGE, listeners=[":80", ":82"])
    proposal.generations.offered(first, reload, offer, os.memfd_create("offer"))
    proposal.received()
    proposal.proposing.discard()
    assert proposal.received() == [[], []]
    assert ":82" in proposal.state.listeners.opened
    proposal.responds(ChangePrepared())
    assert proposal.received() == [[Commit], [Commit]]


def test_a_refusal_says_why_and_keeps_nothing(proposal: Proposal) -> None:
    proposal.responds(messages.ChangePrepared(error="`x` is not a valid host"))
    assert proposal.said == [("refused", "`x` is not a valid host"), "settled"]
    assert proposal.state.listeners.opened == {":80"}
    assert not proposal.generations.is_reloading
