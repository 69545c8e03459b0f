"""WebSockets in tests: a client of the gateway, and a server of an upstream. Needs `wsproto`."""

from __future__ import annotations

import asyncio
import base64
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .messages import Received, TestResponse
from .wire import HeaderFields, pairs, read_response, request_bytes

if TYPE_CHECKING:
    import wsproto.connection

    from .gateway import TestGateway

T = TypeVar("T")

Data = str | bytes
"""Text is `str`, anything else `bytes`."""

READ_BYTES = 65536


class WebSocketClosed(ConnectionError):
    """The peer has closed the WebSocket, with this code (1006 without a close frame) and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the WebSocket was closed with {code} {reason}".rstrip())
        self.code, self.reason = code, reason


class WebSocketRefused(ConnectionError):
    """The upgrade was refused: the response is not a 101."""

    def __init__(self, response: TestResponse) -> None:
        super().__init__(f"the WebSocket was refused: {response.status} {response.text}".rstrip())
        self.response = response


class AsyncWebSocket:
    """One end of an open WebSocket, for coroutines."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool
    ) -> None:
        connection = _wsproto()
        kind = connection.ConnectionType.CLIENT if is_client else connection.ConnectionType.SERVER
        self._reader, self._writer = reader, writer
        self._protocol: wsproto.connection.Connection = connection.Connection(kind)
        self._messages: deque[Data] = deque()
        self._parts: list[Any] = []
        self._end: WebSocketClosed | None = None

    async def receive(self) -> Data:
        """The next message; raises `WebSocketClosed` when there are no more."""
        while not self._messages:
            if self._end is not None:
                raise self._end
            data = await self._reader.read(READ_BYTES)
            self._protocol.receive_data(data or None)
            self._take()
        return self._messages.popleft()

    async def send(self, data: Data) -> None:
        """Sends a message; raises `WebSocketClosed` if it was closed."""
        from wsproto.events import BytesMessage, TextMessage

        if self._end is not None:
            raise self._end
        event = TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data)
        self._writer.write(self._protocol.send(event))
        await self._writer.drain()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes it, if it is open, and waits for the peer's close frame."""
        from wsproto.connection import ConnectionState
        from wsproto.events import CloseConnection

        if self._protocol.state is ConnectionState.OPEN:
            self._writer.write(self._protocol.send(CloseConnection(code=code, reason=reason)))
        while self._end is None:
            self._messages.clear()
            try:
                self._messages.append(await self.receive())
            except WebSocketClosed:
                break
        self.leave()

    def leave(self) -> None:
        """Closes the connection without a close frame."""
        self._writer.close()

    async def __aiter__(self) -> AsyncIterator[Data]:
        """The messages until the other side closes."""
        while True:
            try:
                yield await self.receive()
            except WebSocketClosed:
                return

    def _take(self) -> None:
        from wsproto import events

        for event in self._protocol.events():
            match event:
                case events.Message():
                    self._parts.append(event.data)
                    if event.message_finished:
                        empty: Any = "" if isinstance(event.data, str) else b""
                        self._messages.append(empty.join(self._parts))
                        self._parts.clear()
                case events.Ping():
                    self._writer.write(self._protocol.send(event.response()))
                case events.CloseConnection():
                    if self._protocol.state.name == "REMOTE_CLOSING":
                        self._writer.write(self._protocol.send(event.response()))
                    self._end = WebSocketClosed(int(event.code), event.reason or "")
                    self.leave()
                case _:
                    pass


class WebSocketClient:
    """A client's WebSocket in a test; calls wait for the gateway, at most 10 s."""

    def __init__(self, gateway: TestGateway, socket: AsyncWebSocket, response: TestResponse) -> None:
        self._gateway, self._socket = gateway, socket
        self._errors = len(gateway.hook_errors)
        self.response = response
        """The 101."""

    def send(self, data: Data) -> None:
        """Sends a message."""
        self._run(self._socket.send(data))

    def receive(self) -> Data:
        """The next message; raises `WebSocketClosed` when there are no more, or `HookRaised` if a hook has."""
        return self._run(self._socket.receive())

    def ask(self, data: Data) -> Data:
        """Sends a message and returns the next one that arrives."""
        self.send(data)
        return self.receive()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes it and waits for the gateway to do so; nothing if it is closed."""
        self._run(self._socket.close(code, reason))

    def leave(self) -> None:
        """Disconnects the client without a close frame."""
        self._socket.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.leave()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return self._gateway.run(coroutine)
        except WebSocketClosed:
            self._gateway._judge(self._errors, self._gateway._id_of(self.response))
            raise


Talk = Callable[[AsyncWebSocket], Awaitable[None]]


async def _echo(socket: AsyncWebSocket) -> None:
    async for message in socket:
        await socket.send(message)


@dataclass(frozen=True)
class WebSocketServer:
    """A WebSocket server for tests: `talk` is called for each WebSocket; by default it echoes messages."""

    talk: Talk = _echo
    subprotocol: str | None = None

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Received
    ) -> None:
        """Accepts an upgrade and exchanges messages; anything else gets 426."""
        from wsproto.utilities import generate_accept_token

        key = received.headers.get("sec-websocket-key")
        if key is None:
            writer.write(
                b"HTTP/1.1 426 Test\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        proof = generate_accept_token(key.encode()).decode()
        lines = [
            "HTTP/1.1 101 Test",
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Accept: {proof}",
        ]
        lines += [f"Sec-WebSocket-Protocol: {self.subprotocol}"] if self.subprotocol else []
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        socket = AsyncWebSocket(reader, writer, is_client=False)
        try:
            await self.talk(socket)
            await socket.close()
        except WebSocketClosed:
            pass


async def open_websocket(
    gateway: TestGateway, target: str, headers: HeaderFields, subprotocols: list[str], client: dict[str, Any]
) -> tuple[AsyncWebSocket, TestResponse]:
    """Asks the gateway for a WebSocket."""
    _wsproto()
    key = base64.b64encode(os.urandom(16)).decode()
    asked = [
        *pairs(headers),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ]
    if subprotocols:
        asked.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    reader, writer = await gateway.connect(**client)
    errors = len(gateway.hook_errors)
    writer.write(request_bytes("GET", target, asked, None))
    response = gateway._with_record(await read_response(reader, "GET"))
    gateway._judge(errors, gateway._id_of(response))
    if response.status != 101:
        writer.close()
        raise WebSocketRefused(response)
    return AsyncWebSocket(reader, writer, is_client=True), response


def _wsproto() -> Any:
    try:
        import wsproto.connection
    except ImportError:
        raise ImportError("WebSockets in tests need `wsproto`; hint: pip install 'headgate[asgi]'") from None
    return wsproto.connection
