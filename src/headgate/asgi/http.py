"""One HTTP request and its response, between the engine and an application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from headgate._digits import whole_number

if TYPE_CHECKING:
    from headgate._core import Request

FRAMING = frozenset(
    (b"connection", b"content-length", b"keep-alive", b"te", b"transfer-encoding", b"upgrade")
)
WITHOUT_BODY = frozenset((204, 205, 304))
INCOMPLETE = "the application returned without a complete response"
GRACE_S = 30.0
"""How long an application may continue after its client has disconnected."""

logger = logging.getLogger("headgate.asgi")


class HttpExchange:
    """The `receive` and `send` of one request, and the response for the hook."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._pieces: AsyncIterator[bytes] | None = None
        self._has_body = True
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._missing: int | None = None
        """Bytes of its declared Content-Length that the application has still to send."""
        self._first = b""
        self._is_complete = False
        self._error: BaseException | None = None
        self._stream: _BodyStream | None = None  # made for a response in pieces only: the two know each other
        self._begun: asyncio.Future[None] | None = None
        self._gone: asyncio.Event | None = None
        self._is_gone = False
        self._task: asyncio.Future[Any] | None = None

    # --- for the application

    async def receive(self) -> dict[str, Any]:
        """The next piece of the request's body; after it, waits for a disconnect or the end of the response."""
        if self._is_gone or self._is_complete:
            return {"type": "http.disconnect"}
        if self._has_body:
            if self._pieces is None:
                self._pieces = aiter(self._request.stream(keep=False))
            try:
                async for piece in self._pieces:
                    return {"type": "http.request", "body": piece, "more_body": True}
            except RuntimeError:
                # nor is the body read any more when the response is over, or cut
                if self._headers is None:
                    raise
                return {"type": "http.disconnect"}
            self._has_body = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._gone is None:
            self._gone = asyncio.Event()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Starts or continues the response; waits until the client has taken the previous chunks."""
        kind = message["type"]
        if kind == "http.response.start" and self._headers is None:
            self._status = int(message["status"])
            self._headers = response_fields(message.get("headers", ()))
            if self._request.method != "HEAD" and self._status not in WITHOUT_BODY:
                self._missing = declared_length(message.get("headers", ()))
        elif kind == "http.response.body" and self._headers is not None and not self._is_complete:
            await self._body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"`{kind}` is not expected here")

    async def _body(self, piece: bytes, has_more: bool) -> None:
        if self._is_gone:
            raise OSError("the client has disconnected")
        if self._missing is not None:
            self._missing -= len(piece)
            if self._missing < 0 or (self._missing and not has_more):
                raise RuntimeError(
                    f"the response is {'longer' if self._missing < 0 else 'shorter'} than its Content-Length"
                )
        if not has_more:
            self._is_complete = True
        if self._stream is not None:
            await self._stream.put(bytes(piece))
            if not has_more:
                self._stream.end()
        else:
            self._first = bytes(piece)
            if has_more:
                self._stream = _BodyStream(self)
            self._begin()
        if self._is_complete and self._gone is not None:
            self._gone.set()

    # --- for the hook

    def ended(self, task: asyncio.Future[Any]) -> None:
        """The application has returned or raised."""
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._is_gone:
            # the error is of no use, and its traceback would keep alive what the application held
            error = asyncio.CancelledError()
        elif self._is_complete:
            if error is not None:
                logger.error("an application raised after its response", exc_info=error)
            return
        self._error = error or RuntimeError(INCOMPLETE)
        if self._stream is not None:
            self._stream.end(self._error)
        self._begin()

    def at_once(self, error: Exception | None = None) -> RawResponse:
        """The response of an application that has returned, or raised, already."""
        if not self._is_complete:
            raise error or RuntimeError(INCOMPLETE)
        if error is not None:
            logger.error("an application raised after its response", exc_info=error)
        return self._response()

    async def response(self) -> RawResponse:
        """The response, as soon as it begins."""
        if not self._is_complete and self._stream is None and self._error is None:
            self._begun = asyncio.get_running_loop().create_future()
            try:
                await self._begun
            except asyncio.CancelledError:
                self.leave()
                raise
        if not self._is_complete and self._stream is None:
            raise cast(BaseException, self._error)
        return self._response()

    def _response(self) -> RawResponse:
        body = self._first if self._stream is None else self._stream
        return RawResponse(self._status, self._headers or [], body)

    def leave(self) -> None:
        """The client has disconnected: the application is notified, and cancelled after a while."""
        self._is_gone = True
        if self._gone is not None:
            self._gone.set()
        if self._stream is not None:
            self._stream.leave()
        if self._task is not None and not self._task.done():
            asyncio.get_running_loop().call_later(GRACE_S, self._task.cancel)

    def of(self, task: asyncio.Future[Any]) -> None:
        """The task that runs the application."""
        self._task = task

    def take_first(self) -> bytes:
        """The piece that came with the head."""
        first, self._first = self._first, b""
        return first

    def _begin(self) -> None:
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(None)


class _BodyStream:
    """The pieces of a response on their way to the client, one at a time."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._has_begun = False
        self._piece: bytes | None = None
        self._is_ended = False
        self._error: BaseException | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._taken: asyncio.Future[None] | None = None

    async def put(self, piece: bytes) -> None:
        """Gives a piece and waits until the one before it is taken."""
        while self._piece is not None and not self._exchange._is_gone:
            self._taken = asyncio.get_running_loop().create_future()
            await self._taken
        if self._exchange._is_gone:
            raise OSError("the client has disconnected")
        if piece:
            self._piece = piece
            _resolve(self._wanted)

    def end(self, error: BaseException | None = None) -> None:
        """There is no more; with an error the response is cut."""
        self._is_ended = True
        self._error = error
        _resolve(self._wanted)

    def leave(self) -> None:
        """The client has disconnected: further chunks are dropped."""
        _resolve(self._taken)

    def __aiter__(self) -> _BodyStream:
        return self

    async def __anext__(self) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            if first := self._exchange.take_first():
                return first
        while self._piece is None:
            if self._is_ended:
                if self._error is not None:
                    raise RuntimeError("the application failed during its response") from self._error
                raise StopAsyncIteration
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted
        piece, self._piece = self._piece, None
        _resolve(self._taken)
        return piece

    async def aclose(self) -> None:
        """The engine stops reading: the client has disconnected."""
        self._exchange.leave()


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def response_fields(raw: Any) -> list[tuple[bytes, bytes]]:
    """What an application says of its response, less what the engine writes; the engine checks the rest."""
    return [(bytes(name), bytes(value)) for name, value in raw if name.lower() not in FRAMING]


def declared_length(raw: Any) -> int | None:
    """What an application says of the length of its body: the client hears no other end than that one."""
    for name, value in raw:
        if name.lower() == b"content-length":
            length = whole_number(bytes(value))
            if length is None:
                raise ValueError(
                    f"`{bytes(value)[:40]!r}` is not a content-length; hint: decimal digits alone"
                )
            return length
    return None


class RawResponse:
    """A response whose fields are bytes already, for the engine."""

    __slots__ = ("body", "raw_headers", "status")

    def __init__(self, status: int, raw_headers: list[tuple[bytes, bytes]], body: Any) -> None:
        self.status = status
        self.raw_headers = raw_headers
        self.body = body
