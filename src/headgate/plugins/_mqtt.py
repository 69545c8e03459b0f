"""Packets of MQTT 3.1, 3.1.1 and 5.0, as far as a router has to read them; bytes in, facts out."""

from __future__ import annotations

from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, SUBSCRIBE = 1, 2, 3, 8
VERSIONS = {(b"MQIsdp", 3): 3, (b"MQTT", 4): 4, (b"MQTT", 5): 5}
UNAVAILABLE, NOT_AUTHORIZED, MALFORMED = "unavailable", "not authorized", "malformed"
REASONS = {UNAVAILABLE: (3, 0x88), NOT_AUTHORIZED: (5, 0x87), MALFORMED: (2, 0x81)}
"""Return codes of a CONNACK until 3.1.1 (section 3.2.2.3), and reason codes of 5.0 (section 3.2.2.2)."""


class BadPacket(ValueError):
    """What is not MQTT."""


class Connect(NamedTuple):
    """What a client says when it connects."""

    version: int
    client_id: str
    user: str


class _Reader:
    """Reads the parts of a packet, in order; raises `BadPacket` where one is not whole."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """So many bytes."""
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise BadPacket("a packet ends within a field")
        self._at += count
        return part

    def number(self, count: int) -> int:
        """A number of so many bytes, the first one highest."""
        return int.from_bytes(self.take(count), "big")

    def binary(self) -> bytes:
        """Bytes with their length before them."""
        return self.take(self.number(2))

    def text(self) -> str:
        """UTF-8 with its length before it (section 1.5.4): neither NUL nor halves of characters."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError:
            raise BadPacket("a text is not UTF-8") from None
        if "\0" in text:
            raise BadPacket("a text has a NUL")
        return text

    def skip_properties(self) -> None:
        """Properties of 5.0 (section 2.2.2)."""
        found = length_of(self._data[self._at : self._at + 4])
        if found is None:
            raise BadPacket("a packet ends within a field")
        self.take(found[1])
        self.take(found[0])

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)


def length_of(data: bytes) -> tuple[int, int] | None:
    """A length of one to four bytes (section 1.5.5), and of how many it is; none if more bytes are needed."""
    value = 0
    for place, byte in enumerate(data[:4]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            if byte == 0 and place:
                raise BadPacket("a length is longer than it has to be")
            return value, place + 1
    if len(data) >= 4:
        raise BadPacket("a length has more than four bytes")
    return None


def connect(body: bytes) -> Connect:
    """The body of a CONNECT (section 3.1); raises `BadPacket`."""
    reader = _Reader(body)
    version = VERSIONS.get((reader.binary(), reader.number(1)))
    if version is None:
        raise BadPacket("the protocol is not MQTT 3.1, 3.1.1 or 5.0")
    flags = reader.number(1)
    has_user, has_password, has_will = flags & 128, flags & 64, flags & 4
    quality = flags >> 3 & 3
    if flags & 1 or quality == 3 or (not has_will and flags & 0b0011_1000):
        raise BadPacket("the flags of a CONNECT contradict each other")
    if version < 5 and has_password and not has_user:
        raise BadPacket("a CONNECT has a password without a user")
    reader.number(2)
    if version == 5:
        reader.skip_properties()
    client_id = reader.text()
    if has_will:
        if version == 5:
            reader.skip_properties()
        reader.text()
        reader.binary()
    user = reader.text() if has_user else ""
    if has_password:
        reader.binary()
    if not reader.is_at_end:
        raise BadPacket("a CONNECT has more than it says")
    return Connect(version, client_id, user)


def topic(first: int, body: bytes, version: int) -> str | None:
    """The topic of a PUBLISH, or the first filter of a SUBSCRIBE; none for other packets. `first` is the byte with the
    packet's kind. Raises `BadPacket`.
    """
    reader = _Reader(body)
    if first >> 4 == PUBLISH:
        name = reader.text()
        if not name or "+" in name or "#" in name:
            raise BadPacket("the topic of a PUBLISH is not one")
        return name
    if first >> 4 != SUBSCRIBE:
        return None
    reader.number(2)
    if version == 5:
        reader.skip_properties()
    name = reader.text()
    # the group of a shared subscription (section 4.8.2) is not a part of the filter
    return name.split("/", 2)[2] if name.startswith("$share/") and name.count("/") >= 2 else name


def accepted(version: int) -> bytes:
    """A CONNACK that lets in, without a session from before."""
    return bytes((CONNACK << 4, 3, 0, 0, 0)) if version == 5 else bytes((CONNACK << 4, 2, 0, 0))


def refused(version: int, reason: str) -> bytes:
    """A CONNACK that does not."""
    old, new = REASONS[reason]
    return bytes((CONNACK << 4, 3, 0, new, 0)) if version == 5 else bytes((CONNACK << 4, 2, 0, old))


def is_accepted(first: int, body: bytes) -> bool:
    """Whether a packet is a CONNACK that lets in."""
    return first == CONNACK << 4 and len(body) >= 2 and body[1] == 0


def packet(first: int, body: bytes) -> bytes:
    """A packet as it is sent."""
    length, left = bytearray(), len(body)
    while True:
        left, byte = left >> 7, left & 127
        length.append(byte | 128 if left else byte)
        if not left:
            return bytes((first,)) + bytes(length) + body
