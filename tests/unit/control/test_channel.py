import os
import socket
from collections.abc import Iterator

import pytest

from headgate.control.channel import LONGEST_MESSAGE_BYTES, Channel, ChannelClosed


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = (Channel(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield one, other
    one.close()
    other.close()


def test_messages_keep_their_borders(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send({"type": "query"})
    one.send({"type": "listen", "listeners": []})
    assert [other.receive()[0]["type"] for _ in range(2)] == ["query", "listen"]


def test_descriptors_travel_with_their_message(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    read, write = os.pipe()
    one.send({"type": "listen"}, [write])
    _, (received,) = other.receive()
    os.write(received, b"x")
    assert os.read(read, 1) == b"x"
    for number in (read, write, received):
        os.close(number)


def test_end_of_the_other_side_is_noticed(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    other.close()
    with pytest.raises(ChannelClosed):
        one.receive()
    with pytest.raises(ChannelClosed):
        one.send({"type": "ready"})


def test_message_that_would_not_fit_is_refused(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(ValueError, match="is over"):
        ends[0].send({"type": "failed", "error": "x" * LONGEST_MESSAGE_BYTES})


def test_longest_message_passes(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    error = "x" * (LONGEST_MESSAGE_BYTES - 100)
    one.send({"type": "failed", "error": error})
    assert other.receive()[0]["error"] == error
