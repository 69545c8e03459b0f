"""Who may do what: the name that was asked for, the page that asks, the token, and the role it has.

How it works: nobody is let in for the address that a connection comes from, since what the gateway itself forwards
comes from here too. Tokens are compared by their digests, all of them, in the same time whether one fits or not; an
address that fails too often waits.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from starlette.requests import Request

from headgate.config.addresses import TcpAddress, parse_listen_address
from headgate.config.admin import AdminConfig, Role

from .problems import Refusal

ROLES: dict[Role, int] = {"read": 0, "operate": 1, "admin": 2}
GUESSES, GUESSES_PER_S = 10, 0.5
"""Wrong tokens that an address may show at once, and then each second."""
MOST_ADDRESSES = 10_000

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


class Caller(NamedTuple):
    """Who asks."""

    name: str
    role: Role
    says_what_it_expects: bool = False
    """Whether it may change what exists only with the revision that it expects there."""

    def must_be(self, role: Role) -> None:
        """Raises a 403 for a lesser role."""
        if ROLES[self.role] < ROLES[role]:
            raise Refusal(403, f"this needs the role `{role}`, and the token has `{self.role}`")


class Access:
    """Lets callers in, or refuses them."""

    def __init__(self, admin: AdminConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_open = admin.is_unix and not admin.tokens
        self._owner = Caller("socket", "admin", admin.require_if_match)
        self._checks_host = not admin.is_unix
        self._hosts = {*LOOPBACK, *admin.hosts}
        address = parse_listen_address(admin.listen)
        if isinstance(address, TcpAddress) and address.host:
            self._hosts.add(f"[{address.host}]" if ":" in address.host else address.host.lower())
        self._tokens = [
            (token.digest, Caller(token.name or f"token {number}", token.role, admin.require_if_match))
            for number, token in enumerate(admin.tokens, 1)
        ]
        self._failures = Failures(clock)

    def caller(self, request: Request) -> Caller:
        """Who asks; raises a `Refusal`."""
        self.check_page(request)
        if self._is_open:
            return self._owner
        address = network_of(request.client.host) if request.client else "socket"
        if wait_s := self._failures.wait_s(address):
            raise Refusal(429, "too many wrong tokens", headers={"retry-after": str(math.ceil(wait_s))})
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        challenge = {"www-authenticate": 'Bearer realm="headgate"'}
        if scheme.lower() != "bearer" or not token.strip():
            raise Refusal(401, "a token is needed", "send `Authorization: Bearer ...`", headers=challenge)
        digest = hashlib.sha256(token.strip().encode()).digest()
        found = None
        for known, caller in self._tokens:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            self._failures.add(address)
            challenge["www-authenticate"] += ', error="invalid_token"'
            raise Refusal(401, "the token is not known", headers=challenge)
        return found

    def check_page(self, request: Request) -> None:
        """Raises a `Refusal` for another name than this API's, and for changes by pages of other sites."""
        host = request.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self._checks_host and name.rstrip(".") not in self._hosts:
            raise Refusal(421, f"`{host[:100]}` is not a name of this API", "list it in `admin.hosts`")
        if request.method not in UNSAFE:
            return
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin")
        own = f"{request.scope['scheme']}://{host}"
        if site not in ("none", "same-origin") or (origin is not None and origin.lower() != own):
            raise Refusal(403, "pages of other sites may not change anything")


def network_of(address: str) -> str:
    """Whose guesses count together: an address, or the /64 of an IPv6 one, all of which one host may have."""
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))


class Failures:
    """How often each address has shown a wrong token lately: a bucket of `GUESSES` that drains with time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def add(self, address: str) -> None:
        """One more."""
        self._levels[address] = (self._level(address) + 1, self._clock())
        self._levels.move_to_end(address)
        while len(self._levels) > MOST_ADDRESSES:
            self._levels.popitem(last=False)

    def wait_s(self, address: str) -> float:
        """Seconds until the next try; 0: now."""
        return max(0.0, (self._level(address) - GUESSES + 1) / GUESSES_PER_S)

    def _level(self, address: str) -> float:
        level, at = self._levels.get(address, (0.0, 0.0))
        return max(0.0, level - (self._clock() - at) * GUESSES_PER_S)
