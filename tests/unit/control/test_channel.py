import os
import socket
from collections.abc import Iterator

import pytest

from headgate.control.channel import LONGEST_MESSAGE_BYTES, Channel, ChannelClosed
from headgate.control.messages import FROM_WORKER, TO_WORKER, Failed, Listen, Query, Ready
from headgate.control.records import MessageError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """The supervisor's end, and the worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one, other = Channel(ours, FROM_WORKER), Channel(theirs, TO_WORKER)
    yield one, other
    one.close()
    other.close()


def test_messages_keep_their_borders(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send(Query(hooks=True))
    one.send(Listen(listeners=[]))
    assert [other.receive()[0] for _ in range(2)] == [Query(hooks=True), Listen(listeners=[])]


def test_descriptors_travel_with_their_message(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    read, write = os.pipe()
    one.send(Listen(listeners=[]), [write])
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
        one.send(Ready())


def test_message_that_would_not_fit_is_refused(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(ValueError, match="is larger than"):
        ends[0].send(Failed(error="x" * LONGEST_MESSAGE_BYTES, is_config=False))


def test_longest_message_passes(ends: tuple[Channel, Channel]) -> None:
    supervisor, worker = ends
    message = Failed(error="x" * (LONGEST_MESSAGE_BYTES - 100), is_config=True)
    worker.send(message)
    assert supervisor.receive() == (message, [])


def test_message_of_the_wrong_direction_is_refused_and_its_descriptors_closed(
    ends: tuple[Channel, Channel],
) -> None:
    one, other = ends
    read, write = os.pipe()
    one.send(Ready(), [write])
    os.close(write)
    with pytest.raises(MessageError, match="`ready` is not a control message that is understood here"):
        other.receive()
    assert os.read(read, 1) == b"", "nobody holds the other end any more"
    os.close(read)
