"""The protocol between the dispatcher and its workers: frames on a connection that was upgraded to `headgate-pull/1`.

A frame is a letter, the length of its payload (4 bytes, the highest first), and the payload. One request is on a
connection at a time:

| frame   | from       | payload                                                                                  |
|---------|------------|------------------------------------------------------------------------------------------|
| `ready` | worker     | none: it is idle, and takes a request                                                     |
| `job`   | dispatcher | JSON: `method`, `target`, `headers` (pairs), `has_body`, `attempt`, `timeout` (seconds),      |
|         |            | and `announcement` if it was handed out for one                                          |
| `busy`  | worker     | none: the `job` was not begun, and is another worker's                                    |
| `data`  | both       | a part of the body                                                                       |
| `end`   | both       | none: the body is complete; not sent by the dispatcher if the request has none           |
| `taken` | worker     | 4 bytes: so much more of the request's body has been used                                |
| `head`  | worker     | JSON: `status`, `headers` (pairs)                                                        |
| `fail`  | worker     | text: the response that has begun cannot be completed                                    |
| `cancel`| dispatcher | none: nobody waits for the response any more; the worker says `ready` when it has stopped |
| `ping`  | dispatcher | any; a `pong` with the same comes back                                                   |
| `leave` | both       | none: connect again, after the request in progress; from a worker: hand out nothing more |

The dispatcher sends at most `WINDOW` bytes of a body that the worker has not said to have `taken`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

PROTOCOL: Final = "headgate-pull/1"
"""The name in the Upgrade header field."""

READY, JOB, DATA, END, TAKEN = b"R", b"J", b"D", b"E", b"A"
HEAD, FAIL, CANCEL, PING, PONG, LEAVE, BUSY = b"H", b"X", b"C", b"P", b"O", b"G", b"B"

MAX_PAYLOAD: Final = 1 << 20
"""Of a frame, in bytes."""

PIECE: Final = 64 << 10
"""The most of a body in one `data` frame that this implementation sends, in bytes."""

WINDOW: Final = 256 << 10
"""Bytes of a request's body on their way to a worker."""

_HEADER = 5


class ProtocolError(ValueError):
    """The other side has sent what no frame is."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return kind + len(payload).to_bytes(4, "big") + payload


def told(kind: bytes, value: Any) -> bytes:
    """The bytes of a frame with JSON in it."""
    return frame(kind, json.dumps(value, separators=(",", ":")).encode())


def pieces(kind: bytes, body: bytes) -> Iterator[bytes]:
    """The frames that a body of any size is sent in."""
    for start in range(0, len(body), PIECE):
        yield frame(kind, body[start : start + PIECE])


def content(payload: bytes) -> dict[str, Any]:
    """The JSON object in a payload; raises `ProtocolError`."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ProtocolError("a frame without the JSON object that it must hold")
    return value


class Reader:
    """Takes bytes as they come, and gives the frames that are complete."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Takes what has arrived."""
        self._data += data

    def frames(self) -> Iterator[tuple[bytes, bytes]]:
        """The kinds and payloads of what is complete; raises `ProtocolError`."""
        while len(self._data) >= _HEADER:
            size = int.from_bytes(self._data[1:_HEADER], "big")
            if size > MAX_PAYLOAD:
                raise ProtocolError(f"a frame of {size} bytes; the limit is {MAX_PAYLOAD}")
            if len(self._data) < _HEADER + size:
                return
            kind, payload = bytes(self._data[:1]), bytes(self._data[_HEADER : _HEADER + size])
            del self._data[: _HEADER + size]
            yield kind, payload
