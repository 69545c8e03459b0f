"""What workers are forked from is single, and stays so; its memory is shared."""

import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from headgate.control.channel import Channel
from headgate.control.messages import FROM_WORKER, Failed, Query
from headgate.control.reactor import Reactor
from headgate.supervisor.zygotes import ForkedWorker, Zygote
from headgate.worker.zygote import check_is_single


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    zygote = Zygote(is_plain=True)
    yield zygote
    zygote.close()


def forked(zygote: Zygote, reactor: Reactor, count: int = 1) -> list[ForkedWorker | None]:
    """What that many forks came to."""
    found: list[ForkedWorker | None] = []

    def done(worker: ForkedWorker | None) -> None:
        found.append(worker)
        if len(found) == count:
            reactor.stop()

    for _ in range(count):
        zygote.fork(reactor, done)
    reactor.run()
    return found


def test_each_worker_has_a_channel_of_its_own(zygote: Zygote, reactor: Reactor) -> None:
    workers = [worker for worker in forked(zygote, reactor, 2) if worker]
    assert len({worker.pid for worker in workers}) == 2
    for worker in workers:
        channel = Channel(worker.end, FROM_WORKER)
        worker.end.setblocking(True)
        channel.send(Query())  # nothing that a life begins with
        message, _ = channel.receive()
        assert isinstance(message, Failed) and "`Query` came before `Start`" in message.error
        assert worker.reap() == 1
        channel.close()


def test_a_killed_worker_is_collected_with_its_signal(zygote: Zygote, reactor: Reactor) -> None:
    (worker,) = forked(zygote, reactor)
    assert worker is not None
    worker.signal(signal.SIGKILL)
    assert worker.reap() == -signal.SIGKILL
    worker.end.close()


def test_a_worker_that_nobody_starts_ends(zygote: Zygote, reactor: Reactor) -> None:
    (worker,) = forked(zygote, reactor)
    assert worker is not None
    worker.end.close()
    assert worker.reap() == 0


def test_forks_fail_when_what_they_come_from_is_gone(zygote: Zygote, reactor: Reactor) -> None:
    zygote._process.signal(signal.SIGKILL)
    assert forked(zygote, reactor) == [None]
    assert not zygote.is_alive


def test_a_process_with_threads_is_not_forked() -> None:
    ends = socket.socketpair()
    thread = threading.Thread(target=ends[0].recv, args=(1,))
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="threads run in the zygote"):
            check_is_single()
    finally:
        ends[1].send(b"x")
        thread.join()
        for end in ends:
            end.close()
