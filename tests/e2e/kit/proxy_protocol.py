"""PROXY headers, made and read independently of the gateway."""

import socket
import struct
from dataclasses import dataclass, field

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def v2(
    source: tuple[str, int] | None, destination: tuple[str, int] = ("0.0.0.0", 0), tlvs: bytes = b""
) -> bytes:
    """A header of version 2; without a source the command is LOCAL."""
    if source is None:
        return SIGNATURE + b"\x20\x00" + struct.pack(">H", len(tlvs)) + tlvs
    family, kind = (socket.AF_INET6, b"\x21") if ":" in source[0] else (socket.AF_INET, b"\x11")
    body = socket.inet_pton(family, source[0]) + socket.inet_pton(family, destination[0])
    body += struct.pack(">HH", source[1], destination[1]) + tlvs
    return SIGNATURE + b"\x21" + kind + struct.pack(">H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    """One type-length-value."""
    return bytes([kind]) + struct.pack(">H", len(value)) + value


@dataclass
class Header:
    """What a header says."""

    source: tuple[str, int] | None
    destination: tuple[str, int] | None
    tlvs: dict[int, bytes] = field(default_factory=dict)


def read_v2(data: bytes) -> tuple[Header, bytes]:
    """The header that `data` begins with, its checksum judged, and what follows it."""
    assert data[:12] == SIGNATURE, data[:40]
    command, family, length = data[12], data[13], struct.unpack(">H", data[14:16])[0]
    block, rest = data[16 : 16 + length], data[16 + length :]
    assert len(block) == length
    if command == 0x20:
        return Header(None, None), rest
    assert command == 0x21
    size, kind = {0x11: (4, socket.AF_INET), 0x21: (16, socket.AF_INET6)}[family]
    ports = struct.unpack(">HH", block[2 * size : 2 * size + 4])
    header = Header(
        (socket.inet_ntop(kind, block[:size]), ports[0]),
        (socket.inet_ntop(kind, block[size : 2 * size]), ports[1]),
    )
    at = 2 * size + 4
    while at < length:
        value_length = struct.unpack(">H", block[at + 1 : at + 3])[0]
        value = block[at + 3 : at + 3 + value_length]
        header.tlvs[block[at]] = value
        if block[at] == 3:
            place = 16 + at + 3
            blank = data[:place] + b"\0" * 4 + data[place + 4 : 16 + length]
            assert crc32c(blank) == struct.unpack(">I", value)[0], "checksum"
        at += 3 + value_length
    return header, rest
