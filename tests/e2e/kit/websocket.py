"""WebSockets for tests: a server of the library `websockets`, and a client that sends the very frames it is given."""

import asyncio
import base64
import hashlib
import os
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .client import RawClient
from .net import Address

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(connection: ServerConnection) -> None:
    """Sends every message back."""
    async for message in connection:
        await connection.send(message)


class WebSocketServer:
    """A server in a thread of its own. `closes` gets the code and reason of every WebSocket that ended."""

    def __init__(self, handler: Handler = echo, **options: object) -> None:
        self._handler, self._options = handler, {"max_size": None, "ping_interval": None, **options}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._main(),), daemon=True
        )
        self.address: Address = ""
        self.closes: list[tuple[int, str]] = []
        self.messages: list[str | bytes] = []
        self.headers: list[Mapping[str, str]] = []

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers.append(dict(connection.request.headers.raw_items()))
        try:
            await self._handler(connection)
            await connection.wait_closed()
        except ConnectionClosed:
            pass
        finally:
            self.closes.append((connection.close_code or 0, connection.close_reason or ""))

    async def _main(self) -> None:
        async with serve(self._serve, "127.0.0.1", 0, **self._options) as server:  # type: ignore[arg-type]
            host, port = next(iter(server.sockets)).getsockname()[:2]
            self.address = f"{host}:{port}"
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=30)
        self._loop.close()


@dataclass(frozen=True)
class Frame:
    """A frame as it came."""

    opcode: int
    payload: bytes
    is_final: bool = True
    first: int = 0

    @property
    def code(self) -> int:
        """The code of a close frame; 1005 without one."""
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005

    @property
    def text(self) -> str:
        """The payload as text."""
        return self.payload.decode()


def frame(
    opcode: int, payload: bytes = b"", *, final: bool = True, mask: bool = True, reserved: int = 0
) -> bytes:
    """A frame, masked as clients do."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    length, extended = len(payload), b""
    if length > 65535:
        length, extended = 127, struct.pack("!Q", length)
    elif length > 125:
        length, extended = 126, struct.pack("!H", length)
    if not mask:
        return bytes([first, length]) + extended + payload
    key = b"\x11\x22\x33\x44"
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes([first, 0x80 | length]) + extended + key + masked


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A close frame with a code."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


class RawWebSocket(RawClient):
    """A client connection that has asked for a WebSocket on `target`."""

    def __init__(
        self,
        address: Address,
        target: str = "/ws",
        *,
        fields: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(address, 20, receive_buffer=receive_buffer)
        self.key = base64.b64encode(os.urandom(16)).decode()
        asked = {
            "Host": "gate.test",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": self.key,
            **(fields or {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in asked.items() if value)
        self.send(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
        self.response = self.response()

    def is_accepted(self) -> bool:
        """Whether the response is the right 101."""
        return self.response.status == 101 and self.response.get("sec-websocket-accept") == accept(self.key)

    def frame(self) -> Frame:
        """Reads one frame."""
        first, length = self.read_exactly(2)
        assert not length & 0x80, "a server does not mask"
        if length == 126:
            length = struct.unpack("!H", self.read_exactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.read_exactly(8))[0]
        return Frame(first & 15, self.read_exactly(length), bool(first & 0x80), first)

    def ask(self, text: str) -> str:
        """Sends a text and gives the next one."""
        self.send(frame(TEXT, text.encode()))
        return self.frame().text


def accept(key: str) -> str:
    """What a server sends for a key (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()
