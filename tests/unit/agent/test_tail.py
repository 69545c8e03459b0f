"""The newest requests for pages: what is kept, what is lost, and when nobody reads any more."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

from headgate.agent import tail
from headgate.agent.tail import MOST_KEPT, MOST_READ, Tail


class Workers:
    """The other end: what writes the lines."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.ended = 0
        self.tail = Tail(lambda end: self.sockets.append(end.dup()), self.end)

    def end(self) -> None:
        self.ended += 1

    def write(self, *lines: object) -> None:
        for line in lines:
            self.sockets[-1].send(json.dumps(line).encode())

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def run(test: Callable[[Workers], Awaitable[None]]) -> None:
    async def whole() -> None:
        workers = Workers()
        try:
            await test(workers)
        finally:
            workers.tail.close()
            workers.close()

    asyncio.run(whole())


def test_a_question_gets_what_came_since_the_last_one() -> None:
    async def test(workers: Workers) -> None:
        assert workers.tail.recent(0) == (0, 0, [])
        workers.write({"n": 1}, {"n": 2})
        workers.tail._on_readable()
        first = workers.tail.recent(0)
        assert (first.newest, first.requests) == (2, [{"n": 1}, {"n": 2}])
        workers.write({"dropped": 7}, {"n": 3})
        workers.tail._on_readable()
        assert workers.tail.recent(first.newest) == (3, 7, [{"n": 3}])
        assert workers.tail.recent(3).requests == []

    run(test)


def test_a_number_of_an_earlier_agent_gets_all_that_is_kept() -> None:
    async def test(workers: Workers) -> None:
        workers.tail.recent(0)
        workers.write({"n": 1})
        workers.tail._on_readable()
        assert workers.tail.recent(1000).requests == [{"n": 1}]

    run(test)


def test_a_step_reads_so_much_and_the_next_one_goes_on() -> None:
    async def test(workers: Workers) -> None:
        workers.tail.recent(0)
        workers.write(*({"n": number} for number in range(MOST_READ + 1)))
        workers.tail._on_readable()
        workers.tail._on_readable()
        assert workers.tail.recent(0).newest == MOST_READ
        workers.tail._read_on()
        workers.tail._on_readable()
        assert workers.tail.recent(MOST_READ).requests == [{"n": MOST_READ}]

    run(test)


def test_what_is_kept_is_bounded() -> None:
    async def test(workers: Workers) -> None:
        workers.tail.recent(0)
        for _ in range(MOST_KEPT // MOST_READ + 1):
            workers.write(*({"n": number} for number in range(MOST_READ)))
            workers.tail._on_readable()
            workers.tail._read_on()
        found = workers.tail.recent(0)
        assert (found.newest, len(found.requests)) == ((MOST_KEPT // MOST_READ + 1) * MOST_READ, MOST_KEPT)

    run(test)


def test_nobody_is_asked_to_write_before_a_question_nor_long_after_it() -> None:
    async def test(workers: Workers) -> None:
        assert workers.sockets == []
        workers.tail.recent(0)
        workers.tail.recent(0)
        assert (len(workers.sockets), workers.ended) == (1, 0)
        idle = workers.tail._idle
        assert idle is not None and idle.when() - asyncio.get_running_loop().time() <= tail.IDLE_S
        workers.tail.close()  # what the timer calls
        assert workers.ended == 1
        workers.tail.recent(0)
        assert len(workers.sockets) == 2

    run(test)


def test_it_ends_with_the_last_writer() -> None:
    async def test(workers: Workers) -> None:
        workers.tail.recent(0)
        workers.sockets.pop().close()
        workers.tail._on_readable()
        assert workers.ended == 1

    run(test)
