"""A small HTTP/1.1 client for calls to one server at a time: kept connections, JSON bodies, streams of lines.

How it works: one connection for calls is kept, and a call that finds it closed before a byte of the response came is
made again on a new one; a stream has a connection of its own. A library for every server and every case costs ten times
as much per call, which is what a write to a store waits for.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LONGEST_HEAD_BYTES, LONGEST_LINE_BYTES = 1 << 16, 1 << 20
LONGEST_BODY_BYTES = 1 << 28
STEP_BYTES = 1 << 16


class HttpFailed(Exception):
    """The response is not HTTP, or ended prematurely."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    status: int
    body: bytes
    fields: Mapping[str, str] = field(default_factory=dict)
    """By their names in small letters."""


class _Connection:
    """One connection to a server, `http://host:port` or `https://host:port`."""

    def __init__(self, base: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.base, self._reader, self._writer = base, reader, writer
        self.is_kept = True
        """Whether another request may follow."""

    @classmethod
    async def to(cls, base: str, tls: ssl.SSLContext | None) -> "_Connection":
        """Connects; raises `OSError`."""
        parts = urlsplit(base)
        context = tls if parts.scheme == "https" else None
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port, ssl=context, limit=LONGEST_LINE_BYTES
        )
        return cls(base, reader, writer)

    def send(self, path: str, body: bytes, fields: Mapping[str, str]) -> None:
        """Sends a POST of JSON."""
        named = {"host": urlsplit(self.base).netloc, "content-type": "application/json", **fields}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self._writer.write(
            f"POST {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body
        )

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and fields of the response; raises `HttpFailed`, or `EOFError` where not a byte of it came."""
        try:
            data = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise HttpFailed("the response ended prematurely") from None
            raise
        except asyncio.LimitOverrunError:
            raise HttpFailed("the response's head is too long") from None
        first, *lines = data.decode("latin-1").split("\r\n")[:-2]
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit() or len(data) > LONGEST_HEAD_BYTES:
            raise HttpFailed("the response is not HTTP/1.1")
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
        }
        self.is_kept = version == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
        return int(rest[:3]), fields

    async def pieces(self, fields: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The body as it comes (RFC 9112 section 6.3); raises `HttpFailed`."""
        try:
            if fields.get("transfer-encoding", "").lower() == "chunked":
                while size := _length((await self._reader.readuntil(b"\r\n")).partition(b";")[0].strip(), 16):
                    yield (await self._reader.readexactly(size + 2))[:-2]
                while (await self._reader.readuntil(b"\r\n")) != b"\r\n":
                    pass  # trailers say nothing to us
            elif "content-length" in fields:
                yield await self._reader.readexactly(_length(fields["content-length"], 10))
            else:
                self.is_kept = False
                while piece := await self._reader.read(STEP_BYTES):
                    yield piece
        except (EOFError, ConnectionError, ValueError, asyncio.LimitOverrunError):
            raise HttpFailed("the response ended prematurely, or has malformed framing") from None

    def close(self) -> None:
        """Closes it at once: TLS would wait for the other side."""
        self._writer.transport.abort()


def _length(text: str | bytes, base: int) -> int:
    """Raises `ValueError` for what is not a length, and `HttpFailed` for one that nothing is waited for."""
    length = int(text, base)
    if length > LONGEST_BODY_BYTES:
        raise HttpFailed("the response is too long")
    return length


class HttpClient:
    """See the module. Raises `HttpFailed`, `OSError` and `TimeoutError`; one call at a time."""

    def __init__(self, tls: ssl.SSLContext | None, limit_s: float) -> None:
        self._tls, self._limit_s = tls, limit_s
        self._kept: _Connection | None = None

    async def post(self, base: str, path: str, body: bytes, fields: Mapping[str, str]) -> Reply:
        """The response to a POST, within the time limit."""
        async with asyncio.timeout(self._limit_s):
            kept, self._kept = self._kept, None
            if kept is not None and kept.base == base:
                with contextlib.suppress(EOFError, ConnectionError):
                    return await self._asked(kept, path, body, fields)
            elif kept is not None:
                kept.close()
            try:
                return await self._asked(await _Connection.to(base, self._tls), path, body, fields)
            except EOFError:
                raise HttpFailed("the server closed the connection without a response") from None

    async def _asked(self, to: _Connection, path: str, body: bytes, fields: Mapping[str, str]) -> Reply:
        try:
            to.send(path, body, fields)
            status, told = await to.head()
            pieces, size = list[bytes](), 0
            async for piece in to.pieces(told):
                size += len(piece)
                if size > LONGEST_BODY_BYTES:
                    raise HttpFailed("the response is too long")
                pieces.append(piece)
        except BaseException:
            to.close()
            raise
        if to.is_kept:
            self._kept = to
        else:
            to.close()
        return Reply(status, b"".join(pieces), told)

    async def lines(
        self, base: str, path: str, body: bytes, fields: Mapping[str, str]
    ) -> AsyncGenerator[bytes]:
        """The lines of a response without end; its beginning has the time limit, its lines have none."""
        async with asyncio.timeout(self._limit_s):
            connection = await _Connection.to(base, self._tls)
        try:
            connection.send(path, body, fields)
            async with asyncio.timeout(self._limit_s):
                _, told = await connection.head()
            begun = b""
            async for piece in connection.pieces(told):
                *whole, begun = (begun + piece).split(b"\n")
                for line in whole:
                    yield line
                if len(begun) > LONGEST_LINE_BYTES:
                    raise HttpFailed("a line of the response is too long")
            if begun:
                yield begun
        except EOFError:
            raise HttpFailed("the server closed the connection without a response") from None
        finally:
            connection.close()

    def close(self) -> None:
        """Closes the kept connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
