"""Bounds how many requests of a client run at once, over all workers of a node or over all nodes that share a Redis.

How it works: each worker counts in a shared dictionary, and the others sum up; a count lives as long as a lease, which
a timer renews. So the slots of a killed worker, or of a dead node in Redis, are free when their lease
ends, and those of long streams and WebSockets are kept.
"""

from __future__ import annotations

import os
import secrets
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import Plugin, PluginContext, Redis, Request, Response
from headgate.native import EndNoted, Native, TakeSlot, Who

from ._clients import BY, ClientKeys, checked_by
from ._store import RedisUrl, Store, WhenAway

TAKE = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
RENEW = """
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""


MOST = 2**32
"""More slots than that are as good as no limit."""


class ConcurrencyLimit(Plugin):
    """A number of requests that each client may have running at once.

    A slot is released when the request has ended, in any way. By consumer it runs at order 110.
    """

    order = -90

    class Config(BaseModel):
        """Settings of `concurrency-limit`."""

        model_config = ConfigDict(extra="forbid")

        limit: int = Field(ge=1, description="Requests that may run at once.")
        by: str = Field(default="address", description=BY)
        ipv6_prefix: int = Field(
            default=64, ge=1, le=128, description="The bits of an IPv6 address that are one client."
        )
        ipv4_prefix: int = Field(
            default=32, ge=1, le=32, description="The bits of an IPv4 address that are one client."
        )
        lease: float = Field(
            default=30.0,
            ge=1,
            description="Seconds after which the slots of a dead worker or node are free again.",
        )
        status: int = Field(default=429, ge=400, le=599, description="The status of a refusal.")
        memory: str = Field(default="1m", description="The size of the table of clients.")
        redis: RedisUrl | None = Field(default=None, description="A Redis that all nodes count in.")
        redis_timeout: float = Field(
            default=0.1, gt=0, description="The longest that Redis is waited for, in seconds."
        )
        when_away: WhenAway = Field(
            default="local",
            description="Without Redis: `local` counts on each node, `open` lets in, `closed` is a 503.",
        )

        @field_validator("by")
        @classmethod
        def _by(cls, by: str) -> str:
            return checked_by(by)

    def setup(self, context: PluginContext) -> None:
        """Makes the tables, and the timer that renews leases."""
        config = self.config
        self._keys = ClientKeys(config.by, config.ipv4_prefix, config.ipv6_prefix)
        self.order = 110 if self._keys.needs_consumer else -90
        self._slots = context.shared("slots", config.memory)
        self._workers = context.shared("workers", "64k")
        self._pid = ""
        self._denied = context.counter("denied")
        self._name = context.name
        self._held: dict[str, bytes] = {}
        self._lease = f"{context.name} lease"
        context.every(config.lease / 3, self._renew)
        if config.redis:
            self._redis = Redis(config.redis, timeout=config.redis_timeout)
            self._store = Store(context)
            self.request = self._request_of_all_nodes  # type: ignore[method-assign, assignment]
            self.log = self._log_of_all_nodes  # type: ignore[method-assign, assignment]

    def native(self) -> Native:
        """Requests that get a slot, on one node."""
        config, by = self.config, self._keys.parts
        if config.redis or by is None:
            return Native()
        who, note = Who(by, config.ipv4_prefix, config.ipv6_prefix), f"{self._name} slot"
        slot = TakeSlot(who, min(config.limit, MOST), config.lease, self._slots, self._workers, note)
        return Native(request=[slot], log=[EndNoted(note)])

    def request(self, request: Request) -> Response | None:
        """Takes a slot."""
        key = self._keys.of(request)
        if not self._take(key):
            return self._refusal()
        vars(request.state).setdefault("slots", []).append((self, key))
        return None

    def log(self, request: Request, response: object) -> None:
        """Gives the slot back."""
        for plugin, key in getattr(request.state, "slots", ()):
            if plugin is self:
                self._give_back(key)

    # ---- one node

    def _take(self, key: bytes) -> bool:
        if not self._pid:
            self._register()
        # written before the others are read: of two at once at most one too few is let in, never one too many
        own = self._slots.incr(self._name_of(key, self._pid), 1, 0, self.config.lease)
        if own + self._others(key) > self.config.limit:
            self._give_back(key)
            return False
        return True

    def _give_back(self, key: bytes) -> None:
        name = self._name_of(key, self._pid)
        try:
            left = self._slots.incr(name, -1, None)
        except KeyError:  # there was no room for it
            return
        if left <= 0:
            self._slots.delete(name)

    def _others(self, key: bytes) -> int:
        return sum(
            int(self._slots.get(self._name_of(key, worker), 0))
            for worker in self._workers
            if worker != self._pid
        )

    @staticmethod
    def _name_of(key: bytes, worker: str) -> bytes:
        return b"%s\0%s" % (key, worker.encode())

    def _register(self) -> None:
        self._pid = str(os.getpid())
        self._workers.set(self._pid, 1, self.config.lease)

    async def _renew(self) -> None:
        self._register()
        for worker in list(self._workers):
            if not _is_alive(int(worker)):
                self._workers.delete(worker)
        own = f"\0{self._pid}"
        for name in list(self._slots):
            if name.endswith(own):
                self._slots.expire(name, self.config.lease)
        milliseconds = round(self.config.lease * 1000)
        for id, key in list(self._held.items()):
            await self._store.ask(partial(self._redis.eval, RENEW, keys=[key], args=[milliseconds, id]))

    # ---- all nodes

    async def _request_of_all_nodes(self, request: Request) -> Response | None:
        key = f"headgate:{self._name}:".encode() + self._keys.of(request)
        # of our own making: clients choose the ids of requests, and all with one id would share one slot
        lease = secrets.token_hex(16)
        arguments = [self.config.limit, round(self.config.lease * 1000), lease]
        taken: Any = await self._store.ask(lambda: self._redis.eval(TAKE, keys=[key], args=arguments))
        if taken is None:
            if self.config.when_away == "local":
                return ConcurrencyLimit.request(self, request)
            if self.config.when_away == "open":
                return None
            return Response(503, "try again later\n", headers=[("retry-after", "1")])
        if not taken:
            return self._refusal()
        self._held[lease] = key
        vars(request.state)[self._lease] = lease
        return None

    async def _log_of_all_nodes(self, request: Request, response: object) -> None:
        lease = getattr(request.state, self._lease, "")
        key = self._held.pop(lease, None)
        if key is not None:
            await self._store.ask(lambda: self._redis.command("ZREM", key, lease))
        ConcurrencyLimit.log(self, request, response)

    def _refusal(self) -> Response:
        self._denied.add()
        return Response(self.config.status, "too many requests at once\n", headers=[("retry-after", "1")])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
