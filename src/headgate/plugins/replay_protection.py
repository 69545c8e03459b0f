"""Lets each request in once: a nonce and a time that the client sends."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Redis, Request, Response
from headgate.native import Native, PassOnce, can_set

from ._fields import ReadName
from ._store import RedisUrl, Store

NONCE = re.compile(r"[\x21-\x7e]{8,200}")
LONGEST = 2**31
"""Seconds that native actions can add to a time."""


MORE = 1
"""Seconds that a nonce is remembered for longer than its time counts: both ends are read from clocks that tick."""


class ReplayProtection(Plugin):
    """Refuses a request whose nonce was seen before, or whose time is too far from now.

    For clients that sign their requests, nonce and time included: without a signature anybody can choose new ones. A
    nonce is remembered for a second longer than its time would be taken, over all workers, and with `redis` over all
    nodes, whose clocks may differ by `skew` as well.
    """

    order = 30

    class Config(BaseModel):
        """Settings of `replay-protection`."""

        model_config = ConfigDict(extra="forbid")

        nonce_header: ReadName = Field(
            default="x-nonce", description="The field with a text of 8 to 200 characters."
        )
        time_header: ReadName = Field(default="x-timestamp", description="The field with seconds since 1970.")
        skew: int = Field(default=300, ge=1, description="How far the time may be from now, in seconds.")
        memory: str = Field(
            default="16m",
            description="The size of the table; when it is full of nonces that still count, new requests get a 503.",
        )
        redis: RedisUrl | None = Field(default=None, description="A Redis that all nodes remember in.")
        redis_timeout: float = Field(
            default=0.1, gt=0, description="The longest that Redis is waited for, in seconds; away is a 503."
        )

    def setup(self, context: PluginContext) -> None:
        """Makes the table."""
        self._seen = context.shared("seen", self.config.memory)
        self._reserve = self._seen.capacity // 8
        self._denied = context.counter("denied")
        self._name = context.name
        if self.config.redis:
            self._redis = Redis(self.config.redis, timeout=self.config.redis_timeout)
            self._store = Store(context)
            self.request = self._request_of_all_nodes  # type: ignore[method-assign, assignment]

    def native(self) -> Native:
        """Requests that were not seen before, on one node."""
        config = self.config
        if (
            config.redis
            or config.skew > LONGEST
            or not (can_set(config.nonce_header) and can_set(config.time_header))
        ):
            return Native()
        once = PassOnce(config.nonce_header, config.time_header, config.skew, self._seen, self._reserve)
        return Native(request=[once])

    def request(self, request: Request) -> Response | None:
        """Remembers the nonce."""
        key = self._key(request)
        if key is None:
            return self._refusal("the nonce or the time is missing, or too far from now")
        if self._seen.free_space < self._reserve:
            # nothing that still counts may be pushed out: that could come again
            self._seen.flush_expired()
            if self._seen.free_space < self._reserve:
                return Response(503, "try again later\n", headers=[("retry-after", str(self.config.skew))])
        if not self._seen.add(key, 1, 2 * self.config.skew + MORE):
            return self._refusal("this request came before")
        return None

    async def _request_of_all_nodes(self, request: Request) -> Response | None:
        key = self._key(request)
        if key is None:
            return self._refusal("the nonce or the time is missing, or too far from now")
        name = f"headgate:{self._name}:".encode() + key
        is_new: Any = await self._store.ask(
            # of two nodes' clocks one may be behind by as much
            lambda: self._redis.set(name, 1, ex=3 * self.config.skew + MORE, nx=True)
        )
        if is_new is None:
            return Response(503, "try again later\n", headers=[("retry-after", "1")])
        return None if is_new else self._refusal("this request came before")

    def _key(self, request: Request) -> bytes | None:
        nonces = request.headers.get_all(self.config.nonce_header)
        times = request.headers.get_all(self.config.time_header)
        if len(nonces) != 1 or len(times) != 1 or not NONCE.fullmatch(nonces[0]):
            return None
        if not re.fullmatch(r"[0-9]{1,12}", times[0]) or abs(time.time() - int(times[0])) > self.config.skew:
            return None
        who = getattr(request.state, "consumer", None) or ""
        return hashlib.sha256(f"{who}\0{nonces[0]}".encode()).digest()[:16]

    def _refusal(self, reason: str) -> Response:
        self._denied.add()
        return Response(403, f"{reason}\n")
