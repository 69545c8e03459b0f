"""How requests are held to a rate by several nodes that share a Redis.

How it works: one script on one key for each decision, by the clock of the server, so that neither the clocks of nodes
nor the order of commands counts; time never moves back. A worker takes several requests' worth at once and spends it
without asking (a lease). What is leased counts as used: nothing is let in beyond the rate, only at most `batch` seconds
later than it was counted. A lease that was not spent is returned with the next command. A refusal holds until the
moment that Redis has told, and costs no command until then.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from headgate import Redis

from ._rates import Rate, Verdict

MOST_LEASES = 50_000

GCRA = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local step, depth, wanted, back = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local full = tonumber(redis.call('GET', KEYS[1]) or now) - back * step
if full < now then full = now end
if full > now + depth then full = now + depth end
local given = math.floor((now + depth - full) / step + 0.000001)
if given > wanted then given = wanted end
if given < 1 then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
  return {0, 0, math.ceil(full - now), math.ceil(full + step - now - depth)}
end
full = full + given * step
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return {given, math.floor((now + depth - full) / step + 0.000001), math.ceil(full - now), 0}
"""

SLIDING_WINDOW = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local limit, window, wanted, back = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local had = redis.call('HMGET', KEYS[1], 'n', 'c', 'b')
local number, part = math.floor(now / window), (now % window) / window
local known, count, before = tonumber(had[1] or number), tonumber(had[2] or 0), tonumber(had[3] or 0)
if number < known then number, part = known, 0 end
count = math.max(count - back, 0)
if number == known + 1 then before, count = count, 0 elseif number > known + 1 then before, count = 0, 0 end
local free = limit - before * (1 - part) - count
local given = math.min(math.floor(free + 0.000001), wanted)
local wait = 0
if given < 1 then
  given = 0
  if count < limit then
    wait = (1 - (limit - 1 - count) / before - part) * window
  else
    wait = (1 - part + math.max(1 - (limit - 1) / count, 0)) * window
  end
end
count = count + given
redis.call('HSET', KEYS[1], 'n', number, 'c', count, 'b', before)
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 500))
return {given, math.floor(math.max(free - given, 0)), math.ceil((1 - part) * window), math.ceil(math.max(wait, 0))}
"""


@dataclass(slots=True)
class Lease:
    """What a worker may let in without asking."""

    tokens: int = 0
    until: float = 0.0
    """Then the rest is returned."""
    size: int = 1
    """How much is asked for next."""
    refused_until: float = 0.0
    left: int = 0
    reset_s: int = 1
    asking: asyncio.Future[None] | None = field(default=None)


class RedisLimiter:
    """A rate that all nodes share. `batch` is the longest life of a lease in seconds; 0 asks for each request."""

    def __init__(self, redis: Redis, rate: Rate, name: str, *, is_sliding: bool, batch: float) -> None:
        self._redis = redis
        self._script = SLIDING_WINDOW if is_sliding else GCRA
        micro = 1_000_000
        self._numbers: tuple[float, float] = (
            (rate.limit, rate.window * micro)
            if is_sliding
            else (rate.step * micro, rate.burst * rate.step * micro)
        )
        self._most = max(1, (rate.limit if is_sliding else rate.burst) // 20) if batch > 0 else 1
        self._batch = batch
        self._prefix = f"headgate:{name}:".encode()
        self._leases: dict[bytes, Lease] = {}
        self.commands = 0
        """How often Redis was asked."""

    async def decide(self, key: bytes, now: float) -> Verdict:
        """Counts a request at a moment of the monotonic clock; raises `RedisError` if Redis does not respond."""
        lease = self._lease(key, now)
        while True:
            if lease.tokens > 0 and now < lease.until:
                lease.tokens -= 1
                return 0.0, lease.left + lease.tokens, lease.reset_s, 0.0
            if now < lease.refused_until:
                return lease.refused_until - now, 0, lease.reset_s, 0.0
            if lease.asking is not None:
                await lease.asking
                continue
            if await self._ask(key, lease, now):
                return 0.0, lease.left + lease.tokens, lease.reset_s, 0.0

    def undo(self, key: bytes) -> None:
        """Undoes the last admission: another limit refused it."""
        if key in self._leases:
            self._leases[key].tokens += 1

    async def _ask(self, key: bytes, lease: Lease, now: float) -> bool:
        """Takes a new lease and spends one of it; says whether there was one."""
        if self._batch > 0:
            # spent before its time: ask for more at once; half of it left: for less
            is_spent = lease.tokens == 0 and now < lease.until
            lease.size = min(lease.size * 2, self._most) if is_spent else max(lease.size // 2, 1)
        back, lease.tokens = lease.tokens, 0
        asking = lease.asking = asyncio.get_running_loop().create_future()
        try:
            self.commands += 1
            arguments = (*self._numbers, lease.size, back)
            given, left, reset, wait = await self._redis.eval(
                self._script, keys=[self._prefix + key], args=arguments
            )
        finally:
            lease.asking = None
            asking.set_result(None)
        lease.left, lease.reset_s = left, math.ceil(reset / 1e6)
        if given == 0:
            lease.refused_until = now + max(wait / 1e6, 0.001)
            return False
        lease.tokens, lease.until = given - 1, now + self._batch
        return True

    def _lease(self, key: bytes, now: float) -> Lease:
        found = self._leases.get(key)
        if found is None:
            if len(self._leases) >= MOST_LEASES:
                self._leases = {
                    one: lease
                    for one, lease in self._leases.items()
                    if lease.asking is not None or now < max(lease.until, lease.refused_until)
                }
            if len(self._leases) >= MOST_LEASES:
                return Lease()  # asked for each request, and counted in Redis still
            found = self._leases[key] = Lease()
        return found
