"""Where a worker connects to: the URL of a route of the gateway, or a Unix socket."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

HINT = "write `https://gateway.example/_workers`, `http://127.0.0.1:8080/_workers` or `unix:/run/gate.sock`"


class Place(NamedTuple):
    """A URL taken apart."""

    host: str
    port: int
    """0 for a Unix socket, whose path is `host`."""
    target: str
    is_secure: bool

    @property
    def authority(self) -> str:
        """For the Host field."""
        if not self.port:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


def parsed(url: str) -> Place:
    """`http://`, `https://`, or `unix:/path` with the path of the route behind a `:`; raises `ValueError`."""
    if url.startswith("unix:/"):
        path, _, target = url.removeprefix("unix:").partition(":")
        return Place(path, 0, target or "/", is_secure=False)
    parts = urlsplit(url)
    if not re.fullmatch(r"[\x21-\x7e]+", url):
        raise ValueError(f"`{url}` is not the URL of a gateway\n  hint: {HINT}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or parts.username:
        raise ValueError(f"`{url}` is not the URL of a gateway\n  hint: {HINT}")
    is_secure = parts.scheme == "https"
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    return Place(parts.hostname, parts.port or (443 if is_secure else 80), target, is_secure)


async def opened(
    place: Place, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection there; raises OSError."""
    if not place.port:
        return await asyncio.open_unix_connection(place.host)
    if not place.is_secure:
        return await asyncio.open_connection(place.host, place.port)
    return await asyncio.open_connection(
        place.host, place.port, ssl=context or ssl.create_default_context(), server_hostname=place.host
    )
