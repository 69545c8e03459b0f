"""A waiting room: so many visitors at a time, in the order in which they came; the others see their position.

How it works: a visitor is a number in a signed cookie. Who is inside has a seat, which lives as long as it is used;
who waits has a place that lives as long as the visitor asks again. A seat is taken by adding its key, which succeeds
for one only. A timer, in one worker, gives free seats to those who waited longest; a newcomer takes one at once only
while nobody waits. In Redis one script does all of it, by the clock of Redis; whoever is inside costs it three
commands: only those who are not yet look for free seats and for who has left.
"""

from __future__ import annotations

import hmac
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Redis, Request, Response, ResponseView

from ._remembered import Remembered
from ._store import RedisUrl, Store
from ._texts import SigningSecret

TICKET = re.compile(r"([0-9]{1,18})-([0-9a-f]{64})")
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Please wait</title>
<p>You are number {position} in the queue. This page asks again by itself; your place is kept.</p></html>
"""
SEATS_AT_ONCE = 4000
"""How many seats are looked at each half second: more would hold other requests up."""
MOST_COOKIES, LONGEST_COOKIES = 1024, 2048
"""How many texts of cookies are remembered with the number of their ticket, and of how many characters."""
ENTER = """
local inside, queue, seen, last = unpack(KEYS)
local number, seats, stay, patience = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
local is_new = number == '0'
local seat = not is_new and redis.call('ZSCORE', inside, number)
if seat and tonumber(seat) > now then
  redis.call('ZADD', inside, now + stay, number)
  return {tonumber(number), 0}
end
local free = seats - redis.call('ZCOUNT', inside, now, '+inf')
local gone = redis.call('ZRANGEBYSCORE', seen, '-inf', now - patience, 'LIMIT', 0, 1000)
if #gone > 0 then
  redis.call('ZREM', queue, unpack(gone))
  redis.call('ZREM', seen, unpack(gone))
end
if is_new or not redis.call('ZSCORE', queue, number) then
  number = tostring(redis.call('INCR', last))
  redis.call('ZADD', queue, number, number)
end
redis.call('ZADD', seen, now, number)
if free > 0 then
  redis.call('ZREMRANGEBYSCORE', inside, '-inf', now)
  local called = redis.call('ZPOPMIN', queue, free)
  for place = 1, #called, 2 do
    redis.call('ZADD', inside, now + stay, called[place])
  end
end
return {tonumber(number), (redis.call('ZRANK', queue, number) or -1) + 1}
"""


class WaitingRoom(Plugin):
    """Lets in so many visitors at a time; others get a page with their position, and come in by the order of arrival.

    A visitor is a browser that keeps a cookie. A seat is free when its visitor asked for nothing for `stay` seconds;
    a place in the queue is lost when its page was not asked for again for `patience` seconds. Free seats are given to
    those who wait every half second, and nobody who came later gets in before.
    """

    order = -200

    class Config(BaseModel):
        """Settings of `waiting-room`."""

        model_config = ConfigDict(extra="forbid")

        seats: int = Field(ge=1, le=20_000, description="Visitors that are in at a time.")
        secret: SigningSecret = Field(description="The key of the tickets, of 16 characters or more.")
        stay: float = Field(default=300, ge=1, description="How long a seat is kept unused, in seconds.")
        patience: float = Field(default=30, ge=2, description="How long a place is kept unasked, in seconds.")
        refresh: int = Field(default=5, ge=1, description="After how many seconds the page asks again.")
        cookie: str | None = Field(
            default=None,
            description="The cookie that holds the ticket; null is `ticket`, for each further room another.",
        )
        page: str = Field(default=PAGE, description="The page; `{position}` is the number in the queue.")
        status: int = Field(default=503, ge=200, le=599, description="The status of the page.")
        memory: str = Field(default="16m", description="The size of the table of visitors.")
        redis: RedisUrl | None = Field(
            default=None, description="A Redis that all nodes have their queue in."
        )
        redis_timeout: float = Field(
            default=0.5, gt=0, description="The longest that Redis is waited for, in seconds."
        )
        when_away: Literal["open", "closed"] = Field(
            default="closed", description="Without Redis: `open` lets everybody in, `closed` nobody."
        )

    def setup(self, context: PluginContext) -> None:
        """Makes the table, and the timer that gives seats."""
        self._ticket = f"{context.name} ticket"
        config = self.config
        self._key = config.secret.get_secret_value().encode()
        shown = re.sub(r"[^A-Za-z0-9_.-]", "-", context.name)
        self._cookie_name = config.cookie or ("ticket" if shown == "waiting-room" else f"ticket-{shown}")
        self._signed_as = f"{context.name}\0".encode()
        self._room = context.shared("room", config.memory)
        self._waited = context.counter("waited")
        self._numbers = Remembered(self._number_of)
        self._number_by_cookies: dict[str, int] = {}
        self._looked_at = 0
        if config.redis:
            self._redis = Redis(config.redis, timeout=config.redis_timeout)
            self._store = Store(context)
            name = f"headgate:{{{context.name}}}"
            self._names = [f"{name}:{part}" for part in ("inside", "queue", "seen", "last")]
            self.request = self._request_of_all_nodes  # type: ignore[method-assign, assignment]
        else:
            self._give_seats()
            context.every(0.5, self._give_seats, once_per="node")

    def request(self, request: Request) -> Response | None:
        """Lets in, or shows the page."""
        room, number = self._room, self._number(request)
        seat = room.get(place := f"in {number}") if number else None
        if seat is not None and room.get(chair := f"seat {seat}") == number:
            stay = self.config.stay
            room.expire(place, stay)
            room.expire(chair, stay)
            return None
        if not (number and room.expire(f"waits {number}", self.config.patience)):
            number = room.incr("last")
            if room.get("next", 1) >= number and self._take_seat(number):
                room.set("next", number + 1)
                return self._let_in(request, number)
            room.set(f"waits {number}", True, self.config.patience)
        return self._page(number, max(number - room.get("next", 1), 0) + 1)

    def response(self, request: Request, response: ResponseView) -> None:
        """Gives the ticket to those who are let in and have none."""
        ticket = vars(request.state).get(self._ticket)
        if ticket is not None:
            response.headers.add("set-cookie", ticket)

    async def _request_of_all_nodes(self, request: Request) -> Response | None:
        config = self.config
        arguments = [self._number(request), config.seats, config.stay, config.patience]
        found: Any = await self._store.ask(lambda: self._redis.eval(ENTER, keys=self._names, args=arguments))
        if found is None:
            return None if config.when_away == "open" else self._page(0, 0)
        number, position = found
        if position:
            return self._page(number, position)
        return None if number == arguments[0] else self._let_in(request, number)

    def _give_seats(self) -> None:
        """Gives free seats to those who wait longest; the others stay listed as free for who comes next."""
        room, has_looked = self._room, False
        number, last = room.get("next", 1), room.get("last", 0)
        if not room.llen("free"):
            self._list_free_seats()
            has_looked = True
        while number <= last:
            if f"waits {number}" in room:  # else that visitor has left
                is_in = self._take_seat(number)
                if not is_in and not has_looked:
                    self._list_free_seats()
                    has_looked, is_in = True, self._take_seat(number)
                if not is_in:
                    break
                room.delete(f"waits {number}")
            number += 1
        if number > room.get("next", 1):
            room.set("next", number)

    def _list_free_seats(self) -> None:
        """Looks at the next part of the seats; only while none is listed, so that none is listed twice."""
        seats = self.config.seats
        part = range(self._looked_at, min(self._looked_at + SEATS_AT_ONCE, seats))
        self._looked_at = part.stop % seats
        for seat in part:
            if f"seat {seat}" not in self._room:
                self._room.rpush("free", seat)

    def _take_seat(self, number: int) -> bool:
        while (seat := self._room.lpop("free")) is not None:
            if self._sit(seat, number):
                return True
        return False

    def _sit(self, seat: int, number: int) -> bool:
        if not self._room.add(f"seat {seat}", number, self.config.stay):
            return False
        self._room.set(f"in {number}", seat, self.config.stay)
        return True

    def _number(self, request: Request) -> int:
        """The number of a ticket that is genuine; 0 without one."""
        lines = request.headers.get_all("cookie")
        if not lines:
            return 0
        cookies = "; ".join(lines)  # HTTP/2 may split the field (RFC 9113 section 8.2.3)
        number = self._number_by_cookies.get(cookies)
        if number is None:
            ticket = request.cookies.get(self._cookie_name)
            number = self._numbers[ticket] if ticket else 0
            if len(cookies) <= LONGEST_COOKIES:
                if len(self._number_by_cookies) >= MOST_COOKIES:
                    self._number_by_cookies.clear()
                self._number_by_cookies[cookies] = number
        return number

    def _number_of(self, ticket: str) -> int:
        given = TICKET.fullmatch(ticket)
        if given is None or not hmac.compare_digest(given[2], self._mac(int(given[1]))):
            return 0
        return int(given[1])

    def _mac(self, number: int) -> str:
        return hmac.digest(self._key, self._signed_as + b"%d" % number, "sha256").hex()

    def _cookie(self, number: int) -> str:
        return f"{self._cookie_name}={number}-{self._mac(number)}; Path=/; HttpOnly; SameSite=Lax"

    def _let_in(self, request: Request, number: int) -> Response | None:
        vars(request.state)[self._ticket] = self._cookie(number)
        return None

    def _page(self, number: int, position: int) -> Response:
        self._waited.add()
        seconds = str(self.config.refresh)
        reply = Response.html(self.config.page.replace("{position}", str(position)), self.config.status)
        reply.headers.update({"refresh": seconds, "retry-after": seconds, "cache-control": "no-store"})
        if number:
            reply.headers.add("set-cookie", self._cookie(number))
        return reply
