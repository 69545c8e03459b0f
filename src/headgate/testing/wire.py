"""HTTP/1.1 for tests, both sides: only what the engine writes and what it must be able to read. Not for peers one does
not trust."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from headgate._digits import hex_number, whole_number

from .messages import Fields, TestResponse

HeaderFields = Mapping[str, str] | Iterable[tuple[str, str]]


class Broken(ConnectionError):
    """The other side ended in the middle of a message."""


def pairs(fields: HeaderFields) -> list[tuple[str, str]]:
    """Fields as a list."""
    return list(fields.items()) if isinstance(fields, Mapping) else list(fields)


def request_bytes(method: str, target: str, fields: list[tuple[str, str]], body: bytes | None) -> bytes:
    """A request; with a body it gets a Content-Length, unless it says how it is framed."""
    names = {name.lower() for name, _ in fields}
    lines = [f"{method} {target} HTTP/1.1"]
    lines += ["Host: gateway.test"] if "host" not in names else []
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + (body or b"")


async def read_head(reader: asyncio.StreamReader) -> tuple[str, Fields] | None:
    """A start line and fields; None at the end of the stream."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Broken(f"the stream ended within a head: {error.partial!r}") from None
        return None
    first, *rest = head[:-4].decode("utf-8", "surrogateescape").split("\r\n")
    return first, Fields(_field(line) for line in rest)


async def read_body(reader: asyncio.StreamReader, headers: Fields, *, may_end: bool) -> tuple[bytes, Fields]:
    """A body and its trailers; `may_end`: without a length it goes on to the end of the stream."""
    try:
        if "transfer-encoding" in headers:
            return await _read_chunks(reader)
        if "content-length" in headers:
            length = whole_number(headers["content-length"])
            if length is None:
                raise Broken(f"not a content-length: {headers['content-length']!r}")
            return await reader.readexactly(length), Fields()
    except asyncio.IncompleteReadError as error:
        raise Broken(f"the stream ended within a body, after {error.partial[-200:]!r}") from None
    return (await reader.read() if may_end else b""), Fields()


async def read_response(reader: asyncio.StreamReader, method: str) -> TestResponse:
    """A final response to a request of this method."""
    interim = []
    while True:
        head = await read_head(reader)
        if head is None:
            raise Broken("the gateway closed the connection without a response")
        _, status, reason = [*head[0].split(" ", 2), ""][:3]
        number = whole_number(status)
        if number is None:
            raise Broken(f"not a status line: {head[0]!r}")
        if number >= 200 or number == 101:
            break
        interim.append(number)
    has_body = method != "HEAD" and status not in ("101", "204", "304")
    body, trailers = await read_body(reader, head[1], may_end=True) if has_body else (b"", Fields())
    return TestResponse(number, reason, head[1], body, trailers, tuple(interim))


def _chunk_size(line: bytes) -> int:
    size = hex_number(line[:-2].split(b";")[0])
    if size is None:
        raise Broken(f"not a chunk: {line!r}")
    return size


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, Fields]:
    body = bytearray()
    while size := _chunk_size(await reader.readuntil(b"\r\n")):
        body += (await reader.readexactly(size + 2))[:-2]
    trailers = []
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        trailers.append(_field(line[:-2].decode("utf-8", "surrogateescape")))
    return bytes(body), Fields(trailers)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()
