"""What goes over a tunnel: frames of streams, each in one binary WebSocket message (RFC 6455). Pure: bytes in and out.

How it works: a frame is a kind (1 byte), the number of a stream (4 bytes), and a payload. Streams are opened by the
gateway only. Each side may send as much of a stream as the other has granted: `WINDOW_BYTES`, and then what each
WINDOW frame adds. So a stream whose receiver is slow stands still by itself, and holds no other.

| kind   | payload               | meaning                                                       |
|--------|-----------------------|---------------------------------------------------------------|
| OPEN   | the exposed name      | connect to it; OPENED or REFUSED comes back                   |
| OPENED |                       | connected                                                     |
| REFUSED | the reason           | not connected; the number is free                             |
| DATA   | bytes                 |                                                               |
| WINDOW | a count, 4 bytes      | so many more bytes may be sent                                |
| END    |                       | no more bytes from this side                                  |
| RESET  |                       | the stream is over at once, in both directions                |
| PING   | up to 8 bytes         | PONG with the same bytes comes back                           |
| PONG   |                       |                                                               |
| LEAVE  |                       | no further stream will be opened here: dial another tunnel    |
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Iterator

WINDOW_BYTES = 256 * 1024
"""Of a stream that nobody has read yet, in each direction."""
PIECE_BYTES = 64 * 1024
"""The most that one DATA frame carries, so that streams take turns."""
MOST_MESSAGE_BYTES = 2 * PIECE_BYTES
PROTOCOL = "headgate-tunnel.1"
"""The WebSocket subprotocol."""

_HEAD = struct.Struct(">BI")
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA


class Kind(enum.IntEnum):
    """What a frame is."""

    OPEN = 1
    OPENED = 2
    REFUSED = 3
    DATA = 4
    WINDOW = 5
    END = 6
    RESET = 7
    PING = 8
    PONG = 9
    LEAVE = 10


class ProtocolError(ValueError):
    """The peer does not speak this protocol."""


class Closed(Exception):
    """The peer has closed the WebSocket."""


class Writing:
    """Makes messages; those of a client are masked, each with a new key that nobody foresees (RFC 6455 section 5.3)."""

    def __init__(self, *, is_client: bool) -> None:
        self._is_client = is_client

    def frame(self, kind: Kind, stream: int, payload: bytes | memoryview = b"") -> bytes:
        """One frame, as it goes over the connection."""
        return self._message(_BINARY, _HEAD.pack(kind, stream) + payload)

    def pong(self, payload: bytes) -> bytes:
        """The reply to a ping of the WebSocket."""
        return self._message(_PONG, payload)

    def close(self) -> bytes:
        """The end of the WebSocket, with the code 1000."""
        return self._message(_CLOSE, b"\x03\xe8")

    def _message(self, opcode: int, payload: bytes) -> bytes:
        mask = 0x80 if self._is_client else 0
        count = len(payload)
        if count < 126:
            head = bytes((0x80 | opcode, mask | count))
        elif count < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, mask | 126, count)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, mask | 127, count)
        if not mask:
            return head + payload
        key = os.urandom(4)
        return head + key + masked(payload, key)


class Reading:
    """Takes bytes as they come, and gives frames."""

    def __init__(self, *, is_client: bool) -> None:
        self._is_client = is_client
        self._buffer = bytearray()
        self._parts: bytearray | None = None
        """Of a message that came in several WebSocket frames."""
        self.ping: bytes | None = None
        """The last ping of the WebSocket, which somebody between the two may send, and which wants a pong (RFC 6455
        section 5.5.3).
        """

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """The frames that are complete now; raises `ProtocolError` or `Closed`."""
        self._buffer += data
        while (message := self._next()) is not None:
            opcode, is_last, payload = message
            if opcode == _CLOSE:
                raise Closed
            if opcode == _PING:
                self.ping = payload
            elif opcode != _PONG:
                yield from self._whole(opcode, is_last, payload)

    def _whole(self, opcode: int, is_last: bool, payload: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        if (opcode == _CONTINUATION) == (self._parts is None) or opcode not in (_CONTINUATION, _BINARY):
            raise ProtocolError("the message is not binary, or its parts are out of order")
        if self._parts is not None or not is_last:
            self._parts = self._parts if self._parts is not None else bytearray()
            self._parts += payload
            if len(self._parts) > MOST_MESSAGE_BYTES:
                raise ProtocolError("the message is too long")
            if not is_last:
                return
            payload, self._parts = bytes(self._parts), None
        if len(payload) < _HEAD.size:
            raise ProtocolError("the message is too short for a frame")
        kind, stream = _HEAD.unpack_from(payload)
        try:
            yield Kind(kind), stream, payload[_HEAD.size :]
        except ValueError:
            raise ProtocolError(f"there is no frame of kind {kind}") from None

    def _next(self) -> tuple[int, bool, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70 or bool(second & 0x80) == self._is_client:
            raise ProtocolError("the WebSocket frame is malformed")
        at, count = 2, second & 0x7F
        if count >= 126:
            wide = 2 if count == 126 else 8
            if len(buffer) < at + wide:
                return None
            count = int.from_bytes(buffer[at : at + wide])
            at += wide
        if count > MOST_MESSAGE_BYTES or (first & 0x08 and count > 125):
            raise ProtocolError("the message is too long")
        if first & 0x88 == 0x08:
            raise ProtocolError("a control frame is in parts")
        start = at if self._is_client else at + 4
        if len(buffer) < start + count:
            return None
        payload = bytes(memoryview(buffer)[start : start + count])
        if not self._is_client:
            payload = masked(payload, bytes(buffer[at:start]))
        del buffer[: start + count]
        return first & 0x0F, bool(first & 0x80), payload


def masked(data: bytes, key: bytes) -> bytes:
    """`data` with the mask put on, or taken off."""
    count = len(data)
    pad = (key * (count // 4 + 1))[:count]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(count, "little")
