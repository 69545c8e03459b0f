"""The response a hook gives: status, header fields, and a body of bytes or a stream of them."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Protocol, Self, cast

from ._cookies import SetsCookies

Body = bytes | AsyncIterator[bytes] | None
"""A whole body, an async iterator whose pieces are sent as they come, or none."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUE = re.compile(r"[\r\n\0]")
_NOT_IN_URLS = re.compile(r"""[^!#-;=?-\[\]_a-z~]+""")
"""What stands in no URL unencoded (RFC 3986 section 2); `%` may begin an escape, and stays."""
_TEXT, _BYTES = ("content-type", "text/plain; charset=utf-8"), ("content-type", "application/octet-stream")
FRAMING = frozenset(("connection", "content-length", "keep-alive", "te", "transfer-encoding", "upgrade"))
"""Fields that the gateway writes itself."""


class FieldList(Protocol):
    """Anything with fields to list, such as the headers of a request or of another response."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values, in order."""


HeaderFields = FieldList | Iterable[tuple[str, str]]
"""Header fields as users give them: a mapping, other headers, or pairs, which may repeat a name."""


class ResponseHeaders:
    """The header fields of a response, in order; names are equal whatever their case (RFC 9110 section 5.1).

    Reading gives the first value of a name, setting replaces all of them, `add` keeps them. Values are text: what is
    not ASCII is sent as UTF-8. Fields that frame the message are refused, since the gateway writes those.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: HeaderFields | None = None) -> None:
        self._fields: list[tuple[str, str]] = []
        if fields is not None:
            for name, value in _pairs(fields):
                self.add(name, value)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        _check(name, value)
        self._remove(name)
        self._fields.append((name, value))

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._remove(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResponseHeaders) and _folded(self._fields) == _folded(other._fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ResponseHeaders({self._fields!r})"

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name`."""
        folded = name.lower()
        return next((value for known, value in self._fields if known.lower() == folded), default)

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        folded = name.lower()
        return [value for known, value in self._fields if known.lower() == folded]

    def add(self, name: str, value: str) -> None:
        """Adds a field and keeps those of the same name."""
        _check(name, value)
        self._fields.append((name, value))

    def setdefault(self, name: str, value: str) -> str:
        """The first value of `name`, which is set to `value` if it has none."""
        if name not in self:
            self[name] = value
        return self[name]

    def update(self, fields: HeaderFields) -> None:
        """Sets each of `fields`, replacing what has the same name."""
        for name, value in _pairs(fields):
            self[name] = value

    def keys(self) -> list[str]:
        """Each name once, in lower case."""
        return list(dict.fromkeys(name.lower() for name, _ in self._fields))

    def values(self) -> list[str]:
        """Every value, in order."""
        return [value for _, value in self._fields]

    def items(self) -> list[tuple[str, str]]:
        """Every field as it is sent, in order."""
        return list(self._fields)

    def _remove(self, name: str) -> None:
        folded = name.lower()
        self._fields = [field for field in self._fields if field[0].lower() != folded]


class Response(SetsCookies):
    """A response made by a hook: `Response(401, "who are you?")`, `Response.json({...})`, `Response.stream(rows())`.

    A `str` body is sent as UTF-8 text, `bytes` as they are, an async iterator of bytes piece by piece, as fast as the
    client reads. Without a content type, text is `text/plain`, other bodies are `application/octet-stream`.
    """

    __slots__ = ("body", "headers", "status")

    status: int
    headers: ResponseHeaders
    body: Body

    def __init__(
        self,
        status: int = 200,
        body: str | bytes | bytearray | memoryview | AsyncIterator[bytes] | None = None,
        *,
        headers: HeaderFields | None = None,
    ) -> None:
        if not _is_status(status):
            raise ValueError(
                f"`{status}` is not a valid response status; hint: it must be between 200 and 599"
            )
        # hooks make many responses: the usual case takes the short path
        self.status = status
        self.headers = made = ResponseHeaders(headers)
        self.body = body if type(body) is bytes else _body(body)
        if body is None:
            return
        kind = _TEXT if isinstance(body, str) else _BYTES
        if headers is None:
            made._fields.append(kind)
        else:
            made.setdefault(*kind)

    @classmethod
    def text(cls, text: str, status: int = 200, *, headers: HeaderFields | None = None) -> Self:
        """Plain text."""
        return cls(status, text, headers=headers)

    @classmethod
    def html(cls, html: str, status: int = 200, *, headers: HeaderFields | None = None) -> Self:
        """An HTML page."""
        return cls(status, _utf8(html), headers=_with_type(headers, "text/html; charset=utf-8"))

    @classmethod
    def json(cls, value: Any, status: int = 200, *, headers: HeaderFields | None = None) -> Self:
        """`value` as JSON; raises `TypeError` if it is not serializable, `ValueError` for a NaN or an infinity."""
        try:
            body = _json(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            # a byte of a field or a path that is not UTF-8: it is escaped (RFC 8259 section 8.2)
            body = _json(value, ensure_ascii=True).encode()
        return cls(status, body, headers=_with_type(headers, "application/json"))

    @classmethod
    def redirect(cls, location: str, status: int = 307, *, headers: HeaderFields | None = None) -> Self:
        """Sends the client to `location`; 307 keeps its method and is not remembered (RFC 9110 section 15.4.8).

        What no URL may hold, such as spaces, line breaks and letters beyond ASCII, is percent-encoded.
        """
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"`{status}` is not a redirect status; hint: one of 301, 302, 303, 307, 308")
        response = cls(status, headers=headers)
        response.headers["location"] = _NOT_IN_URLS.sub(_percent_encoded, location)
        return response

    @classmethod
    def stream(
        cls,
        body: AsyncIterator[bytes],
        status: int = 200,
        *,
        content_type: str = "application/octet-stream",
        headers: HeaderFields | None = None,
    ) -> Self:
        """A body that is sent as the async iterator produces it; the iterator is closed when the client disconnects."""
        return cls(status, body, headers=_with_type(headers, content_type))

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields as bytes, for the engine."""
        return [
            (name.encode("ascii"), value.encode("utf-8", "surrogateescape"))
            for name, value in self.headers.items()
        ]

    def __repr__(self) -> str:
        body = (
            f"{len(self.body)} bytes"
            if isinstance(self.body, bytes)
            else "a stream"
            if self.body
            else "no body"
        )
        return f"<Response {self.status}, {body}>"


def _percent_encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 200 <= value <= 599  # which no bool is


def _json(value: Any, *, ensure_ascii: bool) -> str:
    return json_module.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":"))


def _utf8(text: str) -> bytes:
    """What cannot be said in UTF-8, as clients may send it in a field or a path, becomes `?`."""
    return text.encode("utf-8", "replace")


def _body(body: Any) -> Body:
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return _utf8(body)
    if isinstance(body, bytearray | memoryview):
        return bytes(body)
    if isinstance(body, AsyncIterator):
        return body
    raise TypeError(
        f"a body cannot be `{type(body).__name__}`; hint: use str, bytes or an async generator, or use Response.json"
    )


def _with_type(fields: HeaderFields | None, kind: str) -> ResponseHeaders:
    headers = ResponseHeaders(fields)
    headers.setdefault("content-type", kind)
    return headers


def _pairs(fields: HeaderFields | None) -> Iterable[tuple[str, str]]:
    if fields is None:
        return ()
    if hasattr(fields, "items"):
        return cast(FieldList, fields).items()
    return fields


def _check(name: object, value: object) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a header field must be text, not `{name!r}: {value!r}`")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"`{name}` is not a valid header field name")
    if _FORBIDDEN_IN_VALUE.search(value):
        raise ValueError(f"the value of `{name}` has more than one line, or a NUL")
    if name.lower() in FRAMING:
        raise ValueError(f"`{name}` cannot be set; hint: the gateway writes framing fields itself")


def _folded(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in fields]
