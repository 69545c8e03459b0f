"""How the response of a server differs from the one that an HTTP Archive has kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MASK = "***"
"""What stands in the place of a secret: equal to everything."""


@dataclass
class Got:
    """A response of the other server."""

    status: int
    fields: dict[str, str]
    body: bytes


def kept_body(said: dict[str, Any]) -> bytes | None:
    """The body of a request or a response, `None` if it was not kept."""
    text = said.get("text")
    if text is None or (not text and said.get("comment")):
        return None
    return (
        base64.b64decode(text) if said.get("encoding") == "base64" else str(text).encode("utf-8", "replace")
    )


def heads(status: int, expected: dict[str, str], got: Got, names: list[str]) -> Iterator[str]:
    """How status and fields differ."""
    if status != got.status:
        yield f"status: {status} -> {got.status}"
    for name in names:
        before, after = expected.get(name), got.fields.get(name)
        if before != after and MASK not in (before or ""):
            yield f"{name}: {before or '(none)'} -> {after or '(none)'}"


def bodies(content: Any, got: Got) -> Iterator[str]:
    """How the body differs: in JSON the first place."""
    before = kept_body(content) if isinstance(content, dict) else None
    if before is None or before == got.body:
        return
    try:
        path = _differs(json.loads(before), json.loads(got.body), "$")
    except (ValueError, RecursionError):
        if MASK.encode() not in before:
            yield f"body: {len(before)} -> {len(got.body)} bytes, other ones"
        return
    if path:
        yield f"body: {path}"


def _differs(first: Any, second: Any, path: str) -> str | None:
    """The first place at which two values of JSON differ."""
    if first in (MASK, second):
        return None
    if isinstance(first, dict) and isinstance(second, dict):
        for name in (*first, *(one for one in second if one not in first)):
            if name not in first or name not in second:
                return f"{path}.{name} is {'new' if name not in first else 'missing'}"
            if found := _differs(first[name], second[name], f"{path}.{name}"):
                return found
        return None
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return next(filter(None, (_differs(one, other, f"{path}[{n}]") for n, (one, other) in pairs)), None)
    return f"{path}: {json.dumps(first)[:100]} -> {json.dumps(second)[:100]}"
