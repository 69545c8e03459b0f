"""Asks the server once for what many clients want at the same moment.

How it works: the first request for a key has it fetched from its upstream, by a task of its own, so that nobody's
leaving ends it; all who ask for the same meanwhile get the same response. What proves to be for one client only is not
shared: all who wait go on at once by themselves, and for a while nobody waits for such a key.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from headgate import FetchError, Plugin, PluginContext, Request, Response

from ._bodies import is_told_larger
from ._fields import ReadName
from ._services import forwarding_fields

ALONE = ("authorization", "range", "if-range", "if-match", "if-none-match", "if-modified-since", "upgrade")
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade")
)
MOST_KEYS = 10_000


class Shared(NamedTuple):
    """A response that several clients get."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes


class RequestCoalescing(Plugin):
    """Lets clients that ask for the same at the same moment wait for one response of the server.

    Only GET without a body, credentials, a consumer, a client certificate or conditions is shared, by host, target and
    the fields in `vary`, which are all that the server gets: name there what your hooks say of a client; of responses
    those without Set-Cookie, `private` and `no-store` (RFC 9111), whose `Vary` names nothing else, of at most
    `max_body_bytes`. It keeps nothing: the next request after the response asks anew.
    """

    order = 420
    acts = True

    class Config(BaseModel):
        """Settings of `request-coalescing`."""

        model_config = ConfigDict(extra="forbid")

        vary: list[ReadName] = Field(
            default=["accept", "accept-encoding", "accept-language"],
            description="Header fields on which a response may depend.",
        )
        ignore_cookies: bool = Field(
            default=False, description="Whether requests with cookies are shared, and go on without them."
        )
        max_body_bytes: int = Field(default=1_048_576, ge=0, description="The most bytes of a shared body.")
        timeout: float = Field(default=30, gt=0, description="The longest that is waited, in seconds.")
        alone: float = Field(
            default=60,
            ge=0,
            description="For how long a key that cannot be shared is left alone, in seconds.",
        )

    def setup(self, context: PluginContext) -> None:
        """Makes the tables."""
        self._context = context
        self._running: dict[tuple[str, ...], asyncio.Future[Shared | None]] = {}
        self._alone: dict[tuple[str, ...], float] = {}
        self._vary = [name.lower() for name in self.config.vary]
        self._refusing = (*ALONE, *(() if self.config.ignore_cookies else ("cookie",)))
        self._joined = context.counter("joined")

    async def request(self, request: Request) -> Response | None:
        """Waits for the response of another request, or begins one."""
        upstream, headers = request.upstream, request.headers
        if (
            request.method != "GET"
            or request.has_body
            or upstream is None
            or any(name in headers for name in self._refusing)
        ):
            return None
        # who it is may be known by what other plugins took out of the request, such as a key
        if getattr(request.state, "consumer", None) is not None or request.client_certificate is not None:
            return None
        key = (
            upstream,
            request.scheme,
            request.host,
            request.target,
            *(headers.get(name, "") for name in self._vary),
        )
        if self._alone.get(key, 0.0) > time.monotonic():
            return None
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.get_running_loop().create_future()
            told = [("host", request.host), *forwarding_fields(request, is_shared=True)]
            fields = told + [(name, headers[name]) for name in self._vary if name in headers]
            self._context.spawn(self._fetch(key, upstream, request.target, fields))
        else:
            self._joined.add()
        try:
            async with asyncio.timeout(self.config.timeout):
                shared = await asyncio.shield(running)
        except TimeoutError:
            return None
        return None if shared is None else Response(shared.status, shared.body, headers=shared.fields)

    async def _fetch(
        self, key: tuple[str, ...], upstream: str, target: str, fields: list[tuple[str, str]]
    ) -> None:
        shared = None
        try:
            async with asyncio.timeout(self.config.timeout):
                shared = await self._shared(upstream, target, fields)
        except (FetchError, OSError, TimeoutError):
            pass  # each goes on by itself, and gets the error that the gateway makes of it
        finally:
            if shared is None:
                if len(self._alone) >= MOST_KEYS:
                    self._alone.clear()
                self._alone[key] = time.monotonic() + self.config.alone
            running = self._running.pop(key)
            if not running.done():
                running.set_result(shared)

    async def _shared(self, upstream: str, target: str, fields: list[tuple[str, str]]) -> Shared | None:
        response = await self._context.fetch_upstream(upstream, target, headers=fields)
        try:
            headers = response.headers
            control = ",".join(headers.get_all("cache-control")).lower()
            varies = {name.strip().lower() for line in headers.get_all("vary") for name in line.split(",")}
            if (
                "set-cookie" in headers
                or any(word in control for word in ("private", "no-store"))
                or not varies <= {"", *self._vary}
                or is_told_larger(headers, self.config.max_body_bytes)
                or response.status < 200
            ):
                return None
            body = await response.body(max_bytes=self.config.max_body_bytes)
            kept = [
                (name, value)
                for name, value in headers.items()
                if name not in HOP_BY_HOP and name != "content-length"
            ]
            return Shared(response.status, kept, body)
        finally:
            response.close()
