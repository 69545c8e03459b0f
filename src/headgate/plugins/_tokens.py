"""Tokens that a service gives to the gateway itself: asked for once, used until shortly before they expire."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from headgate import PluginContext

from ._services import Service

EARLY = 60.0
"""Seconds before its end from which on a token is replaced."""
SHORTEST_PAUSE = 1.0
TOKEN_BYTES = 16_384


class Token(NamedTuple):
    """A token, and until when it is good, in seconds of the monotonic clock."""

    text: str
    until: float


class Tokens:
    """One token for all requests of a worker; only one of them asks for the next, and none while that failed just now.

    While a new one cannot be had, the one before is used as long as it is good.
    """

    def __init__(
        self,
        context: PluginContext,
        url: str,
        form: Callable[[], dict[str, str]],
        member: str,
        timeout: float,
    ) -> None:
        self._service = Service(context, url, timeout=timeout, max_body_bytes=4 * TOKEN_BYTES)
        self._form, self._member = form, member
        self._log = context.log
        self._token: Token | None = None
        self._asking = asyncio.Lock()
        self._pause_until = 0.0
        self._clock: Callable[[], float] = time.monotonic

    async def current(self) -> str | None:
        """A token that is good; `None` if there is none."""
        if (token := self._token) is None or token.until - self._clock() < EARLY:
            async with self._asking:
                token = self._token
                is_old = token is None or token.until - self._clock() < EARLY
                if is_old and self._clock() >= self._pause_until:
                    token = self._token = await self._next() or token
        return token.text if token is not None and token.until > self._clock() else None

    async def _next(self) -> Token | None:
        now = self._clock()
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        decision = await self._service.ask(method="POST", headers=headers, body=urlencode(self._form()))
        self._pause_until = self._clock() + SHORTEST_PAUSE
        if decision is None:
            return None
        token, seconds = _read(decision.body, self._member) if decision.status == 200 else ("", 0)
        if not token:
            self._log.error("no token was given", extra={"status": decision.status})
            return None
        return Token(token, now + seconds)


def _read(body: bytes | None, member: str) -> tuple[str, float]:
    """The token in a response, and its seconds; empty where it has none that can stand in a field."""
    try:
        said: Any = json.loads(body or b"")
        token, seconds = said[member], float(said.get("expires_in", 3600))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", 0
    is_plain = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    return (token, max(seconds, 0)) if is_plain and 0 < len(token) <= TOKEN_BYTES else ("", 0)
