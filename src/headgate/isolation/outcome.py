"""What an isolated plugin is told, and what it may change: everything that it says is checked before it is done."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headgate.message import FRAMING, Response

MOST_STATE_BYTES = 16384
MOST_TEXT = 1000
"""Of a line for the log, or of an error, in characters."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,1000}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VIEW = {
    "method": re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"),
    "target": re.compile(r"[/*][^\x00-\x20\x7f#]*"),
    "host": re.compile(r"[^\x00-\x20\x7f/?#@\\]+"),
}


class NotValid(ValueError):
    """A result that is not done; the text says why."""


class Reply(BaseModel):
    """The response that a hook has returned."""

    status: int = Field(ge=200, le=599)
    headers: list[tuple[str, str]] = Field(max_length=1000)
    body: str


class Outcome(BaseModel):
    """What a hook has done."""

    model_config = ConfigDict(extra="forbid")

    changes: list[
        tuple[
            Literal["request", "response", "view"],
            Literal["set", "add", "remove", "method", "target", "host", "upstream", "status"],
            str | int,
            str,
        ]
    ] = Field(default=[], max_length=1000)
    response: Reply | None = None
    state: dict[str, Any] = {}
    lines: list[tuple[Literal["debug", "info", "warning", "error"], str]] = Field(default=[], max_length=20)
    error: str | None = None


def message(
    phase: str, request: Any, response: Any, *, hidden: frozenset[str], body: bytes | None, state: Any
) -> bytes:
    """What a process is told of a request, and of its response if there is one."""
    client = request.client
    return json.dumps(
        {
            "phase": phase,
            "state": state,
            "request": {
                "method": request.method,
                "target": request.target,
                "host": request.host,
                "scheme": request.scheme,
                "version": request.version,
                "has_body": request.has_body,
                "id": request.id,
                "route_name": request.route_name,
                "upstream": request.upstream,
                "params": request.params,
                "client": {"address": client.address, "port": client.port, "listener": client.listener},
                "consumer": getattr(request.state, "consumer", None),
                "headers": _shown(request.headers, hidden),
                "body": None if body is None else base64.b64encode(body).decode(),
            },
            "response": None
            if response is None
            else {"status": response.status, "headers": _shown(response.headers, hidden)},
        }
    ).encode()


def outcome(said: dict[str, Any]) -> Outcome:
    """What it says it has done; raises `NotValid`."""
    try:
        found = Outcome.model_validate(said)
        size = len(json.dumps(found.state)) if found.state else 0
    except (ValueError, RecursionError):
        raise NotValid("its result is not valid") from None
    found.error = found.error and found.error[:MOST_TEXT]
    found.lines = [(level, text[:MOST_TEXT]) for level, text in found.lines]
    if size > MOST_STATE_BYTES:
        raise NotValid(f"`request.state` has more than {MOST_STATE_BYTES} bytes")
    return found


def apply(
    found: Outcome,
    request: Any,
    response: Any,
    *,
    upstreams: frozenset[str],
    kept: Collection[str] = (),
) -> Response | None:
    """Does what is allowed of it, and raises `NotValid` before anything is done where something is not; `kept` are the
    fields of requests that it may not change, with `-` for `_`.
    """
    reply = _reply(found.response)
    for of, what, first, second in found.changes:
        if of == "view":
            if not _is_allowed(what, first, response, upstreams):
                raise NotValid(f"it may not set `{what}` to `{str(first)[:100]}`")
            continue
        if of == "response" and response is None:
            raise NotValid("there is no response yet")
        name = str(first).lower()
        if not _NAME.fullmatch(name) or name in FRAMING or _CONTROL.search(second):
            raise NotValid(f"`{name[:100]}` is not a valid header field")
        if of == "request" and name.replace("_", "-") in kept:
            raise NotValid(f"it may not change the field `{name[:100]}` of the request")
        if what not in ("set", "add", "remove"):
            raise NotValid(f"a field cannot be changed by `{what}`")
    try:
        _do(found, request, response)
    except (ValueError, TypeError) as error:
        raise NotValid(str(error)[:MOST_TEXT]) from None
    return reply


def _do(found: Outcome, request: Any, response: Any) -> None:
    for of, what, first, second in found.changes:
        if of == "view":
            setattr(response if what == "status" else request, what, first)
            continue
        headers, name = (request if of == "request" else response).headers, str(first)
        if what == "set":
            headers[name] = second
        elif what == "add":
            headers.add(name, second)
        else:
            headers.pop(name, None)


def _is_allowed(what: str, value: str | int, response: Any, upstreams: frozenset[str]) -> bool:
    if what == "status":
        return response is not None and type(value) is int and 200 <= value <= 599
    if what == "upstream":
        return value in upstreams  # an address would be a way out
    allowed = _VIEW.get(what)
    return (
        allowed is not None and isinstance(value, str) and response is None and bool(allowed.fullmatch(value))
    )


def _reply(reply: Reply | None) -> Response | None:
    if reply is None:
        return None
    try:
        body = base64.b64decode(reply.body, validate=True)
        return Response(reply.status, body or None, headers=reply.headers)
    except ValueError as error:
        raise NotValid(f"its response is not valid: {str(error)[:MOST_TEXT]}") from None


def _shown(headers: Any, hidden: frozenset[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name not in hidden]
