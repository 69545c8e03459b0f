"""A client of ICAP servers (RFC 3507): has a body scanned by REQMOD, as it would be uploaded."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from headgate import ConfigError
from headgate._digits import hex_number, whole_number

MOST_HEAD = 16_384
FINDINGS = ("x-infection-found", "x-virus-id", "x-violations-found", "x-block-reason")
"""Fields in which servers say what they found."""
THREAT = re.compile(r"Threat=([^;]{1,200})")
CONTROL = re.compile(r"[^\x20-\x7e]")


class IcapError(OSError):
    """The server cannot be used, or does not speak ICAP."""


class Scan(NamedTuple):
    """What a server said of a body."""

    is_clean: bool
    finding: str
    """What it found, as it says it."""


class Address(NamedTuple):
    """Where a service of an ICAP server is."""

    host: str
    port: int
    url: str


def icap_address(url: str) -> Address:
    """The place of `icap://HOST[:1344]/SERVICE`; raises `ConfigError`."""
    try:
        parts = urlsplit(url)
        port = parts.port or 1344
    except ValueError:
        port, parts = 0, urlsplit("")
    is_plain = re.fullmatch(r"icap://[^\s/?#@\\]+/[\x21-\x7e]+", url) is not None
    if not is_plain or not port or not parts.hostname:
        raise ConfigError(
            f"`{url}` is not the URL of an ICAP service", hint="write `icap://127.0.0.1/avscan`"
        )
    return Address(parts.hostname, port, url)


async def scan(address: Address, body: bytes, *, target: str, kind: str) -> Scan:
    """Asks about a body; raises `IcapError` or `OSError` where there is no verdict."""
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=MOST_HEAD)
    try:
        writer.write(_request(address, body, target, kind))
        return await _verdict(reader, writer, body)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise IcapError(f"the response is not ICAP: {type(error).__name__}") from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _request(address: Address, body: bytes, target: str, kind: str) -> bytes:
    http = (
        f"POST {target} HTTP/1.1\r\nHost: upload\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    place = f"[{address.host}]" if ":" in address.host else address.host
    icap = (
        f"REQMOD {address.url} ICAP/1.0\r\nHost: {place}:{address.port}\r\nUser-Agent: headgate\r\n"
        f"Allow: 204\r\nConnection: close\r\nEncapsulated: req-hdr=0, req-body={len(http)}\r\n\r\n"
    ).encode()
    return b"".join((icap, http, b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n"))


async def _verdict(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> Scan:
    # the server may have its verdict, and stop reading, before all was sent
    sending = asyncio.ensure_future(writer.drain())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    finally:
        sending.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await sending
    status, fields = _head(head)
    if status == 204:
        return Scan(True, "")
    if status != 200:
        raise IcapError(f"its status is {status}")
    finding = next((fields[name] for name in FINDINGS if name in fields), "")
    if threat := THREAT.search(finding):
        finding = threat[1]
    parts = [part.strip() for part in fields.get("encapsulated", "").split(",")]
    if not finding and any(part.startswith("req-body=") for part in parts):
        # it sends the request back: as it was, or changed, which is a finding
        _, _, sent = parts[-1].partition("=")
        await reader.readexactly(_number(whole_number(sent)))
        if await _chunks(reader, len(body)) == body:
            return Scan(True, "")
    return Scan(False, CONTROL.sub("?", finding)[:200] or "refused")


async def _chunks(reader: asyncio.StreamReader, most: int) -> bytes:
    """A body in chunks; no more is read than could be the one that was sent."""
    chunks: list[bytes] = []
    size = 0
    while True:
        line = await reader.readuntil(b"\r\n")
        length = _number(hex_number(line[:-2].partition(b";")[0]))
        if length == 0:
            return b"".join(chunks)
        size += length
        if size > most:
            return b""
        chunks.append(await reader.readexactly(length))
        await reader.readexactly(2)


def _number(read: int | None) -> int:
    if read is None:
        raise ValueError("not a length")
    return read


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"ICAP/1\.[0-9] ([1-5][0-9]{2})(?: .*)?", first)
    if found is None:
        raise ValueError("not a status line")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return int(found[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
