"""KEDA's external scaler (`externalscaler.proto`): what it asks, and what it is told. Pure.

How it works: gRPC as the gateway translates it to HTTP/1.1: one message in the body, the status in the trailers. The
messages have few fields, so that no library is needed to read and write them (protobuf.dev, "Encoding").

| method           | response                                                                    |
|------------------|-----------------------------------------------------------------------------|
| `IsActive`       | whether there are more requests than `activation`                           |
| `StreamIsActive` | the same, at each change                                                    |
| `GetMetricSpec`  | the metric `requests`, and how many of them one worker may have: `target`   |
| `GetMetrics`     | the requests that wait, and those that workers have                         |

`upstream`, `target` and `activation` are in the `metadata` of the trigger.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

SERVICE = "/externalscaler.ExternalScaler/"
CONTENT_TYPE = "application/grpc"
METRIC = "requests"
MOST_BYTES = 64 << 10
"""Of what KEDA sends."""

INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 3, 5, 12, 14
_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5


class Refused(Exception):
    """With the status of gRPC that says so."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Wanted(NamedTuple):
    """What the trigger says; see the module."""

    method: str
    upstream: str
    """Empty: the one that was asked."""
    target: float
    activation: float


def wanted(path: str, body: bytes) -> Wanted:
    """What a call asks for; raises `Refused`."""
    method = path.removeprefix(SERVICE)
    if method not in ("IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics"):
        raise Refused(UNIMPLEMENTED, f"there is no method {method[:100]}")
    if len(body) < 5 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
        raise Refused(INVALID_ARGUMENT, "the body is not one message")
    if body[0]:
        raise Refused(UNIMPLEMENTED, "compressed messages are not read")
    try:
        message = body[5:]
        if method == "GetMetrics":
            message = b"".join(value for number, value in _fields(message) if number == 1)
        metadata = dict(_entry(value) for number, value in _fields(message) if number == 3)
    except (ValueError, IndexError):
        raise Refused(INVALID_ARGUMENT, "the message is malformed") from None
    return Wanted(
        method,
        metadata.get("upstream", ""),
        _number(metadata, "target", 1.0, least=1e-6),
        _number(metadata, "activation", 0.0, least=0.0),
    )


def response(asked: Wanted, requests: int) -> bytes:
    """The message for one that has so many requests, in its frame."""
    if asked.method == "GetMetricSpec":
        whole = max(math.ceil(asked.target), 1)
        return _framed(_field(1, _field(1, METRIC.encode()) + _int(2, whole) + _double(3, asked.target)))
    if asked.method == "GetMetrics":
        return _framed(
            _field(1, _field(1, METRIC.encode()) + _int(2, requests) + _double(3, float(requests)))
        )
    return _framed(b"\x08\x01" if requests > asked.activation else b"")


def _number(metadata: dict[str, str], name: str, usual: float, *, least: float) -> float:
    text = metadata.get(name)
    if text is None:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= 1e9:
        raise Refused(INVALID_ARGUMENT, f"{name} of the trigger is not a valid number")
    return value


# ---- the encoding


def _framed(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | _I64) + struct.pack("<d", value)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number that is too long")


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields with bytes in them; others are passed over. Raises `ValueError`, `IndexError`."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _read_varint(data, at)
        elif kind in (_I64, _I32):
            at += 8 if kind == _I64 else 4
        elif kind == _BYTES:
            size, at = _read_varint(data, at)
            if size > len(data) - at:
                raise ValueError("a field that is not whole")
            yield key >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError("a field of an unknown kind")
    if at > len(data):
        raise ValueError("a field that is not whole")


def _entry(data: bytes) -> tuple[str, str]:
    """One of a map of texts."""
    found: dict[int, Any] = dict(_fields(data))
    return found.get(1, b"").decode(), found.get(2, b"").decode()
