"""Signature Version 4 of AWS: canonical requests and their signatures, without I/O and clock.

Source: "AWS Signature Version 4 for API requests" in the IAM user guide.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

UNRESERVED = "-_.~"
SPACES = re.compile(r"\s+")


class Canonical(NamedTuple):
    """A canonical request, and the names of the fields that it signs."""

    text: str
    signed: str


def canonical_request(
    method: str, path: str, query: str, fields: Iterable[tuple[str, str]], payload_hash: str
) -> Canonical:
    """The canonical request; `path` is canonical already, the query is as it is sent."""
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(SPACES.sub(" ", value.strip()))
    names = sorted(values)
    lines = "".join(f"{name}:{','.join(values[name])}\n" for name in names)
    signed = ";".join(names)
    return Canonical(f"{method}\n{path}\n{canonical_query(query)}\n{lines}\n{signed}\n{payload_hash}", signed)


def canonical_path(path: str, *, is_s3: bool) -> str:
    """The path as S3 signs it, with each character encoded once, or as all others do: encoded once more than it is
    sent, without empty and dot segments.
    """
    if is_s3:
        return encoded_once(path)
    return quote(_bytes(without_dots(path)), safe=f"/{UNRESERVED}")


def encoded_once(path: str) -> str:
    """The path with all but unreserved characters encoded, however they were sent."""
    return "/".join(_encoded(segment) for segment in path.split("/"))


def without_dots(path: str) -> str:
    """The path without empty and dot segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == ".." and kept:
            kept.pop()
        elif segment not in ("", ".", ".."):
            kept.append(segment)
    end = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return f"/{'/'.join(kept)}{end}"


def canonical_query(query: str) -> str:
    """The parameters, each encoded once, in the order of their encoded names and values."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(n), _encoded(v)) for n, _, v in pairs)
    )


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of a day (`20150830`), a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, time: str, scope: str, canonical: str) -> str:
    """The signature, in hex, of a canonical request at a time (`20150830T123600Z`)."""
    digest = hashlib.sha256(_bytes(canonical)).hexdigest()
    return hmac.digest(key, f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}".encode(), "sha256").hex()


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(_bytes(text)), safe=UNRESERVED)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
