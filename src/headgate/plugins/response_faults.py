"""Makes the bodies of some responses slow, or breaks them off, to see what clients do about it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView
from headgate.native import AskSet, Native, Sample

FRAMING = ("content-length", "transfer-encoding", "connection", "keep-alive", "trailer", "upgrade", "te")
PIECE_S = 0.1
"""So long each piece of a short, slow body takes."""


class Truncate(BaseModel):
    """How bodies are broken off."""

    model_config = ConfigDict(extra="forbid")

    after_bytes: int = Field(
        default=1, ge=1, le=16 << 20, description="At most so many bytes of the body come first."
    )
    percent: float = Field(default=100, gt=0, le=100, description="How many responses.")


class Slow(BaseModel):
    """How bodies are made slow."""

    model_config = ConfigDict(extra="forbid")

    bytes_per_second: float = Field(gt=0, description="The pace of a body.")
    longest: float = Field(
        default=20, gt=0, description="The most seconds that one part waits; hooks have a `deadline` too."
    )
    percent: float = Field(default=100, gt=0, le=100, description="How many responses.")


class ResponseFaults(Plugin):
    """Breaks off a part of the responses, and sends a part slowly; `when` of the use chooses which may be hit.

    A response that is broken off never looks complete to its client. One that is slow is read from its server no
    faster. For requests that are to be late or to fail at once, see `fault-injection`.
    """

    order = 431

    class Config(BaseModel):
        """Settings of `response-faults`."""

        model_config = ConfigDict(extra="forbid")

        truncate: Truncate | None = Field(default=None, description="Breaks bodies off.")
        slow: Slow | None = Field(default=None, description="Makes bodies slow.")
        seed: int | None = Field(default=None, description="Makes chance repeat itself, in each worker.")

        @model_validator(mode="after")
        def _something(self) -> ResponseFaults.Config:
            if self.truncate is None and self.slow is None:
                raise ConfigError("no fault is configured", hint="write `truncate` or `slow`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares chance."""
        self._key = f"{context.name} fault"
        breaks, slows = (one.percent if one else 0.0 for one in (self.config.truncate, self.config.slow))
        self._any_percent = min(100.0, breaks + slows - breaks * slows / 100)
        self._sampled_key = f"{context.name} sampled"
        self._random = random.Random(self.config.seed)
        self._injected = context.counter("injected")

    def native(self) -> Native:
        """Chooses which responses suffer anything at all, where chance need not repeat itself."""
        if self.config.seed is not None:
            return Native(response_body=[AskSet(self._key)])
        return Native(
            response=[Sample(self._any_percent, self._sampled_key)], response_body=[AskSet(self._key)]
        )

    def response(self, request: Request, response: ResponseView) -> None:
        """Chooses what the body is to suffer."""
        truncate, slow = self.config.truncate, self.config.slow
        # where it was chosen already, one of them hits: breaking off, or else being slow
        is_chosen = self._sampled_key in vars(request.state)
        share = self._any_percent / 100 if is_chosen else 1
        if truncate is not None and not self._hits(truncate.percent / share):
            truncate = None
        is_certain = is_chosen and truncate is None
        if slow is not None and not (is_certain or self._hits(slow.percent)):
            slow = None
        if truncate or slow:
            self._injected.add()
            vars(request.state)[self._key] = _Fault(truncate, slow)

    async def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Waits, or breaks off."""
        fault = getattr(request.state, self._key, None)
        if fault is None:
            return None
        if fault.truncate is not None:
            return _cut(response, fault, chunk, last, fault.truncate.after_bytes)
        if fault.slow is not None and last and not fault.sent:
            return _replaced(response, chunk, fault)
        fault.sent += len(chunk)
        if fault.slow is not None:
            await asyncio.sleep(min(len(chunk) / fault.slow.bytes_per_second, fault.slow.longest))
        return None

    def _hits(self, percent: float) -> bool:
        return self._random.random() * 100 < percent


class BrokenOff(ConnectionError):
    """Ends a response before its end."""

    def __init__(self) -> None:
        super().__init__("a fault that was asked for: the response is broken off")


def _cut(response: ResponseView, fault: _Fault, chunk: bytes, last: bool, most: int) -> bytes | Response:
    """What goes on of a body that is broken off. Before its head was sent it is held, since a body that fails by then
    gets an error page; then it is replaced by one that begins and breaks off."""
    held, fault.held = fault.held + chunk, b""
    if not response.sent_bytes:
        if last or len(held) >= most:
            return _replaced(response, held, fault)
        fault.held = held
        return b""
    if last or fault.sent >= most:
        raise BrokenOff
    piece = held[: most - fault.sent]
    fault.sent += len(piece)
    return piece


def _replaced(response: ResponseView, body: bytes, fault: _Fault) -> Response:
    """The same response with the body as it is to come."""
    fields = [(name, value) for name, value in response.headers.items() if name not in FRAMING]
    return Response(response.status, _pieces(body, fault), headers=fields)


async def _pieces(body: bytes, fault: _Fault) -> AsyncIterator[bytes]:
    """The body, slowly, or what there is to be of it."""
    whole = body if fault.truncate is None else body[: fault.truncate.after_bytes]
    step = len(whole) if fault.slow is None else max(1, int(fault.slow.bytes_per_second * PIECE_S))
    for at in range(0, len(whole), max(step, 1)):
        piece = whole[at : at + step]
        if fault.slow is not None:
            await asyncio.sleep(len(piece) / fault.slow.bytes_per_second)
        yield piece
    if fault.truncate is not None:
        raise BrokenOff


class _Fault:
    def __init__(self, truncate: Truncate | None, slow: Slow | None) -> None:
        self.truncate, self.slow = truncate, slow
        self.held = b""
        """Taken from the server, and not sent yet."""
        self.sent = 0
