"""HTTP/1.1 between the gateway's workers and the dispatcher: both are ours, so what comes is well formed."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

from headgate._digits import hex_number, whole_number

MAX_HEAD = 1 << 20
"""In bytes; the gateway has limits of its own, which are lower."""

Fields = list[tuple[str, str]]

_OF_CONNECTION = frozenset(
    (
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
        "expect",
    )
)


class Head(NamedTuple):
    """The head of a request."""

    method: str
    target: str
    fields: Fields
    """Those of the request, names in lower case, without those of the connection; the length is among them."""
    upgrade: str | None
    length: int
    """Of the body, in bytes; 0 if it is chunked."""
    is_chunked: bool
    expects: bool
    """Whether the body comes only after a 100 (RFC 9110 section 10.1.1)."""
    closes: bool

    def get(self, name: str) -> str | None:
        """The last value of a field."""
        return next((value for known, value in reversed(self.fields) if known == name), None)


def parsed(text: bytes) -> Head:
    """A head without its empty line; raises `ValueError` for what is none."""
    first, *lines = text.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    pairs: Fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a line of the head without a colon")
        pairs.append((name.lower(), value.strip()))
    known = dict(pairs)
    return Head(
        method=method,
        target=target,
        fields=[(name, value) for name, value in pairs if name not in _OF_CONNECTION],
        upgrade=known.get("upgrade"),
        length=_length(known.get("content-length", "0")),
        is_chunked="transfer-encoding" in known,
        expects="expect" in known,
        closes=version != "HTTP/1.1" or known.get("connection", "").lower() == "close",
    )


def _length(text: str) -> int:
    length = whole_number(text)
    if length is None:
        raise ValueError("an invalid content-length")
    return length


class Body:
    """Takes the body of a request as it comes; `parts` is what has come since it was last taken."""

    def __init__(self, length: int, is_chunked: bool) -> None:
        self.is_complete = not is_chunked and not length
        self._left = length
        self._is_chunked = is_chunked
        self._in_trailers = False

    def take(self, data: bytearray) -> bytes:
        """Takes from `data` what is of the body, and gives its content; raises `ValueError`."""
        if not self._is_chunked:
            part = bytes(data[: self._left])
            del data[: len(part)]
            self._left -= len(part)
            self.is_complete = not self._left
            return part
        parts = []
        while data and not self.is_complete:
            if self._left > 2:
                part = bytes(data[: self._left - 2])
                del data[: len(part)]
                self._left -= len(part)
                parts.append(part)
            elif self._left:
                if len(data) < self._left:
                    break
                del data[: self._left]
                self._left = 0
            elif not self._take_line(data):
                break
        return b"".join(parts)

    def _take_line(self, data: bytearray) -> bool:
        end = data.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(data[:end])
        del data[: end + 2]
        if self._in_trailers:
            self.is_complete = not line
            return True
        size = hex_number(line.partition(b";")[0].rstrip(b" \t"))
        if size is None:
            raise ValueError("an invalid chunk size")
        self._in_trailers = not size
        self._left = size + 2 if size else 0
        return True


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no value of a field has (RFC 9110 section 5.5)."""
_REASONS = {one.value: one.phrase for one in HTTPStatus}


def written(status: int, fields: Fields) -> bytes:
    """The head of a response; raises `ValueError` for what no head may hold."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    for name, value in fields:
        if not _TOKEN.fullmatch(name) or _CONTROL.search(value):
            raise ValueError(f"`{name[:100]}` is not a valid header field")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def of_response(fields: Fields) -> Fields:
    """The fields of a worker's response that go on: those of the connection are the dispatcher's own."""
    return [(name, value) for name, value in fields if name.lower() not in _OF_CONNECTION]
