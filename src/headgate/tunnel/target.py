"""What a client exposes, and where its gateway is: parsed from the command line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from headgate._digits import whole_number
from headgate.config.addresses import TUNNEL_ENDPOINT as ENDPOINT
from headgate.config.addresses import TUNNEL_NAME as NAME

LOCAL_S = 4.0
"""For the connection to a local server: the gateway waits for 5 s."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


Local = TypeVar("Local", bound=asyncio.Protocol)


class Target(NamedTuple):
    """Where the connections to an exposed name go: a host and a port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""


class Place(NamedTuple):
    """Where tunnels come in at a gateway."""

    host: str
    port: int
    path: str
    is_secure: bool

    @property
    def authority(self) -> str:
        """For the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


def exposed(text: str) -> tuple[str, Target]:
    """`name=localhost:8888`, `name=8888` or `name=unix:/run/app.sock`; raises `ValueError`."""
    name, equals, address = text.partition("=")
    if not equals or not NAME.fullmatch(name) or name == ENDPOINT:
        raise ValueError(f"`{text}` does not say what to expose\n  hint: write `name=localhost:8888`")
    if address.startswith("unix:/"):
        return name, Target("", 0, address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "localhost"
    if not 1 <= (whole_number(port) or 0) <= 65535:
        raise ValueError(f"`{address}` is not an address\n  hint: write `name=localhost:8888`")
    return name, Target(host, int(port))


def place(url: str, *, is_plain_allowed: bool = False) -> Place:
    """The address of a tunnel endpoint, as `https://gateway.example.com/_tunnel`; raises `ValueError`."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    is_text = re.fullmatch(r"[\x21-\x7e]+", url)
    if (
        not is_text
        or parts.scheme not in ("https", "http")
        or not parts.hostname
        or parts.username is not None
    ):
        raise ValueError(f"`{url}` is not a gateway\n  hint: write `https://gateway.example.com/_tunnel`")
    is_secure = parts.scheme == "https"
    if not is_secure and not is_plain_allowed and parts.hostname not in LOOPBACK:
        raise ValueError("the token would be sent without TLS\n  hint: write `https://`, or add `--plain`")
    path = f"{parts.path or '/_tunnel'}{'?' + parts.query if parts.query else ''}"
    return Place(parts.hostname, parts.port or (443 if is_secure else 80), path, is_secure)


async def connected(target: Target, made: Callable[[], Local]) -> Local:
    """A connection to what is exposed; raises OSError, `TimeoutError`, `UnicodeError`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(LOCAL_S):
        if target.path:
            return (await loop.create_unix_connection(made, target.path))[1]
        dialled = loop.create_connection(made, target.host, target.port, happy_eyeballs_delay=0.25)
        return (await dialled)[1]
