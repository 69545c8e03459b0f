"""The requests of checks over HTTP/2. Each has a connection of its own."""

from __future__ import annotations

import asyncio
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

from headgate.monitor.probes.connecting import CheckFailed, connection
from headgate.monitor.probes.exchange import Asked, Received, TurnedAway
from headgate.monitor.probes.http_response import LONGEST_BODY
from headgate.monitor.target import Target

GOAWAY = 7
LONGEST_FRAME = 1 << 14


async def ask(target: Target, asked: Asked) -> Received:
    """See `Ask`."""
    state = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    state.initiate_connection()
    received = Received()
    async with connection(target) as (reader, writer):
        stream = state.get_next_available_stream_id()
        state.send_headers(stream, asked.fields, end_stream=not asked.body)
        if asked.body:
            state.send_data(stream, asked.body, end_stream=True)
        writer.write(state.data_to_send())
        while not received.is_whole and (asked.needs_end or not received.fields):
            frame = await _frame(reader)
            if frame[3] == GOAWAY:
                # not for the state machine, which takes nothing any more after it
                if int.from_bytes(frame[9:13], "big") & 0x7FFF_FFFF < stream:
                    raise TurnedAway
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


def _take(state: H2Connection, stream: int, received: Received, event: Any) -> None:
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
                raise TurnedAway
            raise CheckFailed(f"the stream was reset with error {int(event.error_code or 0)}")
