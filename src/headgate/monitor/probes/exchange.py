"""A check that is one request with fields and a body, over HTTP/2 or HTTP/3: what is asked, and what to make of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from headgate._digits import whole_number
from headgate.monitor.probes.connecting import CheckFailed
from headgate.monitor.probes.http_response import Response, verdict, weight
from headgate.monitor.target import Target

GRPC_PATH = "/grpc.health.v1.Health/Check"
SERVING = 1
GRPC_OK, GRPC_UNIMPLEMENTED, GRPC_NOT_FOUND = "0", "12", "5"

Fields = list[tuple[str, str]]


class TurnedAway(Exception):
    """The server closes its connections, and has not looked at the request: it may be sent again."""


@dataclass
class Received:
    """What came in response."""

    fields: Fields = field(default_factory=list)
    trailers: Fields = field(default_factory=list)
    body: bytes = b""
    is_whole: bool = False


@dataclass(frozen=True)
class Asked:
    """A request."""

    fields: Fields
    body: bytes
    needs_end: bool
    """Whether more than the head of its response is needed."""


Ask = Callable[[Target, Asked], Awaitable[Received]]
"""Sends a request over a connection of its own; raises what is wrong, or `TurnedAway`."""


async def check_request(ask: Ask, target: Target) -> int | None:
    """One request, judged as over HTTP/1; gives the weight that the server wants, and raises what is wrong."""
    check = target.check
    fields = [*_pseudo_fields(target, check["method"], check["path"]), ("user-agent", "headgate-health")]
    fields += [(name.lower(), value) for name, value in check["headers"].items()]
    received = await _ask_twice(ask, target, Asked(fields, b"", needs_end=check["body"] is not None))
    said = dict(received.fields)
    head = "".join(f"{name}: {value}\r\n" for name, value in received.fields).encode("latin-1", "replace")
    response = Response(whole_number(said.get(":status", "")) or 0, head, received.body, may_reuse=False)
    if failure := verdict(check, response):
        raise CheckFailed(failure)
    return weight(check, response)


async def check_grpc(ask: Ask, target: Target) -> None:
    """The gRPC health checking protocol, `Check` (grpc.health.v1); raises what is wrong."""
    service = target.check["service"].encode()
    message = b"\x0a" + _varint(len(service)) + service if service else b""
    fields = [
        *_pseudo_fields(target, "POST", GRPC_PATH),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "headgate-health"),
    ]
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    received = await _ask_twice(ask, target, Asked(fields, framed, needs_end=True))
    said = dict(received.fields) | dict(received.trailers)
    if said.get(":status") != "200":
        raise CheckFailed(f"status {said.get(':status')}")
    if (status := said.get("grpc-status", "")) != GRPC_OK:
        meaning = {
            GRPC_UNIMPLEMENTED: "it has no health service",
            GRPC_NOT_FOUND: "it does not know the service",
        }
        raise CheckFailed(
            meaning.get(status, f"gRPC status `{status}` {said.get('grpc-message', '')}".strip())
        )
    if _serving_status(received.body[5:]) != SERVING:
        raise CheckFailed("it says that it is not serving")


def _pseudo_fields(target: Target, method: str, path: str) -> Fields:
    host = target.check["host"] or target.authority
    scheme = "https" if target.is_secure else "http"
    return [(":method", method), (":scheme", scheme), (":authority", host), (":path", path)]


async def _ask_twice(ask: Ask, target: Target, asked: Asked) -> Received:
    """A server that restarts turns requests away which it has not looked at: that is no failure the first time."""
    try:
        return await ask(target, asked)
    except TurnedAway:
        pass
    try:
        return await ask(target, asked)
    except TurnedAway:
        raise CheckFailed("it closes its connections without a response") from None


def _serving_status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse; 0 (UNKNOWN) if it is absent."""
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])
