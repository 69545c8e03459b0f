"""Packets of MQTT as the router reads them: what is right, what is not, and whatever else a client may send."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from headgate import ConfigError
from headgate.plugins import MqttRouting
from headgate.plugins import _mqtt as mqtt


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(2, "big") + data


def connect(
    version: int = 4,
    client_id: str | bytes = "me",
    *,
    user: str | None = None,
    password: bytes | None = None,
    will: tuple[str, bytes] | None = None,
    flags: int = 2,
    name: bytes | None = None,
    properties: bytes = b"\0",
    more: bytes = b"",
) -> bytes:
    flags |= 128 * (user is not None) | 64 * (password is not None) | 4 * (will is not None)
    of_five = properties if version == 5 else b""
    body = text(name or (b"MQIsdp" if version == 3 else b"MQTT")) + bytes((version, flags, 0, 60)) + of_five
    body += text(client_id)
    if will is not None:
        body += of_five + text(will[0]) + text(will[1])
    body += text(user) if user is not None else b""
    body += text(password) if password is not None else b""
    return body + more


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_client_says_who_it_is(version: int) -> None:
    assert mqtt.connect(connect(version, "sensor-1")) == (version, "sensor-1", "")
    whole = connect(version, "s", user="ann", password=b"\xff\0", will=("a/b", b"x" * 500))
    assert mqtt.connect(whole) == (version, "s", "ann")
    properties = b"\x05\x11\0\0\0\x0a"
    assert mqtt.connect(connect(5, "s", properties=properties)) == (5, "s", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        connect()[:-1],
        connect(more=b"x"),
        connect(6),
        connect(4, name=b"MQIsdp"),
        connect(4, name=b"HTTP"),
        connect(flags=3),
        connect(flags=0b0010_0010),
        connect(will=("a", b""), flags=0b0001_1010),
        connect(client_id=b"\xff"),
        connect(client_id=b"a\0b"),
        connect(client_id=b"\xed\xa0\x80"),
        connect(4, password=b"x"),
        connect(5, properties=b"\xff\xff\xff\xff"),
        connect(5, properties=b"\x7f"),
        connect(5, properties=b"\x80\x00"),
    ],
)
def test_what_is_not_a_connect_is_refused(body: bytes) -> None:
    with pytest.raises(mqtt.BadPacket):
        mqtt.connect(body)


@given(some.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    for reads in (mqtt.connect, mqtt.length_of, lambda one: mqtt.topic(one[0] if one else 0, one[1:], 5)):
        try:
            reads(data)
        except mqtt.BadPacket:
            pass


def test_each_flipped_bit_of_a_connect_is_read_or_refused() -> None:
    whole = connect(5, "sensor", user="u", password=b"p", will=("t", b"w"))
    chance = random.Random(1)
    for _ in range(5000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            said = mqtt.connect(bytes(data[: chance.randint(0, len(data))]))
        except mqtt.BadPacket:
            continue
        assert said.version in (3, 4, 5)


@given(some.integers(0, 268_435_455))
def test_lengths_are_read_as_they_are_written(length: int) -> None:
    written = mqtt.packet(0x10, b"")[1:] if length == 0 else None
    digits = written or _digits(length)
    assert mqtt.length_of(digits) == (length, len(digits))
    assert mqtt.length_of(digits[:-1]) is None


def _digits(length: int) -> bytes:
    made = bytearray()
    while True:
        length, byte = length >> 7, length & 127
        made.append(byte | 128 if length else byte)
        if not length:
            return bytes(made)


def test_packets_are_written_as_they_are_read() -> None:
    for size in (0, 127, 128, 16_383, 16_384, 70_000):
        made = mqtt.packet(0x30, b"x" * size)
        assert mqtt.length_of(made[1:5]) == (size, len(made) - 1 - size)
    with pytest.raises(mqtt.BadPacket):
        mqtt.length_of(b"\xff\xff\xff\xff")


def test_topics_are_those_of_the_first_message_or_filter() -> None:
    assert mqtt.topic(0x30, text("a/b") + b"hello", 4) == "a/b"
    assert mqtt.topic(0x82, b"\0\1" + text("a/+/#") + b"\0", 4) == "a/+/#"
    assert mqtt.topic(0x82, b"\0\1\0" + text("$share/g/a/b") + b"\0", 5) == "a/b"
    assert mqtt.topic(0xC0, b"", 4) is None
    for bad in (text(""), text("a/#"), b"\0"):
        with pytest.raises(mqtt.BadPacket):
            mqtt.topic(0x30, bad, 4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"to": ["10.0.0.1"]}, "is not the address of a broker"),
        ({"to": ["10.0.0.1:0"]}, "is not the address of a broker"),
        ({"to": ["10.0.0.1:99999"]}, "is not the address of a broker"),
        ({"rules": [{"match": "x", "to": []}]}, "to"),
        ({"rules": [{"match": "x", "to": ["a b:1"]}]}, "is not the address of a broker"),
        ({"by": "topics", "to": ["a:1"]}, "by"),
        ({"rules": [{"match": "~(", "to": ["a:1"]}]}, r"\("),
        ({}, "there is no broker"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        MqttRouting(**settings)
