"""Reads the response to a check: only as much of HTTP/1 as its judgement needs (RFC 9112). Pure."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from headgate._digits import hex_number, whole_number

LONGEST_HEAD = 1 << 16
LONGEST_BODY = 1 << 16
"""Bytes of a body that are looked at."""

_WEIGHT = re.compile(r"([0-9]{1,4})\s*%?")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: |\r|$)")


class Malformed(ValueError):
    """What came is no response."""


@dataclass
class Response:
    """A response, as far as it was read."""

    status: int
    head: bytes
    """All after the status line."""
    body: bytes
    may_reuse: bool
    """Whether its end was seen, and its connection may carry another check."""

    def values(self, name: str) -> list[str]:
        """The values of a header field."""
        return field_values(self.head, name.lower().encode())


def field_values(head: bytes, name: bytes) -> list[str]:
    """The values of all fields of that name, which is in lower case."""
    if name not in head.lower():  # an eighth of what the pattern takes
        return []
    return [value.decode("latin-1") for value in _pattern(name).findall(head)]


@functools.cache
def _pattern(name: bytes) -> re.Pattern[bytes]:
    """What finds the values of a field; names are the configuration's and a few others."""
    return re.compile(rb"(?im)^" + re.escape(name) + rb":[ \t]*([^\r\n]*?)[ \t]*\r?$")


def parsed(data: bytes, *, has_body: bool, needs_body: bool, at_end: bool) -> Response | None:
    """The response in `data`; None if more is needed. Raises `Malformed`.

    `has_body` is false for the response to HEAD; `needs_body`: it is to be judged by its body.
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        if at_end or len(data) > LONGEST_HEAD:
            raise Malformed("the response has no complete head" if data else "closed without a response")
        return None
    line_end = data.find(b"\r\n")
    if (line := _STATUS_LINE.match(data[: line_end + 1])) is None:
        raise Malformed(f"`{data[:40].decode('latin-1')}` is not a status line of HTTP/1")
    status, rest = int(line[2]), data[head_end + 4 :]
    if 100 <= status < 200:
        return parsed(rest, has_body=has_body, needs_body=needs_body, at_end=at_end)
    head = data[line_end + 2 : head_end + 2]
    response = Response(status, head, rest, line[1] != b"0" and b"close" not in _connection(head))
    if not has_body or status in (204, 304):
        response.body, response.may_reuse = b"", response.may_reuse and not rest
        return response
    return _with_body(response, needs_body=needs_body, at_end=at_end)


def _connection(head: bytes) -> bytes:
    return ",".join(field_values(head, b"connection")).lower().encode()


def _with_body(response: Response, *, needs_body: bool, at_end: bool) -> Response | None:
    """The response with its body decoded, or without one whose end is far away or unknown."""
    rest, is_whole = response.body, False
    has_end = True
    if field_values(response.head, b"transfer-encoding"):
        content, is_whole = _unchunked(rest)
    elif lengths := field_values(response.head, b"content-length"):
        length = whole_number(lengths[0])
        if length is None:
            raise Malformed(f"`{lengths[0][:40]}` is not a Content-Length")
        content = rest[:length]
        is_whole = len(rest) >= length
        has_end = length <= LONGEST_BODY
        response.may_reuse = response.may_reuse and len(rest) <= length
    else:
        content, response.may_reuse, has_end = rest, False, False
    response.body = content[:LONGEST_BODY]
    if is_whole:
        return response
    if at_end or not (has_end or needs_body) or len(content) >= LONGEST_BODY:
        response.may_reuse = False
        return response
    return None


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """The content of chunks, and whether the last one was among them (RFC 9112 section 7.1)."""
    content, at = b"", 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size_text = data[at:line_end].partition(b";")[0].strip()
        size, start = hex_number(size_text), line_end + 2
        if size is None:
            raise Malformed("malformed chunk")
        if size == 0:
            return content, data.find(b"\r\n", start) == start
        content += data[start : start + size]
        at = start + size + 2
        if at > len(data):
            break
    return content, False


def weight(check: dict[str, Any], response: Response) -> int | None:
    """The percentage of its weight that a server wants, 0 to 100; None if it says none."""
    name = check["weight_header"]
    said = _WEIGHT.fullmatch(next(iter(response.values(name)), "")) if name else None
    return min(int(said[1]), 100) if said else None


def verdict(check: dict[str, Any], response: Response) -> str | None:
    """Why a response is not that of a healthy server; None if it is."""
    if not any(first <= response.status <= last for first, last in check["statuses"]):
        return f"status {response.status}"
    for name, value in check["response_headers"].items():
        if value not in response.values(name):
            return f"the response has no field `{name}: {value}`"
    if check["body"] is not None and check["body"].encode() not in response.body:
        return f"the body does not contain `{check['body']}`"
    return None
