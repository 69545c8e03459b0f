"""A request as a worker's handler sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote


class BodyTooLarge(ValueError):
    """The body of a request is larger than the worker takes."""


class Job:
    """One request: its `method`, `target` (path and query as they were sent) and `headers` (by name in lower case).

    A handler that is a coroutine reads the body with `read()` or `chunks()`; for a plain function it is in `body`.
    `attempt` is 1, or more if a worker before was lost with this request; `timeout_s` is how long the gateway waits for
    the response to begin. `is_cancelled` says whether nobody waits for it any more.
    """

    def __init__(self, told: dict[str, Any], taken: Callable[[int], None], max_body_bytes: int) -> None:
        self.method: str = told["method"]
        self.target: str = told["target"]
        """The path and the query as they were sent."""
        self.headers: dict[str, str] = {}
        """The header fields by name, in lower case; fields of one name are joined by `, `."""
        for name, value in told["headers"]:
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.attempt: int = told["attempt"]
        """1, or more if a worker before was lost with this request."""
        self.timeout_s: float = told["timeout"]
        """How long the gateway waits for the response to begin, in seconds."""
        self.is_cancelled = False
        """Whether nobody waits for the response any more; a coroutine is cancelled as well."""
        self._taken, self._max = taken, max_body_bytes
        self._parts: list[bytes] = []
        self._is_complete = not told["has_body"]
        self._more = asyncio.Event()
        self._body: bytes | None = None

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query; the last one of a name."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def body(self) -> bytes:
        """The body, after it was read; raises `RuntimeError` before."""
        if self._body is None:
            raise RuntimeError("the body was not read\n  hint: `await job.read()`")
        return self._body

    async def read(self) -> bytes:
        """The whole body; raises `BodyTooLarge`."""
        if self._body is None:
            parts, size = [], 0
            async for part in self.chunks():
                parts.append(part)
                size += len(part)
                if size > self._max:
                    raise BodyTooLarge(f"the body of the request has more than {self._max} bytes")
            self._body = b"".join(parts)
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in parts, as they come; the sender is held back while none is taken."""
        while True:
            while self._parts:
                part = self._parts.pop(0)
                self._taken(len(part))
                yield part
            if self._is_complete:
                return
            self._more.clear()
            await self._more.wait()

    # ---- for the connection

    def _feed(self, part: bytes) -> None:
        self._parts.append(part)
        self._more.set()

    def _end(self) -> None:
        self._is_complete = True
        self._more.set()
