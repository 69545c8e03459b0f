"""A small HTTP/1.1 client for calls to one server at a time: kept connections, JSON bodies, streams of lines.

How it works: one connection for calls is kept, and a call that finds it closed before a byte of the response came is
made again on a new one; a stream has a connection of its own. A library for every server and every case costs ten times
as much per call, which is what a write to a store waits for.
"""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from headgate.stores.http_response import HttpFailed, read_response

LONGEST_LINE_BYTES = 1 << 20
LONGEST_BODY_BYTES = 1 << 28


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
        self.base, self.reader, self._writer = base, reader, writer

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

    def close(self) -> None:
        """Closes it at once: TLS would wait for the other side."""
        self._writer.transport.abort()


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
            response = await read_response(to.reader)
            pieces = [piece async for piece in response.pieces(LONGEST_BODY_BYTES)]
        except BaseException:
            to.close()
            raise
        if response.is_kept:
            self._kept = to
        else:
            to.close()
        return Reply(response.status, b"".join(pieces), response.fields)

    async def lines(
        self, base: str, path: str, body: bytes, fields: Mapping[str, str]
    ) -> AsyncGenerator[bytes]:
        """The lines of a response without end; its beginning has the time limit, its lines have none."""
        async with asyncio.timeout(self._limit_s):
            connection = await _Connection.to(base, self._tls)
        try:
            connection.send(path, body, fields)
            async with asyncio.timeout(self._limit_s):
                response = await read_response(connection.reader)
            begun = b""
            async for piece in response.pieces(sys.maxsize):
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
