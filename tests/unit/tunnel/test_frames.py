"""Frames of tunnels: read as they were written however they are cut, and refused where they are wrong."""

import random
import struct

import pytest

from headgate.tunnel.frames import MOST_MESSAGE_BYTES, Closed, Kind, ProtocolError, Reading, Writing, masked

FRAMES = [
    (Kind.OPEN, 1, b"home"),
    (Kind.DATA, 1, b""),
    (Kind.DATA, 0xFFFF_FFFF, bytes(range(120))),
    (Kind.DATA, 7, bytes(200)),
    (Kind.DATA, 7, bytes(range(256)) * 256),
    (Kind.END, 7, b""),
]


@pytest.mark.parametrize("is_client", [True, False])
def test_frames_are_read_as_they_were_written_however_they_are_cut(is_client: bool) -> None:
    writing = Writing(is_client=is_client)
    data = b"".join(writing.frame(*one) for one in FRAMES)
    chance = random.Random(5)
    for _ in range(20):
        reading, found, at = Reading(is_client=not is_client), [], 0
        while at < len(data):
            size = chance.choice((1, 2, 7, 100, 70_000))
            found += reading.feed(data[at : at + size])
            at += size
        assert found == FRAMES


def test_clients_mask_what_they_send_with_a_new_key_each_time() -> None:
    writing = Writing(is_client=True)
    written = [writing.frame(Kind.DATA, 1, bytes(64)) for _ in range(50)]
    assert all(one[1] & 0x80 for one in written) and len({one[2:6] for one in written}) == 50
    assert masked(masked(b"abcdefg", b"1234"), b"1234") == b"abcdefg"


def test_a_message_in_parts_with_a_ping_between_them_is_one_frame() -> None:
    reading = Reading(is_client=True)
    payload = struct.pack(">BI", Kind.DATA, 3) + b"abc"
    parts = b"\x02\x04" + payload[:4] + b"\x89\x01p" + b"\x80\x04" + payload[4:]
    assert list(reading.feed(parts)) == [(Kind.DATA, 3, b"abc")]
    assert reading.ping == b"p"


def test_a_close_frame_ends_it() -> None:
    with pytest.raises(Closed):
        list(Reading(is_client=True).feed(Writing(is_client=False).close()))


WRONG = {
    "masked by a server": Writing(is_client=True).frame(Kind.END, 1),
    "reserved bits": b"\xc2\x05" + bytes(5),
    "text": b"\x81\x05" + bytes(5),
    "unknown kind": b"\x82\x05\x63" + bytes(4),
    "too short": b"\x82\x02\x01\x00",
    "too long": b"\x82\x7f" + struct.pack(">Q", MOST_MESSAGE_BYTES + 1),
    "ping in parts": b"\x09\x01p",
    "long control frame": b"\x89\x7e\x01\x00",
    "continuation of nothing": b"\x80\x05" + bytes(5),
    "new message in the middle of one": b"\x02\x05" + bytes(5) + b"\x82\x05" + bytes(5),
    "endless parts": b"\x02\x7e\xff\xff" + bytes(65535) + (b"\x00\x7e\xff\xff" + bytes(65535)) * 2,
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Reading(is_client=True).feed(data))


def test_what_a_client_does_not_mask_is_refused() -> None:
    with pytest.raises(ProtocolError):
        list(Reading(is_client=False).feed(Writing(is_client=False).frame(Kind.END, 1)))


def test_a_message_in_very_many_parts_costs_what_its_bytes_do() -> None:
    reading = Reading(is_client=True)
    payload = struct.pack(">BI", Kind.DATA, 3) + bytes(100_000)
    parts = b"\x02\x01" + payload[:1] + b"".join(b"\x00\x01%c" % one for one in payload[1:])
    parts += b"\x00\x00" * 100_000 + b"\x80\x00"
    assert list(reading.feed(parts)) == [(Kind.DATA, 3, bytes(100_000))]


def test_of_many_pings_only_the_last_wants_a_pong() -> None:
    reading = Reading(is_client=True)
    assert list(reading.feed(b"\x89\x01a\x89\x01b")) == [] and reading.ping == b"b"
