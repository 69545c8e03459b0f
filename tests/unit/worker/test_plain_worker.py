"""A worker without asyncio, on a real reactor, with an engine and a supervisor that only note what they are told."""

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from headgate import _core
from headgate.control import messages
from headgate.control.channel import Channel
from headgate.control.reactor import Reactor
from headgate.worker import proxying
from headgate.worker.controls import Controls
from headgate.worker.plain_worker import PlainWorker

ARGUMENTS = messages.ProxyArguments(listen="127.0.0.1:0", to=["127.0.0.1:9"])


class Engine:
    """Says how many connections are open, and notes what it is told."""

    def __init__(self, connections: int) -> None:
        self.left, self.told = connections, list[str]()

    def connections(self) -> int:
        return self.left

    def drain(self) -> None:
        self.told.append("drain")

    def reopen_logs(self) -> None:
        self.told.append("reopen logs")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with ours, theirs:
        yield ours, theirs
    signal.set_wakeup_fd(-1)
    for number, handler in kept.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def worker(end: socket.socket, engine: Any, **loaded: Any) -> tuple[PlainWorker, Reactor]:
    channel, reactor = Channel(end, messages.TO_WORKER), Reactor()
    quick = proxying.quick(ARGUMENTS)
    assert quick is not None
    controls = Controls(
        channel, messages.Start(source=messages.Source(), generation=1), quick._replace(**loaded), engine
    )
    return PlainWorker(channel, controls, reactor, engine), reactor


def test_it_stops_at_the_drain_limit(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    engine = Engine(connections=1)
    subject, reactor = worker(theirs, engine, drain_s=0.0)
    reactor.call_later(0, lambda: os.kill(os.getpid(), signal.SIGQUIT))
    subject.run()
    supervisor = Channel(ours, messages.FROM_WORKER)
    assert engine.told == ["drain"]
    received = [type(supervisor.receive()[0]) for _ in range(2)]
    assert received == [messages.Prepared, messages.Draining]


def test_it_looks_until_the_last_connection_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    engine = Engine(connections=1)
    subject, reactor = worker(ends[1], engine)
    reactor.call_later(0, lambda: os.kill(os.getpid(), signal.SIGQUIT))
    reactor.call_later(0.1, lambda: setattr(engine, "left", 0))
    subject.run()
    assert engine.left == 0


def test_signals_mean_what_the_table_says(ends: tuple[socket.socket, socket.socket]) -> None:
    engine = Engine(connections=0)
    subject, reactor = worker(ends[1], engine)

    def send() -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)

    reactor.call_later(0, send)
    subject.run()
    assert engine.told == ["reopen logs"]


def test_hooks_are_refused_without_a_loop() -> None:
    quick = proxying.quick(ARGUMENTS)
    assert quick is not None
    core = _core.Core(None)
    core.apply(quick.snapshot, [])
    with pytest.raises(ValueError, match="hooks need an asyncio loop"):
        core.apply(quick.snapshot, [object()])  # type: ignore[list-item]
    core.close()
