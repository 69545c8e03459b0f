"""Requests that hooks and tasks make: what they may fail with, and bodies that are made while they are sent.

How it works: `fetch` is the engine's own function. It gives an awaitable that the engine drives itself while a hook
waits for it, so that asyncio is not asked. Only a body that is an async iterator needs a task of its own, here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate._core import FetchResponse, Upload

__all__ = [
    "FetchClosed",
    "FetchConnectError",
    "FetchError",
    "FetchProtocolError",
    "FetchRedirectError",
    "FetchRefused",
    "FetchTimeout",
    "FetchTooLarge",
]


class FetchError(Exception):
    """A fetch failed: there is no response, or not all of it."""

    retry_safe: bool = False
    """Whether the server cannot have acted on the request, so that it can safely be retried."""


class FetchRefused(FetchError, ValueError):
    """The fetch was refused: an invalid URL, an address that is not public, too many concurrent fetches, or a loop."""


class FetchConnectError(FetchError, ConnectionError):
    """The connection to the server could not be established."""


class FetchTimeout(FetchError, TimeoutError):
    """A step took longer than the timeout."""


class FetchClosed(FetchError, ConnectionError):
    """The server closed the connection before its response was complete."""


class FetchProtocolError(FetchError):
    """The server's response violates HTTP."""


class FetchTooLarge(FetchError):
    """The body is larger than the limit."""


class FetchRedirectError(FetchError):
    """Too many redirects, or a redirect to a URL that is not allowed."""


async def send(
    response: Awaitable[FetchResponse], upload: Upload, body: AsyncIterable[bytes]
) -> FetchResponse:
    """Waits for the response while the request body is sent; the server may respond before the body is complete."""
    feeding = asyncio.ensure_future(_feed(upload, body))
    _FEEDING.add(feeding)
    feeding.add_done_callback(_fed)
    try:
        return await response
    except BaseException:
        if not feeding.done():
            feeding.cancel()
            await asyncio.wait([feeding])
        if not feeding.cancelled() and (error := feeding.exception()):
            # the body's own error is why the request was cut
            raise error from None
        raise


_FEEDING: set[asyncio.Future[None]] = set()
"""asyncio holds tasks weakly."""


async def _feed(upload: Upload, body: AsyncIterable[bytes]) -> None:
    try:
        async for piece in body:
            if not await upload.send(piece):
                return
        await upload.end()
    finally:
        upload.close()
        if hasattr(body, "aclose"):
            await body.aclose()


def _fed(feeding: asyncio.Future[None]) -> None:
    _FEEDING.discard(feeding)
    if not feeding.cancelled() and (error := feeding.exception()):
        logging.getLogger("headgate.client").debug("the body of a fetch raised", exc_info=error)
