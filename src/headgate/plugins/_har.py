"""HTTP Archives (HAR 1.2): one exchange as an entry, and a file that is whole after each entry."""

from __future__ import annotations

import base64
import errno
import json
import os
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from ._masking import MASK, Masking

HEAD = b'{"log": {"version": "1.2", "creator": {"name": "headgate", "version": "1"}, "entries": ['
TAIL = b"\n]}}\n"
UNKNOWN = -1


@dataclass
class Part:
    """One side of an exchange: its fields, and its body up to a bound."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0

    def take(self, chunk: bytes, most: int) -> None:
        """Keeps a chunk, or nothing if the body is too long."""
        self.size += len(chunk)
        if self.size <= most:
            self.chunks.append(chunk)
        else:
            self.chunks.clear()

    def value(self, name: str) -> str:
        """The first value of a field."""
        return next((value for known, value in self.fields if known == name), "")


@dataclass
class Exchange:
    """What is known of a request and its response."""

    began: float
    method: str
    url: str
    version: str
    request: Part
    response: Part = field(default_factory=Part)
    status: int = 0
    waited: float = UNKNOWN
    took: float = UNKNOWN
    comment: str = ""


def entry(exchange: Exchange, masking: Masking, most: int) -> bytes:
    """The entry as JSON, without secrets."""
    url, response = masking.url(exchange.url), exchange.response
    version = f"HTTP/{exchange.version}"
    receive = exchange.took - exchange.waited if exchange.waited >= 0 else UNKNOWN
    made: dict[str, Any] = {
        "startedDateTime": datetime.fromtimestamp(exchange.began, UTC).isoformat(timespec="milliseconds"),
        "time": _ms(exchange.took),
        "request": {
            "method": exchange.method,
            "url": url,
            "httpVersion": version,
            "cookies": _cookies(exchange.request, "cookie"),
            "headers": _fields(exchange.request, masking),
            "queryString": [
                {"name": name, "value": value}
                for name, value in parse_qsl(url.partition("#")[0].partition("?")[2], keep_blank_values=True)
            ],
            "headersSize": UNKNOWN,
            "bodySize": exchange.request.size,
        },
        "response": {
            "status": exchange.status,
            "statusText": "",
            "httpVersion": version,
            "cookies": _cookies(response, "set-cookie"),
            "headers": _fields(response, masking),
            "content": {"size": response.size, **_body(response, masking, most)},
            "redirectURL": masking.url(response.value("location")),
            "headersSize": UNKNOWN,
            "bodySize": response.size,
        },
        "cache": {},
        "timings": {"send": 0, "wait": _ms(exchange.waited), "receive": _ms(receive)},
        "comment": exchange.comment,
    }
    if exchange.request.size:
        made["request"]["postData"] = {"params": [], "text": "", **_body(exchange.request, masking, most)}
    return json.dumps(made).encode()


def append(file: Path, entries: list[bytes], most: int) -> None:
    """Adds entries; the file is whole before and after it. The one that would grow above `most` bytes becomes
    `NAME.1.har`, in place of an older one. Only its owner can read it. Raises `OSError`.
    """
    added = b",\n".join(entries)
    if file.exists() and file.stat().st_size + len(added) > most:
        file.replace(file.with_suffix(f".1{file.suffix}"))
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        begin(file, HEAD + b"\n" + added + TAIL)
        return
    with os.fdopen(descriptor, "r+b", buffering=0) as opened:
        end = opened.seek(0, os.SEEK_END) - len(TAIL)
        if end < 0:
            begin(file, HEAD + b"\n" + added + TAIL)
            return
        # in one call: whoever reads meanwhile sees no part of it
        opened.seek(end)
        more = b",\n" + added + TAIL
        if opened.write(more) != len(more):
            opened.seek(end)
            opened.write(TAIL)
            opened.truncate()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def begin(file: Path, content: bytes) -> None:
    """Makes a file, which has its content when it gets its name. Raises `OSError`."""
    beside = file.with_suffix(".tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(beside, flags, 0o600), "wb") as opened:
        opened.write(content)
    beside.replace(file)


WITH_URLS = frozenset(
    (
        *("location", "referer", "content-location", "refresh", "link", "x-original-url", "x-rewrite-url"),
        *("x-original-uri", "x-forwarded-uri"),
    )
)
"""Fields with URLs, in which secrets stand as in the request's own."""


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3) if seconds >= 0 else UNKNOWN


def _fields(part: Part, masking: Masking) -> list[dict[str, str]]:
    return [
        {"name": name, "value": _location(name, masking.header(name, value), masking)}
        for name, value in part.fields
    ]


def _location(name: str, value: str, masking: Masking) -> str:
    return masking.url(value) if name.lower() in WITH_URLS else value


def _cookies(part: Part, name: str) -> list[dict[str, str]]:
    """Names only: what a cookie says may be anybody's session."""
    lines = [value for known, value in part.fields if known == name]
    pairs = [pair for line in lines for pair in (line.split(";") if name == "cookie" else [line])]
    return [{"name": pair.partition("=")[0].strip(), "value": MASK} for pair in pairs]


def _body(part: Part, masking: Masking, most: int) -> dict[str, str]:
    kind = part.value("content-type")
    if part.size > most:
        return {"mimeType": kind, "comment": f"the body has more than {most} bytes"}
    body = _decoded(b"".join(part.chunks), part.value("content-encoding").lower().strip(), most)
    if body is None:
        return {"mimeType": kind, "comment": "the body is coded in a way that is not undone"}
    try:
        return {"mimeType": kind, "text": _masked(body.decode(), kind, masking)}
    except UnicodeDecodeError:
        # a file in a form hides no secret beside it
        text = _masked(body.decode("latin-1"), kind, masking).encode("latin-1")
        return {"mimeType": kind, "text": base64.b64encode(text).decode(), "encoding": "base64"}


def _masked(text: str, kind: str, masking: Masking) -> str:
    if "urlencoded" in kind.lower():
        return masking.query(text)
    if kind.lower().startswith("multipart/"):
        return masking.multipart(text, kind)
    # JSON is masked whatever the type says: names in quotes with a colon mean the same in most texts
    return masking.json(text)


def _decoded(body: bytes, coding: str, most: int) -> bytes | None:
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    try:
        inflate = zlib.decompressobj(wbits=47 if coding != "deflate" else 15)
        found = inflate.decompress(body, most)
    except zlib.error:
        return None
    return found if inflate.eof and not inflate.unused_data else None
