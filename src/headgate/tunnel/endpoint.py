"""Where tunnels come in: the handshake of one connection, and whose token opens what."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from .handshake import MOST_HEAD_BYTES, Asked, Refused, accepted, accepted_reversed, asked, refused

HANDSHAKE_S = 10.0
"""For the whole request of a client."""

log = logging.getLogger("headgate.tunnel")


class Token(NamedTuple):
    """Who may expose what."""

    digest: bytes
    """SHA-256 of the token."""
    name: str
    """Whose it is, for logs."""
    names: frozenset[str]
    most: int = 100
    """Tunnels that may be open with it."""


def owner_of(wanted: Asked, tokens: Sequence[Token]) -> Token:
    """The token that was given; raises `Refused` if there is no such one, or it may not expose what is asked."""
    digest = hashlib.sha256(wanted.token.encode("latin-1")).digest()
    found = [one for one in tokens if hmac.compare_digest(one.digest, digest)]
    if not found:
        raise Refused(401, "the token is not valid")
    if foreign := [name for name in wanted.names if name not in found[0].names]:
        raise Refused(403, f"the token may not expose `{foreign[0]}`")
    return found[0]


class Handshake(asyncio.Protocol):
    """One connection until it is a tunnel, or beside one; `made` gives what takes over."""

    def __init__(
        self, check: Callable[[Asked], Token], made: Callable[[Asked, Token], asyncio.Protocol]
    ) -> None:
        self._check, self._made = check, made
        self._head = bytearray()
        self._transport: asyncio.Transport | None = None
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        self._limit = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._limit:
            self._limit.cancel()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        transport = self._transport
        if transport is None or (not end and len(self._head) <= MOST_HEAD_BYTES):
            return
        if self._limit:
            self._limit.cancel()
        try:
            if not end:
                raise Refused(400, "the head is too long")
            wanted = asked(bytes(head))
            token = self._check(wanted)
        except Refused as error:
            log.warning("tunnel refused: %s", error.reason)
            transport.write(refused(error))
            transport.close()
            return
        transport.write(accepted_reversed(wanted.names[0]) if wanted.is_reversed else accepted(wanted.key))
        made = self._made(wanted, token)
        transport.set_protocol(made)
        made.connection_made(transport)
        if rest:
            made.data_received(bytes(rest))
