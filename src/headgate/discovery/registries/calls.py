"""GET requests to registries over HTTP/1.1: a connection each, whole bodies, or lines for as long as they come."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

CONNECT_S = 5.0
LONGEST_HEAD_BYTES = 1 << 16
LONGEST_BODY_BYTES = 64 << 20
LONGEST_LINE_BYTES = 16 << 20
STEP_BYTES = 1 << 16

_STATUS, _LENGTH = re.compile("[1-5][0-9]{2}"), re.compile("[0-9]{1,15}")
_CHUNK = re.compile(b"[0-9A-Fa-f]{1,15}")


class RegistryFailed(Exception):
    """A registry does not respond, or with something else; the text says what. `status` is 0 without a response."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class Response:
    """A response whose head has come."""

    def __init__(self, status: int, fields: Mapping[str, str], reader: asyncio.StreamReader) -> None:
        self.status, self.fields, self._reader = status, fields, reader

    async def json(self) -> Any:
        """The whole body, decoded."""
        data = bytearray()
        async for piece in self.pieces():
            data += piece
            if len(data) > LONGEST_BODY_BYTES:
                raise RegistryFailed("the response is too long")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise RegistryFailed("the response is not JSON") from None

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of the body, as they come."""
        rest = bytearray()
        async for piece in self.pieces():
            rest += piece
            if len(rest) > LONGEST_LINE_BYTES + STEP_BYTES:
                raise RegistryFailed("a line of the response is too long")
            if b"\n" not in piece:
                continue
            *whole, last = rest.split(b"\n")
            rest = bytearray(last)
            for line in whole:
                if line.strip():
                    yield bytes(line)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, by its framing (RFC 9112 section 6)."""
        reader = self._reader
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            while size := _chunk_size(await reader.readuntil(b"\r\n")):
                async for piece in self._exactly(size):
                    yield piece
                await reader.readexactly(2)
            return
        if (length := self.fields.get("content-length")) is None:
            while piece := await reader.read(STEP_BYTES):
                yield piece
            return
        if not _LENGTH.fullmatch(length):
            raise RegistryFailed("the response's length is not valid")
        async for piece in self._exactly(int(length)):
            yield piece

    async def _exactly(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self._reader.read(min(left, STEP_BYTES))
            if not piece:
                raise RegistryFailed("the response ended prematurely")
            left -= len(piece)
            yield piece


def _chunk_size(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if not _CHUNK.fullmatch(size):
        raise RegistryFailed("the response's framing is malformed")
    return int(size, 16)


@asynccontextmanager
async def get(
    base: str,
    path: str,
    *,
    limit_s: float | None,
    fields: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[Response, None]:
    """The response to a GET, with its status 200; raises `RegistryFailed` for every other outcome.

    `limit_s` is for all of it, with what the caller reads.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(limit_s):
            reader, writer, host = await _connected(base, tls)
            lines = {"host": host, "accept": "application/json", "connection": "close", **(fields or {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(
                f"GET {urlsplit(base).path if '://' in base else ''}{path} HTTP/1.1\r\n{head}\r\n".encode()
            )
            response = await _response(reader)
            if response.status != 200:
                raise RegistryFailed(f"status {response.status}", response.status)
            yield response
    except TimeoutError:
        raise RegistryFailed(f"no response within {limit_s:g} s") from None
    except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
        raise RegistryFailed(f"{type(error).__name__}: {error}".removesuffix(": ")) from error
    finally:
        if writer is not None:
            writer.transport.abort()


async def _connected(
    base: str, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    async with asyncio.timeout(CONNECT_S):
        if base.startswith("unix:"):
            path = base.removeprefix("unix:")
            return *await asyncio.open_unix_connection(path, limit=LONGEST_LINE_BYTES), "localhost"
        parts = urlsplit(base)
        is_secure = parts.scheme == "https"
        made = await asyncio.open_connection(
            parts.hostname,
            parts.port or (443 if is_secure else 80),
            ssl=(tls or ssl.create_default_context()) if is_secure else None,
            limit=LONGEST_LINE_BYTES,
        )
        return *made, parts.netloc


async def _response(reader: asyncio.StreamReader) -> Response:
    data = await reader.readuntil(b"\r\n\r\n")
    first, *lines = data.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if not first.startswith("HTTP/1.") or len(words) < 2 or not _STATUS.fullmatch(words[1]):
        raise RegistryFailed("the response is not HTTP/1.1")
    if len(data) > LONGEST_HEAD_BYTES:
        raise RegistryFailed("the response's head is too long")
    pairs = (line.partition(":") for line in lines)
    return Response(int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, reader)
