"""Sends copies of requests to another server, and compares its responses with those that clients got."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from pydantic import Field

from headgate import FetchResponse, Request, ResponseView

from ._copies import Copying
from ._fields import ReadName


class Shadow(Copying):
    """As `mirror`, and compares what comes back with what the client got: status, header fields, and the body.

    Differences are counted (`differing`, by what differs in `headgate_shadow_differences_total`) and the first
    of them are logged, one each `log_every` seconds. Bodies are compared by their digest as they were sent, up to
    `max_response_bytes`, and never kept. The copy is sent when the client has its response, and delays nothing.
    """

    order = 411

    class Config(Copying.Config):
        """Settings of `shadow`."""

        compare_status: bool = Field(default=True, description="Whether statuses are compared.")
        compare_headers: list[ReadName] = Field(
            default=["content-type", "location"], description="The header fields that are compared."
        )
        compare_body: bool = Field(default=True, description="Whether bodies are compared.")
        max_response_bytes: int = Field(
            default=4 << 20, ge=0, description="The most bytes of a body; longer ones are not compared."
        )
        log_every: float = Field(
            default=10, ge=0, description="The least seconds between two lines of the log."
        )

    def setup(self, context: Any) -> None:
        """Makes the counters."""
        super().setup(context)
        self._seen_key = f"{context.name} seen"
        self._fields = tuple(name.lower() for name in self.config.compare_headers)
        self._equal, self._differing = context.counter("equal"), context.counter("differing")
        self._differences = context.metrics.counter(
            "differences_total", "Responses to copies that differ from those to clients.", labels=["what"]
        )
        self._logged_s = -float("inf")

    def response(self, request: Request, response: ResponseView) -> None:
        """Notes the head that the server has sent."""
        if getattr(request.state, self._key, None) is not None:
            seen = _Seen(response.status, {name: response.headers.get(name) for name in self._fields})
            vars(request.state)[self._seen_key] = seen

    def response_body(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> None:
        """Notes the body."""
        seen = getattr(request.state, self._seen_key, None)
        if seen is not None:
            seen.add(chunk, self.config.max_response_bytes)

    def log(self, request: Request, response: object) -> None:
        """Sends the copy: the request is done."""
        copy = getattr(request.state, self._key, None)
        if copy is not None:
            copy.seen = getattr(request.state, self._seen_key, None)
            copy.request_id = request.id
        super().log(request, response)

    async def _take(self, copy: Any, response: FetchResponse) -> None:
        other = _Seen(response.status, {name: response.headers.get(name) for name in self._fields})
        async for chunk in response.stream():
            other.add(chunk, self.config.max_response_bytes)
        if copy.seen is not None:
            self._compare(copy, copy.seen, other)

    def _compare(self, copy: Any, seen: _Seen, other: _Seen) -> None:
        config, found = self.config, {}
        if config.compare_status and seen.status != other.status:
            found["status"] = (str(seen.status), str(other.status))
        for name in self._fields:
            if seen.fields[name] != other.fields[name]:
                found[name] = (str(seen.fields[name])[:200], str(other.fields[name])[:200])
        is_short = max(seen.size, other.size) <= config.max_response_bytes
        if config.compare_body and copy.method != "HEAD" and is_short and seen.shown != other.shown:
            found["body"] = (seen.shown, other.shown)
        if not found:
            self._equal.add()
            return
        self._differing.add()
        for what in found:
            self._differences.inc(what)
        now_s = asyncio.get_running_loop().time()
        if now_s - self._logged_s >= config.log_every:
            self._logged_s = now_s
            facts = {name: f"{ours} / {theirs}" for name, (ours, theirs) in found.items()}
            self._context.log.warning(
                "the shadow's response differs: %s",
                ", ".join(found),
                extra={"target": self._context.masked(copy.target), "request_id": copy.request_id, **facts},
            )


class _Seen:
    """What is compared of one response."""

    def __init__(self, status: int, fields: dict[str, str | None]) -> None:
        self.status, self.fields = status, fields
        self.size = 0
        self._digest = hashlib.sha256()

    def add(self, chunk: bytes, most: int) -> None:
        """Takes the next part of the body."""
        self.size += len(chunk)
        if self.size <= most:
            self._digest.update(chunk)

    @property
    def shown(self) -> str:
        """The body, as its length and digest."""
        return f"{self.size} bytes, sha256 {self._digest.hexdigest()[:16]}"
