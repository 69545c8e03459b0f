"""Bounds how often a client may ask, over all workers of the node.

How it works: the generic cell rate algorithm (ITU-T I.371), a token bucket that is one number for each client: the
moment at which its bucket will be full again. Each request moves it on by `per / limit`; one that would move it further
than the bucket is deep is refused and moved back. A moment in the past means nothing, so an entry lives until it has
come. Clients that were refused are kept in a table of their own: any number of clients that ask once cannot push them
out. Workers that count for one client in the same instant may let one request each more through than the rate says.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
import time
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import Plugin, PluginContext, Request, Response, ResponseView

UNITS = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
RATE = re.compile(r"\s*(\d+)\s*/\s*(\d*)\s*([a-z]+)\s*")
PART = re.compile(r"\{([^{}]*)\}")
PLAIN = ("address", "consumer", "host", "method", "path", "route")
NAMED = ("header", "cookie", "query", "param")
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RateLimit(Plugin):
    """A rate for each client, by its address, a header field, its consumer, or any of these together.

    Past it the reply is 429 with `Retry-After` (RFC 9110 section 10.2.3) in whole seconds; who waits so long is let
    in. Every response says what is left in `RateLimit` and `RateLimit-Policy`
    (draft-ietf-httpapi-ratelimit-headers-10). By consumer it runs at order 100.
    """

    order = -100  # before authentication: guessing keys has a rate too

    class Config(BaseModel):
        """Settings of `rate-limit`."""

        model_config = ConfigDict(extra="forbid")

        rate: str = Field(description="Requests in a time, such as `10/s`, `100/minute`, `1000/24h`.")
        burst: int | None = Field(
            default=None, ge=1, description="Requests that may come at once; null is the number in `rate`."
        )
        by: str = Field(
            default="address",
            description="Who has a rate: `address`, `consumer`, `header:NAME`, or a text with these and `{host}`, "
            "`{method}`, `{path}`, `{route}`, `{cookie:NAME}`, `{query:NAME}`, `{param:NAME}` in braces. "
            "A request without that value counts by its address.",
        )
        ipv6_prefix: int = Field(
            default=64, ge=1, le=128, description="The bits of an IPv6 address that are one client."
        )
        ipv4_prefix: int = Field(
            default=32, ge=1, le=32, description="The bits of an IPv4 address that are one client."
        )
        memory: str = Field(
            default="8m",
            description="The size of the table of clients; when it is full the ones seen longest ago go.",
        )
        fields: bool = Field(
            default=True, description="Whether responses carry `RateLimit` and `RateLimit-Policy`."
        )

        @field_validator("rate")
        @classmethod
        def _rate(cls, rate: str) -> str:
            parsed_rate(rate)
            return rate

        @field_validator("by")
        @classmethod
        def _by(cls, by: str) -> str:
            for part in _parts(by):
                kind, _, name = part.partition(":")
                if part not in PLAIN and not (kind in NAMED and name):
                    known = ", ".join((*PLAIN, *(f"{one}:NAME" for one in NAMED)))
                    raise ValueError(f"`{part}` is not a valid part of `by`: it is one of {known}")
            return by

    def setup(self, context: PluginContext) -> None:
        """Makes the table."""
        self._limit, self._window = parsed_rate(self.config.rate)
        self._step = self._window / self._limit
        self._depth = (self.config.burst or self._limit) * self._step
        self._parts = _parts(self.config.by)
        # by who somebody is: after what finds that out
        self.order = 100 if "consumer" in self._parts else -100
        self._clients = context.shared("clients", self.config.memory)
        self._refused = context.shared("refused", self.config.memory)
        self._denied = context.counter("denied")
        self._log = context.log
        self._name = re.sub(r"[^A-Za-z0-9_.-]", "-", context.name)
        self._policy = f'"{self._name}";q={self.config.burst or self._limit};w={math.ceil(self._depth)}'

    def request(self, request: Request) -> Response | None:
        """Counts the request."""
        verdict = self._decide(self._key(request), time.monotonic())
        state = vars(request.state)
        state.setdefault("rate_limits", []).append((self, verdict))
        if verdict.wait_s == 0:
            return None
        self._denied.add()
        self._log.info("refused", extra={"by": self.config.by, "request_id": request.id})
        seconds = max(1, math.ceil(verdict.wait_s))
        return Response(429, "too many requests\n", headers=[("retry-after", str(seconds))])

    def response(self, request: Request, response: ResponseView) -> None:
        """Says what is left."""
        for plugin, verdict in getattr(request.state, "rate_limits", ()) if self.config.fields else ():
            if plugin is self:
                response.headers.add("ratelimit-policy", self._policy)
                response.headers.add("ratelimit", f'"{self._name}";r={verdict.left};t={verdict.reset_s}')

    def _decide(self, key: bytes, now: float) -> Verdict:
        table = self._refused if self._refused.get(key) is not None else self._clients
        full_at = float(table.incr(key, self._step, now, self._step))
        wait = full_at - now - self._depth
        # a hair's breadth of rounding must not cost the last request of a burst
        if wait > self._step * 1e-6:
            full_at = float(table.incr(key, -self._step))
            if table is self._clients:
                self._refused.add(key, full_at, max(full_at - now, 0.001))
            return Verdict(0, math.ceil(full_at - now), wait)
        table.expire(key, max(full_at - now, 0.001))
        left = math.floor((self._depth - (full_at - now)) / self._step + 1e-6)
        return Verdict(max(left, 0), math.ceil(full_at - now), 0)

    def _key(self, request: Request) -> bytes:
        values = [self._value(part, request) for part in self._parts]
        if not all(values):
            values = ["", self._value("address", request)]
        text = "\0".join(map(str, values)).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=16).digest()

    def _value(self, part: str, request: Request) -> str | None:
        kind, _, name = part.partition(":")
        if kind == "address":
            return client_network(request.client.address, self.config.ipv4_prefix, self.config.ipv6_prefix)
        if kind == "consumer":
            return getattr(request.state, "consumer", None)
        if kind == "route":
            return request.route_name
        if kind in ("host", "method", "path"):
            plain: str = getattr(request, kind)
            return plain.lower() if kind == "host" else plain
        fields: Any = {
            "header": request.headers,
            "cookie": request.cookies,
            "query": request.query_params,
            "param": request.params,
        }[kind]
        found: str | None = fields.get(name)
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request got: how many are left, when the bucket is full again, and how long to wait (0: let in)."""

    left: int
    reset_s: int
    wait_s: float


def parsed_rate(rate: str) -> tuple[int, float]:
    """`100/minute` as requests and seconds; raises `ValueError`."""
    found = RATE.fullmatch(rate)
    unit = UNITS.get(found[3]) if found else None
    count, number = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
    if unit is None or not count or not number:
        raise ValueError(
            f"`{rate}` is not a valid rate: write a number and a time, such as `10/s` or `100/minute`"
        )
    return count, float(number * unit)


def client_network(address: str, ipv4_prefix: int = 32, ipv6_prefix: int = 64) -> str:
    """The network that is one client: of an IPv6 address the first part, since one client has all of it; of an address
    that holds an IPv4 one (mapped, NAT64, 6to4) that."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a Unix socket
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is None:
            return str(ipaddress.ip_network((parsed, ipv6_prefix), strict=False))
        parsed = inner
    return str(ipaddress.ip_network((parsed, ipv4_prefix), strict=False))


def _parts(by: str) -> list[str]:
    return PART.findall(by) or [by]
