"""Copies of requests for another server: what `mirror` and `shadow` have in common."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, FetchError, FetchResponse, Plugin, PluginContext, Request

from ._fields import ReadName
from ._services import OF_A_PROXY, URL, forwarding_fields, has_place

MARK = "x-shadow"


class Copying(Plugin):
    """Sends a copy of each request, or of a part of them, to another server after its own response was sent."""

    class Config(BaseModel):
        """The settings that both have."""

        model_config = ConfigDict(extra="forbid")

        to: str = Field(description="Where copies go: `http://10.0.0.9:9000`; the request's path follows.")
        percent: float = Field(default=100, gt=0, le=100, description="How many requests are copied.")
        max_body_bytes: int = Field(
            default=65536,
            ge=0,
            description="The most bytes of a body; requests with longer ones are not copied.",
        )
        max_copies: int = Field(default=64, ge=1, description="The most copies at once in each worker.")
        timeout: float = Field(default=10, gt=0, description="The longest that a copy may take, in seconds.")
        remove: list[ReadName] = Field(
            default=["authorization", "cookie", "proxy-authorization"],
            description="Header fields that copies do not have.",
        )
        keep_host: bool = Field(default=True, description="Whether copies have the Host of the request.")

        @field_validator("to")
        @classmethod
        def _to(cls, to: str) -> str:
            if not URL.fullmatch(to) or "?" in to or not has_place(to):
                raise ConfigError(f"`{to}` is not a valid URL", hint="write `http://10.0.0.9:9000`")
            return to.rstrip("/")

    def setup(self, context: PluginContext) -> None:
        """Makes the counters."""
        self._context = context
        self._key = f"{context.name} copy"
        self._copies = 0
        self._sent = context.counter("sent")
        self._failed = context.counter("failed")
        self._dropped = context.counter("dropped")
        self._remove = {*(name.lower() for name in self.config.remove), MARK, "host"}

    def request(self, request: Request) -> None:
        """Chooses, and notes the request as it came."""
        if (
            MARK in request.headers
            or not request.target.startswith("/")
            or random.random() * 100 >= self.config.percent
        ):
            return
        fields = [
            (name, value)
            for name, value in request.headers.items()
            if name not in self._remove and not OF_A_PROXY.fullmatch(name)
        ]
        fields += forwarding_fields(request)
        if self.config.keep_host:
            fields.append(("host", request.host))
        vars(request.state)[self._key] = _Copy(request.method, request.target, fields, request.has_body)

    def request_body(self, request: Request, chunk: bytes, last: bool) -> None:
        """Notes the body."""
        copy = getattr(request.state, self._key, None)
        if copy is None:
            return
        copy.size += len(chunk)
        copy.is_whole = last
        if copy.size > self.config.max_body_bytes:
            copy.chunks.clear()
        else:
            copy.chunks.append(chunk)

    def log(self, request: Request, response: object) -> None:
        """Sends the copy: the request is done."""
        copy = getattr(request.state, self._key, None)
        if copy is None:
            return
        is_too_long = copy.size > self.config.max_body_bytes or not copy.is_whole
        if is_too_long or self._copies >= self.config.max_copies:
            self._dropped.add()
            return
        self._copies += 1
        self._context.spawn(self._send(copy))

    async def _send(self, copy: _Copy) -> None:
        try:
            async with asyncio.timeout(self.config.timeout):
                response = await self._context.fetch(
                    self.config.to + copy.target,
                    method=copy.method,
                    headers=[*copy.fields, (MARK, "1")],
                    body=b"".join(copy.chunks) or None,
                    timeout=self.config.timeout,
                )
                await self._take(copy, response)
            self._sent.add()
        except (FetchError, OSError, TimeoutError) as error:
            self._failed.add()
            self._context.log.debug("a copy failed", extra={"reason": str(error) or type(error).__name__})
        finally:
            self._copies -= 1

    async def _take(self, copy: Any, response: FetchResponse) -> None:
        """Reads the response to a copy."""
        async for _ in response.stream():
            pass


class _Copy:
    def __init__(self, method: str, target: str, fields: list[tuple[str, str]], has_body: bool) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.chunks: list[bytes] = []
        self.size = 0
        self.is_whole = not has_body
