import os

from headgate.control.reactor import Reactor


def test_timers_run_in_the_order_they_are_due() -> None:
    reactor, ran = Reactor(), list[str]()
    reactor.call_later(0.02, reactor.stop)
    reactor.call_later(0.01, lambda: ran.append("second"))
    reactor.call_later(0, lambda: ran.append("first"))
    reactor.run()
    assert ran == ["first", "second"]


def test_cancelled_timer_never_runs() -> None:
    reactor, ran = Reactor(), list[str]()
    reactor.call_later(0, lambda: ran.append("no")).cancel()
    reactor.call_later(0.005, reactor.stop)
    reactor.run()
    assert ran == []


def test_readable_descriptor_is_called_back_until_unwatched() -> None:
    reactor, ran = Reactor(), list[bytes]()
    read, write = os.pipe()

    def readable() -> None:
        ran.append(os.read(read, 1))
        if len(ran) == 2:
            reactor.unwatch(read)
            reactor.stop()

    reactor.watch(read, readable)
    os.write(write, b"abc")
    reactor.run()
    assert ran == [b"a", b"b"]
    os.close(read)
    os.close(write)


def test_callback_may_unwatch_another_that_is_ready_too() -> None:
    reactor, ran = Reactor(), list[int]()
    pipes = [os.pipe() for _ in range(2)]

    def only(mine: int, other: int) -> None:
        ran.append(mine)
        reactor.unwatch(mine)
        reactor.unwatch(other)
        reactor.stop()

    (one, _), (two, _) = pipes
    reactor.watch(one, lambda: only(one, two))
    reactor.watch(two, lambda: only(two, one))
    for _, write in pipes:
        os.write(write, b"x")
    reactor.run()
    assert len(ran) == 1
    for pipe in pipes:
        for end in pipe:
            os.close(end)
