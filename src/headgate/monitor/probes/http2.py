"""Checks over HTTP/2: a request, or a call of the gRPC health service. Each has a connection of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from headgate._digits import whole_number
from headgate.monitor.probes.connecting import CheckFailed, connection
from headgate.monitor.probes.http_response import LONGEST_BODY, Response, verdict
from headgate.monitor.target import Target

GRPC_PATH = "/grpc.health.v1.Health/Check"
SERVING = 1
GOAWAY = 7
LONGEST_FRAME = 1 << 14
GRPC_OK, GRPC_UNIMPLEMENTED, GRPC_NOT_FOUND = "0", "12", "5"

Fields = list[tuple[str, str]]


class _TurnedAway(Exception):
    """The server closes its connections, and has not looked at the request: it may be sent again."""


@dataclass
class _Received:
    """What came on the stream."""

    fields: Fields = field(default_factory=list)
    trailers: Fields = field(default_factory=list)
    body: bytes = b""
    is_whole: bool = False


async def check_http2(target: Target) -> None:
    """One request, judged as over HTTP/1; raises what is wrong."""
    check = target.check
    fields = [*_pseudo_fields(target, check["method"], check["path"]), ("user-agent", "headgate-health")]
    fields += [(name.lower(), value) for name, value in check["headers"].items()]
    received = await _asked_twice(target, fields, b"", needs_end=check["body"] is not None)
    said = dict(received.fields)
    head = "".join(f"{name}: {value}\r\n" for name, value in received.fields).encode("latin-1", "replace")
    response = Response(whole_number(said.get(":status", "")) or 0, head, received.body, may_reuse=False)
    if failure := verdict(check, response):
        raise CheckFailed(failure)


async def check_grpc(target: Target) -> None:
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
    received = await _asked_twice(target, fields, framed, needs_end=True)
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


async def _asked_twice(target: Target, fields: Fields, body: bytes, *, needs_end: bool) -> _Received:
    """A server that restarts turns requests away which it has not looked at: that is no failure the first time."""
    try:
        return await _asked(target, fields, body, needs_end=needs_end)
    except _TurnedAway:
        pass
    try:
        return await _asked(target, fields, body, needs_end=needs_end)
    except _TurnedAway:
        raise CheckFailed("it closes its connections without a response") from None


async def _asked(target: Target, fields: Fields, body: bytes, *, needs_end: bool) -> _Received:
    state = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    state.initiate_connection()
    received = _Received()
    async with connection(target) as (reader, writer):
        stream = state.get_next_available_stream_id()
        state.send_headers(stream, fields, end_stream=not body)
        if body:
            state.send_data(stream, body, end_stream=True)
        writer.write(state.data_to_send())
        while not received.is_whole and (needs_end or not received.fields):
            frame = await _frame(reader)
            if frame[3] == GOAWAY:
                # not for the state machine, which takes nothing any more after it
                if int.from_bytes(frame[9:13], "big") & 0x7FFF_FFFF < stream:
                    raise _TurnedAway
                continue
            try:
                events: list[Any] = state.receive_data(frame)
            except ProtocolError as error:
                raise CheckFailed(f"the response is not valid HTTP/2: {error}") from None
            for event in events:
                _take(state, stream, received, event)
            writer.write(state.data_to_send())
    return received


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame (RFC 9113 section 4.1)."""
    header = await reader.readexactly(9)
    length = int.from_bytes(header[:3], "big")
    if length > LONGEST_FRAME:
        raise CheckFailed("the response is not valid HTTP/2")
    return header + await reader.readexactly(length)


def _take(state: H2Connection, stream: int, received: _Received, event: Any) -> None:
    if getattr(event, "stream_id", None) != stream:
        return
    match event:
        case ResponseReceived():
            received.fields = [(str(name), str(value)) for name, value in event.headers or ()]
        case TrailersReceived():
            received.trailers = [(str(name), str(value)) for name, value in event.headers or ()]
        case DataReceived():
            received.body += event.data or b""
            received.is_whole = received.is_whole or len(received.body) > LONGEST_BODY
            state.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        case StreamEnded():
            received.is_whole = True
        case StreamReset():
            if event.error_code == ErrorCodes.REFUSED_STREAM:
                raise _TurnedAway
            raise CheckFailed(f"the stream was reset with error {int(event.error_code or 0)}")


def _serving_status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse; 0 (UNKNOWN) if it is absent."""
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])
