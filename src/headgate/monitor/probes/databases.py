"""Checks of databases by the first messages of their protocols; no password is needed, and none is sent.

A server that asks who one is, or that refuses a stranger, is well: it does what it is there for.
"""

from __future__ import annotations

import asyncio
import struct

from headgate.monitor.probes.connecting import CheckFailed, connection
from headgate.monitor.target import Target

LONGEST_MESSAGE = 1 << 16


async def check_redis(target: Target) -> None:
    """PING; a server that loads its data, or that has lost its master, says so and is not well."""
    async with connection(target) as (reader, writer):
        writer.write(b"*1\r\n$4\r\nPING\r\n")
        line = (await reader.readuntil(b"\r\n")).decode("latin-1").strip()
    if line != "+PONG" and not line.startswith(("-NOAUTH", "-NOPERM")):
        raise CheckFailed(f"the response to PING is `{line[:100]}`")


POSTGRES_PROTOCOL = 3 << 16
NOT_NOW = ("57P03", "53300", "57P01", "57P02")
"""SQLSTATEs of a server that starts up, has no free connection, or stops."""


async def check_postgres(target: Target) -> None:
    """The startup message, as `pg_isready` sends it (PostgreSQL documentation, "Message Flow")."""
    user = target.check["user"].encode()
    parameters = b"user\0" + user + b"\0database\0postgres\0application_name\0headgate-health\0\0"
    startup = struct.pack("!ii", len(parameters) + 8, POSTGRES_PROTOCOL) + parameters
    async with connection(target) as (reader, writer):
        writer.write(startup)
        kind, length = struct.unpack("!ci", await reader.readexactly(5))
        if kind not in (b"R", b"E") or not 4 <= length <= LONGEST_MESSAGE:
            raise CheckFailed("the response is not PostgreSQL's")
        content = await reader.readexactly(length - 4)
        if kind == b"R":
            writer.write(b"X\0\0\0\x04")
            return
    said = {part[:1]: part[1:].decode("utf-8", "replace") for part in content.split(b"\0") if part}
    if said.get(b"C", "") in NOT_NOW:
        raise CheckFailed(said.get(b"M", "the server accepts no connections"))


MYSQL_CAPABILITIES = 0x00000001 | 0x00000200 | 0x00008000 | 0x00080000
"""CLIENT_LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH."""
MYSQL_ACCESS_DENIED = range(1044, 1046)
MYSQL_AUTH_ERRORS = (*MYSQL_ACCESS_DENIED, 1251, 1698, 3118, 3159)
"""Errors by which a server that is well turns a stranger away."""


async def check_mysql(target: Target) -> None:
    """The whole handshake, with a user that need not exist: for those that break off, the server blocks a host."""
    async with connection(target) as (reader, writer):
        number, greeting = await _mysql_packet(reader)
        if greeting[:1] == b"\xff":
            raise CheckFailed(_mysql_error(greeting)[1])
        if greeting[:1] != b"\x0a":
            raise CheckFailed("the response is not MySQL's")
        user = target.check["user"].encode()
        response = struct.pack("<IIB23x", MYSQL_CAPABILITIES, LONGEST_MESSAGE, 45) + user + b"\0\0"
        writer.write(_mysql_framed(number + 1, response + b"mysql_native_password\0"))
        for _ in range(4):
            number, packet = await _mysql_packet(reader)
            match packet[:1]:
                case b"\x00":
                    writer.write(_mysql_framed(0, b"\x01"))  # COM_QUIT
                    return
                case b"\xff":
                    code, text = _mysql_error(packet)
                    if code in MYSQL_AUTH_ERRORS:
                        return
                    raise CheckFailed(text)
                case _:  # another way to say who one is: with no password
                    writer.write(_mysql_framed(number + 1, b""))
    raise CheckFailed("the handshake does not end")


async def _mysql_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    header = await reader.readexactly(4)
    length = int.from_bytes(header[:3], "little")
    if length > LONGEST_MESSAGE:
        raise CheckFailed("the response is not MySQL's")
    return header[3], await reader.readexactly(length)


def _mysql_framed(number: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([number & 0xFF]) + content


def _mysql_error(packet: bytes) -> tuple[int, str]:
    text = packet[3:].decode("utf-8", "replace")
    return int.from_bytes(packet[1:3], "little"), text[6:] if text.startswith("#") else text
