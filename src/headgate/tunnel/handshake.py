"""How a tunnel begins: a WebSocket upgrade (RFC 6455 section 4) with a token, and the names that are exposed."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .frames import PROTOCOL

MOST_HEAD_BYTES = 16 * 1024
REVERSED = "headgate-reversed/1"
"""The protocol of a connection beside a tunnel, which requests go on as they are."""
TUNNEL = "headgate-tunnel"
"""The header field with the id of the tunnel."""
EXPOSE = "headgate-expose"
"""The header field with the exposed names, separated by commas."""

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
"""16 bytes in base64 (RFC 6455 section 4.1)."""
_STATUS = re.compile("[1-5][0-9]{2}")

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    426: "Upgrade Required",
    503: "Service Unavailable",
}


class Refused(Exception):
    """A handshake that does not lead to a tunnel; with the status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    @property
    def hint(self) -> str:
        """What the client's side can do about it, as a line of its own, or nothing."""
        known = {
            401: "the gateway's `tunnels.tokens` need this token or its SHA-256 digest",
            403: "the token's `expose` in the gateway's `tunnels.tokens` lists the names it may expose",
            404: "`--to` names the path of the route whose target is `tunnel:endpoint`",
        }
        return f"\n  hint: {known[self.status]}" if self.status in known else ""


class Asked(NamedTuple):
    """What a client asks for."""

    key: str
    token: str
    names: tuple[str, ...]
    tunnel: str = ""
    """The id of the tunnel; empty for a client that says none."""
    is_reversed: bool = False
    """Whether it is a connection beside the tunnel, for the one name."""


def request(host: str, path: str, token: str, names: Sequence[str], tunnel: str = "") -> tuple[bytes, str]:
    """A client's request, and the key in it."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        f"Sec-WebSocket-Protocol: {PROTOCOL}",
        f"Authorization: Bearer {token}",
        f"{EXPOSE}: {', '.join(names)}",
        *([f"{TUNNEL}: {tunnel}"] if tunnel else []),
    )
    return "\r\n".join((*lines, "", "")).encode(), key


def reversed_request(host: str, path: str, token: str, name: str, tunnel: str) -> bytes:
    """A client's request for a connection beside its tunnel."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        f"Upgrade: {REVERSED}",
        f"Authorization: Bearer {token}",
        f"{EXPOSE}: {name}",
        f"{TUNNEL}: {tunnel}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def asked(head: bytes) -> Asked:
    """What the request of a client asks for; raises `Refused`."""
    line, fields = _parsed(head)
    upgrade = fields.get("upgrade", "").lower()
    if not line.startswith("GET ") or ("websocket" not in upgrade and upgrade != REVERSED):
        raise Refused(426, "this address is for `headgate tunnel`")
    if upgrade == REVERSED:
        return Asked("", _token(fields), _names(fields), fields.get(TUNNEL, ""), is_reversed=True)
    protocols = [one.strip() for one in fields.get("sec-websocket-protocol", "").split(",")]
    if PROTOCOL not in protocols or fields.get("sec-websocket-version") != "13":
        raise Refused(400, f"the WebSocket must speak `{PROTOCOL}`")
    if not _KEY.fullmatch(fields.get("sec-websocket-key", "")):
        raise Refused(400, "the key of the WebSocket is not valid")
    return Asked(fields["sec-websocket-key"], _token(fields), _names(fields), fields.get(TUNNEL, ""))


def _token(fields: Mapping[str, str]) -> str:
    scheme, _, token = fields.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "a token is required")
    return token.strip()


def _names(fields: Mapping[str, str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(one.strip() for one in fields.get(EXPOSE, "").split(",") if one.strip()))
    if not names:
        raise Refused(400, "nothing is exposed")
    return names


def accepted(key: str) -> bytes:
    """The response that begins the tunnel."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Accept: {_accept(key)}\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    ).encode()


def accepted_reversed(name: str) -> bytes:
    """The response that makes the connection one to the server of that name."""
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {REVERSED}\r\n"
        f"Headgate-Reversed: {name}\r\n\r\n"
    ).encode()


def refused(error: Refused) -> bytes:
    """The response that says why there is none."""
    body = f"{error.reason}\n".encode()
    more = {401: "WWW-Authenticate: Bearer\r\n", 426: "Upgrade: websocket\r\n"}.get(error.status, "")
    head = f"HTTP/1.1 {error.status} {_REASONS[error.status]}\r\n{more}"
    return (
        head + f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def check_response(head: bytes, key: str) -> None:
    """Raises `Refused` unless the response begins a tunnel."""
    fields = _switched(head)
    if fields.get("sec-websocket-accept") != _accept(key) or fields.get("sec-websocket-protocol") != PROTOCOL:
        raise Refused(400, "the response is not of a tunnel endpoint")


def check_reversed(head: bytes, name: str) -> None:
    """Raises `Refused` unless the response makes the connection one to the server of that name."""
    fields = _switched(head)
    if fields.get("upgrade", "").lower() != REVERSED or fields.get("headgate-reversed") != name:
        raise Refused(400, "the response is not of a tunnel endpoint")


def _switched(head: bytes) -> Mapping[str, str]:
    """The fields of a 101; raises `Refused` for other responses."""
    line, fields = _parsed(head)
    parts = line.split(" ", 2)
    status = int(parts[1]) if len(parts) > 1 and _STATUS.fullmatch(parts[1]) else 400
    if status != 101:
        raise Refused(status, line.partition(" ")[2])
    return fields


def _parsed(head: bytes) -> tuple[str, Mapping[str, str]]:
    line, *fields = head.decode("latin-1").split("\r\n")
    pairs = (field.partition(":") for field in fields if field)
    return line, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _accept(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()
