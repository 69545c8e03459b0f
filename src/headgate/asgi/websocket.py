"""One WebSocket between the engine and an application (RFC 6455; ASGI WebSocket specification 2.4).

How it works: the hook's response is a 101 whose body is the engine's raw stream; from then on the bytes both ways come
through that, and `wsproto` makes messages of them. One message is read at a time, so a slow application holds its
client back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from headgate._core import RawStream
from headgate.message import Response

from .http import RawResponse, response_fields

if TYPE_CHECKING:
    from headgate._core import Request

try:
    import wsproto.connection as ws
    import wsproto.events as events
    from wsproto.extensions import PerMessageDeflate
    from wsproto.handshake import server_extensions_handshake
    from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token
except ImportError:  # pragma: no cover - the extra `asgi` is not installed
    ws = None  # type: ignore[assignment]

MAX_MESSAGE_BYTES = 16 << 20
PING_S = 20.0
"""How often an idle client is pinged, before the gateway treats the connection as dead."""

logger = logging.getLogger("headgate.asgi")


class WebSocketExchange:
    """The `receive` and `send` of one WebSocket, and the response for the hook."""

    def __init__(self, request: Request) -> None:
        headers = request.headers
        self._key = headers.get("sec-websocket-key", "")
        self._offered = headers.get_all("sec-websocket-extensions")
        self.subprotocols = [
            name.strip()
            for value in headers.get_all("sec-websocket-protocol")
            for name in value.split(",")
            if name.strip()
        ]
        self.refusal = _refusal(request, self._key)
        self._response: asyncio.Future[Response | RawResponse] = asyncio.get_running_loop().create_future()
        self._stream: RawStream | None = None
        self._connection: Any = None
        self._messages: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._parts: list[str | bytes] = []
        self._size = 0
        self._is_closed = False
        self._denial: dict[str, Any] | None = None
        self._denial_body = b""
        self._writing = asyncio.Lock()
        self._ping: asyncio.TimerHandle | None = None

    async def response(self) -> Response | RawResponse:
        """The 101, or the refusal, once the application has decided."""
        try:
            return await self._response
        except asyncio.CancelledError:
            self._is_closed = True
            self._messages.append({"type": "websocket.disconnect", "code": 1006})
            raise

    # --- for the application

    async def receive(self) -> dict[str, Any]:
        """The next message; the last is a disconnect, which stays."""
        while not self._messages:
            if self._is_closed or self._stream is None:
                return {"type": "websocket.disconnect", "code": 1006}
            await self._read()
        if self._messages[0]["type"] == "websocket.disconnect":
            return self._messages[0]
        return self._messages.popleft()

    async def send(self, message: dict[str, Any]) -> None:
        """Accepts, sends, closes or refuses."""
        kind = message["type"]
        if self._stream is None:
            self._decide(kind, message)
        elif self._is_closed:
            raise OSError("the WebSocket is closed")
        elif kind == "websocket.send":
            text, data = message.get("text"), message.get("bytes")
            await self._write(
                events.TextMessage(data=text) if text is not None else events.BytesMessage(data=data or b"")
            )
        elif kind == "websocket.close":
            await self._close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise RuntimeError(f"`{kind}` is not expected here")

    def ended(self, task: asyncio.Future[Any]) -> None:
        """The application has returned or raised."""
        error = None if task.cancelled() else task.exception()
        if not self._response.done():
            if error is not None:
                self._response.set_exception(error)
            else:
                self._response.set_result(Response(500 if task.cancelled() else 403))
        elif error is not None and not isinstance(error, OSError):
            logger.error("an application raised in a WebSocket", exc_info=error)
        if self._stream is not None and not self._is_closed:
            closing = asyncio.ensure_future(self._close(1000 if error is None else 1011, ""))
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())
        elif self._ping is not None:
            self._ping.cancel()

    # --- how it begins

    def _decide(self, kind: str, message: dict[str, Any]) -> None:
        if self._response.done():
            if kind == "websocket.http.response.body":
                return
            raise OSError("the WebSocket was refused")
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._is_closed = True
            self._response.set_result(Response(403))
        elif kind == "websocket.http.response.start":
            self._denial = message
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._denial_body += message.get("body", b"")
            if not message.get("more_body", False):
                self._is_closed = True
                fields = response_fields(self._denial.get("headers", ()))
                self._response.set_result(RawResponse(int(self._denial["status"]), fields, self._denial_body))
        else:
            raise RuntimeError(f"`{kind}` is not expected here")

    def _accept(self, message: dict[str, Any]) -> None:
        deflate = PerMessageDeflate()
        agreed = server_extensions_handshake(
            [part.strip() for value in self._offered for part in value.split(",")], [deflate]
        )
        self._stream = RawStream()
        self._connection = ws.Connection(ws.ConnectionType.SERVER, [deflate] if agreed else [])
        fields = response_fields(message.get("headers", ()))
        fields.append((b"sec-websocket-accept", generate_accept_token(self._key.encode())))
        if agreed:
            fields.append((b"sec-websocket-extensions", agreed))
        if subprotocol := message.get("subprotocol"):
            fields.append((b"sec-websocket-protocol", subprotocol.encode()))
        response = RawResponse(101, fields, self._stream)
        self._response.set_result(response)
        self._schedule_ping()

    # --- messages

    async def _read(self) -> None:
        assert self._stream is not None  # an accepted WebSocket has one
        data = await self._stream.read()
        if not data:
            return self._disconnect(1006, "")
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                await self._handle(event)
        except RemoteProtocolError as error:
            await self._close(int((getattr(error, "event_hint", None) and 1002) or 1002), "")

    async def _handle(self, event: Any) -> None:
        if isinstance(event, events.Ping):
            await self._write(event.response())
        elif isinstance(event, events.CloseConnection):
            if not self._is_closed:
                await self._write(event.response())
            self._disconnect(event.code or 1005, event.reason or "")
        elif isinstance(event, events.Message):
            self._parts.append(event.data)
            self._size += len(event.data)
            if self._size > MAX_MESSAGE_BYTES:
                await self._close(1009, "the message is too large")
            elif event.message_finished:
                parts, self._parts, self._size = self._parts, [], 0
                if isinstance(event, events.TextMessage):
                    self._messages.append({"type": "websocket.receive", "text": "".join(map(str, parts))})
                else:
                    self._messages.append({"type": "websocket.receive", "bytes": b"".join(map(bytes, parts))})  # type: ignore[arg-type]

    async def _write(self, event: Any) -> None:
        assert self._stream is not None  # an accepted WebSocket has one
        async with self._writing:
            try:
                data = self._connection.send(event)
            except LocalProtocolError as error:
                raise OSError("the WebSocket is closed") from error
            if not await self._stream.write(data):
                self._disconnect(1006, "")
                raise OSError("the client has disconnected")

    async def _close(self, code: int, reason: str) -> None:
        if self._is_closed:
            return
        try:
            await self._write(events.CloseConnection(code=code, reason=reason))
        except OSError:
            pass
        self._disconnect(code, reason)

    def _disconnect(self, code: int, reason: str) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._messages.append({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self._ping is not None:
            self._ping.cancel()
        if self._stream is not None:
            self._stream.close()

    def _schedule_ping(self) -> None:
        self._ping = asyncio.get_running_loop().call_later(PING_S, self._send_ping)

    def _send_ping(self) -> None:
        if not self._is_closed:
            sending = asyncio.ensure_future(self._write(events.Ping()))
            sending.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._schedule_ping()


def _refusal(request: Request, key: str) -> Response | None:
    if ws is None:
        logger.error("a WebSocket was refused; hint: pip install 'headgate[asgi]'")
        return Response(501, "WebSockets need the extra `asgi`")
    if request.headers.get("sec-websocket-version") != "13":
        return Response(426, "this is WebSocket version 13", headers={"sec-websocket-version": "13"})
    if request.method != "GET" or len(key) != 24:
        return Response(400, "this is no WebSocket handshake")
    return None
