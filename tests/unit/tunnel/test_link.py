"""Two ends of a tunnel in memory: streams, windows, pings."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from headgate.tunnel import link as links
from headgate.tunnel.frames import WINDOW_BYTES, Kind, Writing
from headgate.tunnel.link import Link
from headgate.tunnel.stream import Stream


class Memory(asyncio.Transport):
    """A transport whose bytes go to `write`."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_paused = False
        self.is_aborted = self.has_end = False
        self.peer: asyncio.Protocol | None = None

    def write(self, data: Any) -> None:
        """Keeps it, or gives it to the peer."""
        if self.peer is None:
            self.written += data
        else:
            asyncio.get_running_loop().call_soon(self.peer.data_received, bytes(data))

    def write_eof(self) -> None:
        """Notes it."""
        self.has_end = True

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def pause_reading(self) -> None:
        """Notes it."""
        self.is_paused = True

    def resume_reading(self) -> None:
        """Notes it."""
        self.is_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """Whether it was ended."""
        return self.is_aborted

    def abort(self) -> None:
        """Notes it."""
        self.is_aborted = True

    close = abort


class Owner:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.opened: list[tuple[int, str]] = []
        self.outcomes: list[tuple[int, str | None]] = []
        self.closed: list[str] = []
        self.is_alive = False
        self.is_over = asyncio.Event()

    def on_open(self, link: Link, number: int, name: str) -> None:
        """See `Owner`."""
        self.opened.append((number, name))

    def on_opened(self, link: Link, number: int, refusal: str | None) -> None:
        """See `Owner`."""
        self.outcomes.append((number, refusal))

    def on_leave(self, link: Link) -> None:
        """See `Owner`."""

    def on_alive(self, link: Link) -> None:
        """See `Owner`."""
        self.is_alive = True

    def on_closed(self, link: Link, reason: str) -> None:
        """See `Owner`."""
        self.closed.append(reason)
        self.is_over.set()


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def pair() -> tuple[Link, Link, Owner, Owner]:
    """The gateway's end and the client's, each the other's peer."""
    owners, transports = (Owner(), Owner()), (Memory(), Memory())
    gateway, client = Link(owners[0], is_client=False), Link(owners[1], is_client=True)
    transports[0].peer, transports[1].peer = client, gateway
    gateway.connection_made(transports[0])
    client.connection_made(transports[1])
    return gateway, client, *owners


def local(link: Link, number: int) -> tuple[Stream, Memory]:
    stream, memory = Stream(lambda _: None, lambda _: None), Memory()
    stream.connection_made(memory)
    assert memory.is_paused
    link.add(number, stream)
    return stream, memory


def test_both_ends_know_that_the_other_lives() -> None:
    async def test() -> None:
        *_, left, right = pair()
        await settle()
        assert left.is_alive and right.is_alive

    run(test)


def test_bytes_go_both_ways_and_each_side_ends_for_itself() -> None:
    async def test() -> None:
        gateway, client, _, owner = pair()
        number = gateway.next_number()
        gateway.send(Kind.OPEN, number, b"home")
        await settle()
        assert owner.opened == [(number, "home")]
        (one, near), (two, far) = local(gateway, number), local(client, number)
        one.data_received(b"request")
        assert one.eof_received()
        await settle()
        assert (bytes(far.written), far.has_end) == (b"request", True)
        two.data_received(b"response")
        await settle()
        assert bytes(near.written) == b"response" and not near.is_aborted
        two.eof_received()
        await settle()
        assert near.is_aborted and far.is_aborted  # closed, since both have ended

    run(test)


def test_a_stream_that_nobody_reads_stands_still_and_holds_no_other() -> None:
    async def test() -> None:
        gateway, client, *_ = pair()
        (slow, near), (slow_end, far) = local(gateway, 1), local(client, 1)
        (quick, _), (_, other) = local(gateway, 2), local(client, 2)
        slow_end.pause_writing()
        for _ in range(100):
            slow.data_received(bytes(16 * 1024))
        quick.data_received(b"x")
        await settle()
        assert near.is_paused and len(far.written) == WINDOW_BYTES
        assert bytes(other.written) == b"x"
        slow_end.resume_writing()
        await settle()
        assert len(far.written) == 100 * 16 * 1024 and not near.is_paused

    run(test)


def test_a_peer_that_sends_more_than_was_granted_is_cut_off() -> None:
    async def test() -> None:
        gateway, _, owner, _ = pair()
        stream, _ = local(gateway, 1)
        stream.pause_writing()
        writing = Writing(is_client=True)
        for _ in range(5):
            gateway.data_received(writing.frame(Kind.DATA, 1, bytes(60_000)))
        assert owner.closed == ["invalid data: more bytes than were granted"]

    run(test)


def test_the_end_of_the_tunnel_resets_its_streams() -> None:
    async def test() -> None:
        gateway, client, *_ = pair()
        (_, near), (_, far) = local(gateway, 1), local(client, 1)
        gateway.close("test")
        await settle()
        assert near.is_aborted and far.is_aborted

    run(test)


def test_a_tunnel_is_not_read_into_while_it_is_full() -> None:
    async def test() -> None:
        gateway, *_ = pair()
        _, near = local(gateway, 1)
        gateway.pause_writing()
        assert near.is_paused
        gateway.resume_writing()
        assert not near.is_paused

    run(test)


@pytest.mark.parametrize(("kind", "limit"), [(Kind.OPEN, "no response within"), (None, "no response to two")])
def test_a_tunnel_that_says_nothing_is_dead(
    kind: Kind | None, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "DOUBT_S", 0.01 if kind else 60)
    monkeypatch.setattr(links, "DEAD_AFTER_S", 60 if kind else 0.01)

    async def test() -> None:
        owner, memory = Owner(), Memory()
        link = Link(owner, is_client=False)
        link.connection_made(memory)
        _, near = local(link, 9)
        if kind:
            link.send(kind, 1, b"home")
        await owner.is_over.wait()
        assert owner.closed[0].startswith(limit) and memory.is_aborted and near.is_aborted

    run(test)


def test_a_tunnel_that_leaves_ends_with_its_last_stream() -> None:
    async def test() -> None:
        gateway, client, owner, _ = pair()
        (one, _), (two, _) = local(gateway, 1), local(client, 1)
        gateway.leave()
        await settle()
        assert client.is_ending and not owner.closed
        one.eof_received()
        two.eof_received()
        await settle()
        for stream in (one, two):
            stream.connection_lost(None)
        await settle()
        assert owner.closed

    run(test)


def test_what_is_asked_of_a_tunnel_that_is_full_is_not_kept() -> None:
    async def test() -> None:
        gateway, memory = Link(Owner(), is_client=False), Memory()
        gateway.connection_made(memory)
        await settle()
        gateway.pause_writing()
        written, writing = len(memory.written), Writing(is_client=True)
        for _ in range(100):
            gateway.data_received(writing.frame(Kind.PING, 0, b"12345678") + writing._message(0x9, b"ping"))
        await settle()
        assert len(memory.written) == written

    run(test)


def test_a_tunnel_whose_end_nobody_reads_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "DOUBT_S", 0.01)

    async def test() -> None:
        ended = asyncio.Event()

        class Stuck(Memory):
            def close(self) -> None:
                """Its last bytes are never read."""

            def abort(self) -> None:
                ended.set()

        gateway = Link(Owner(), is_client=False)
        gateway.connection_made(Stuck())
        gateway.close("test")
        async with asyncio.timeout(20):
            await ended.wait()

    run(test)


def test_a_peer_that_opens_none_of_its_streams_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST_STREAMS", 3)

    async def test() -> None:
        owner = Owner()
        gateway = Link(owner, is_client=False)
        gateway.connection_made(Memory())
        for number in range(1, 4):
            gateway.give_up(number)
        assert gateway.was_given_up(2) and not gateway.was_given_up(2) and not owner.closed
        gateway.give_up(4)
        gateway.give_up(5)
        assert owner.closed

    run(test)


def test_a_tunnel_that_is_to_end_does_so_when_nothing_goes_through_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "IDLE_S", 0.01)

    async def test() -> None:
        owner = Owner()
        gateway, stream = Link(owner, is_client=False), Stream(lambda _: None, lambda _: None)
        gateway.connection_made(Memory())
        gateway.add(1, stream)
        gateway.end_when_idle()
        for _ in range(3):
            gateway._tick()
            await asyncio.sleep(0.02)
        assert not owner.closed
        gateway.forget(1)
        async with asyncio.timeout(20):
            while not owner.closed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    run(test)


def test_a_tunnel_with_connections_beside_it_is_dead_after_one_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PING_BESIDE_S", 0.0)
    monkeypatch.setattr(links, "DOUBT_S", 0.01)

    async def test() -> None:
        owner = Owner()
        gateway = Link(owner, is_client=False)
        gateway.connection_made(Memory())
        await asyncio.sleep(0.02)
        gateway._tick()
        assert not owner.closed
        gateway.has_beside = True
        gateway._tick()
        await asyncio.sleep(0.02)
        gateway._tick()
        assert owner.closed

    run(test)
