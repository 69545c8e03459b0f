"""Responses of HTTP/1.1 servers as stores, log targets and registries send them: read strictly, and never without end.

How it works: what is ambiguous (two lengths, a length beside chunks, a field without a colon) is refused instead of
being interpreted, since a connection may be used again after it. A body comes in pieces of at most `STEP_BYTES`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

from headgate._digits import hex_number, whole_number

LONGEST_HEAD_BYTES = 1 << 16
STEP_BYTES = 1 << 16
MOST_INTERIM = 10
"""Responses with a status below 200 before the final one."""

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?\Z")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*\Z", re.DOTALL)


class HttpFailed(Exception):
    """The response is not HTTP, or ended prematurely."""


class Response:
    """A response whose head has come; its body is read once."""

    def __init__(
        self, status: int, fields: Mapping[str, str], minor: int, reader: asyncio.StreamReader
    ) -> None:
        self.status, self.fields, self._reader = status, fields, reader
        """Fields by their names in small letters; repeated ones joined by commas (RFC 9110 section 5.3)."""
        has_body = status >= 200 and status not in (204, 304)
        self._is_chunked, self._length = _framing(fields) if has_body else (False, 0)
        options = {word.strip() for word in fields.get("connection", "").lower().split(",")}
        has_end = self._is_chunked or self._length is not None
        self.is_kept = minor == 1 and "close" not in options and has_end
        """Whether another response may follow on the connection, once the body was read to its end."""

    async def pieces(self, longest: int) -> AsyncIterator[bytes]:
        """The body as it comes (RFC 9112 section 6.3); raises `HttpFailed`, also for more than `longest` bytes."""
        if self._length is not None and self._length > longest:
            raise HttpFailed("the response is too long")
        left = longest
        try:
            async for piece in self._framed(longest):
                left -= len(piece)
                if left < 0:
                    raise HttpFailed("the response is too long")
                yield piece
        except (EOFError, ConnectionError):
            raise HttpFailed("the response ended prematurely") from None
        except (ValueError, asyncio.LimitOverrunError):
            raise HttpFailed("the response has malformed framing") from None

    def _framed(self, longest: int) -> AsyncIterator[bytes]:
        if self._is_chunked:
            return self._chunks(longest)
        return self._until_the_end() if self._length is None else self._exactly(self._length)

    async def _chunks(self, left: int) -> AsyncIterator[bytes]:
        while size := _chunk_size(await self._reader.readuntil(b"\r\n")):
            left -= size
            if left < 0:
                raise HttpFailed("the response is too long")
            async for piece in self._exactly(size):
                yield piece
            if await self._reader.readexactly(2) != b"\r\n":
                raise ValueError("a chunk is longer than it says")
        trailers = 0
        while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":  # they say nothing to us
            trailers += len(line)
            if trailers > LONGEST_HEAD_BYTES:
                raise HttpFailed("the response is too long")

    async def _until_the_end(self) -> AsyncIterator[bytes]:
        while piece := await self._reader.read(STEP_BYTES):
            yield piece

    async def _exactly(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self._reader.read(min(left, STEP_BYTES))
            if not piece:
                raise EOFError
            left -= len(piece)
            yield piece


async def read_response(reader: asyncio.StreamReader) -> Response:
    """The next final response; raises `HttpFailed`, or `EOFError` where not a byte of it came."""
    for _ in range(MOST_INTERIM):
        response = await _read_head(reader)
        if response.status >= 200 or response.status == 101:
            return response
    raise HttpFailed("the response does not come after many that announce it")


async def _read_head(reader: asyncio.StreamReader) -> Response:
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise HttpFailed("the response ended prematurely") from None
        raise
    except asyncio.LimitOverrunError:
        raise HttpFailed("the response's head is too long") from None
    if len(data) > LONGEST_HEAD_BYTES:
        raise HttpFailed("the response's head is too long")
    first, *lines = data.decode("latin-1").split("\r\n")[:-2]
    status_line = _STATUS_LINE.match(first)
    if status_line is None:
        raise HttpFailed("the response is not HTTP/1.1")
    return Response(int(status_line[2]), _fields(lines), int(status_line[1]), reader)


def _fields(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        match = _FIELD.match(line)
        if match is None or re.search(r"[\r\n\0]", line):
            raise HttpFailed("a field of the response is malformed")
        name, value = match[1].lower(), match[2]
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _framing(fields: Mapping[str, str]) -> tuple[bool, int | None]:
    """Whether the body comes in chunks, or its length; raises `HttpFailed`."""
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise HttpFailed("the response has malformed framing")
        return True, None
    if length is None:
        return False, None
    number = whole_number(length)
    if number is None:
        raise HttpFailed("the response's length is not valid")
    return False, number


def _chunk_size(line: bytes) -> int:
    size = hex_number(line[:-2].partition(b";")[0].strip(b" \t"))
    if size is None:
        raise HttpFailed("the response has malformed framing")
    return size
