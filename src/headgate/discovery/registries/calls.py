"""GET requests to registries over HTTP/1.1: a connection each, whole bodies, or lines for as long as they come."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from headgate.stores import http_response

CONNECT_S = 5.0
LONGEST_BODY_BYTES = 64 << 20
LONGEST_LINE_BYTES = 16 << 20


class RegistryFailed(Exception):
    """A registry does not respond, or with something else; the text says what. `status` is 0 without a response."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class Response:
    """A response whose head has come."""

    def __init__(self, response: http_response.Response) -> None:
        self.status, self.fields, self._response = response.status, response.fields, response

    async def json(self) -> Any:
        """The whole body, decoded."""
        data = b"".join([piece async for piece in self._response.pieces(LONGEST_BODY_BYTES)])
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise RegistryFailed("the response is not JSON") from None

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of the body, as they come."""
        rest = bytearray()
        async for piece in self._response.pieces(sys.maxsize):
            rest += piece
            if len(rest) > LONGEST_LINE_BYTES + http_response.STEP_BYTES:
                raise RegistryFailed("a line of the response is too long")
            if b"\n" not in piece:
                continue
            *whole, last = rest.split(b"\n")
            rest = bytearray(last)
            for line in whole:
                if line.strip():
                    yield bytes(line)


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
            response = Response(await http_response.read_response(reader))
            if response.status != 200:
                raise RegistryFailed(f"status {response.status}", response.status)
            yield response
    except TimeoutError:
        raise RegistryFailed(f"no response within {limit_s:g} s") from None
    except http_response.HttpFailed as error:
        raise RegistryFailed(str(error)) from None
    except (OSError, EOFError, ValueError) as error:
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
