"""Whom requests are counted for: what several plugins of limits have in common."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from headgate import ConfigError, Expression, Request

from ._fields import READ_ONLY

BY = (
    "Who is counted: `address`, `consumer`, `header:NAME`, or a text with these and `{host}`, `{method}`, `{path}`, "
    "`{route}`, `{cookie:NAME}`, `{query:NAME}`, `{param:NAME}` in braces; or `=` and an expression that gives a text, "
    'such as `=request.headers["x-a"].lowerAscii()`. A request without that value counts by its address.'
)
"""The description of a setting `by`."""

PART = re.compile(r"\{([^{}]*)\}")
PLAIN = ("address", "consumer", "host", "method", "path", "route")
NAMED = ("header", "cookie", "query", "param")
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def checked_by(by: str) -> str:
    """The setting, if it is valid; raises `ValueError`."""
    if by.startswith("="):
        gives = Expression(by[1:]).kind
        if gives != "text":
            raise ConfigError(
                f"`{by}` gives a {gives}, not a text", hint="`string(...)` makes a number a text"
            )
        return by
    for part in _parts(by):
        kind, _, name = part.partition(":")
        if part not in PLAIN and not (kind in NAMED and name):
            known = ", ".join((*PLAIN, *(f"{one}:NAME" for one in NAMED)))
            raise ConfigError(f"`{part}` is not a valid part of `by`", hint=f"it is one of {known}")
    return by


class ClientKeys:
    """Gives each request the key that it is counted under: at most 80 bytes, equal for requests of one client."""

    def __init__(self, by: str, ipv4_prefix: int = 32, ipv6_prefix: int = 64) -> None:
        self._prefixes = (ipv4_prefix, ipv6_prefix)
        self._known: dict[str, bytes] = {}
        self.is_address = by == "address"
        expression = Expression(by[1:]) if by.startswith("=") else None
        self.needs_consumer = "consumer" in _parts(by) or (
            expression is not None and expression.names_consumer
        )
        self.parts = _native_parts(by)
        """What native actions count by; None where only `of` can tell."""
        self._values: list[Callable[[Request], str | None]] = (
            [expression] if expression else [self._value(part) for part in _parts(by)]
        )

    def of(self, request: Request) -> bytes:
        """The key of a request."""
        if self.is_address:
            return self._of_address(request)
        values = [value(request) for value in self._values]
        if not all(values):
            return self._of_address(request)
        text = "\0".join(("", *map(str, values))).encode("utf-8", "surrogateescape")
        return text if len(text) <= 80 else b"#" + hashlib.blake2b(text, digest_size=16).digest()

    def _of_address(self, request: Request) -> bytes:
        address = request.client.address
        key = self._known.get(address)
        if key is None:
            if len(self._known) >= 16384:
                self._known.clear()
            key = self._known[address] = client_network(address, *self._prefixes).encode()
        return key

    def _value(self, part: str) -> Callable[[Request], str | None]:
        kind, _, name = part.partition(":")
        readers: dict[str, Callable[[Any], Any]] = {
            "address": lambda request: client_network(request.client.address, *self._prefixes),
            "consumer": lambda request: getattr(request.state, "consumer", None),
            "route": lambda request: request.route_name,
            "host": lambda request: request.host.lower(),
            "method": lambda request: request.method,
            "path": lambda request: request.path,
            "header": lambda request: request.headers.get(name),
            "cookie": lambda request: request.cookies.get(name),
            "query": lambda request: request.query_params.get(name),
            "param": lambda request: request.params.get(name),
        }
        return readers[kind]


@lru_cache(16384)
def client_network(address: str, ipv4_prefix: int = 32, ipv6_prefix: int = 64) -> str:
    """The network that is one client: of an IPv6 address the first part, since one client has all of it; of an address
    that holds an IPv4 one (mapped, NAT64, 6to4) that."""
    parsed = client_address(address)
    if parsed is None:
        return address  # a Unix socket
    prefix = ipv4_prefix if parsed.version == 4 else ipv6_prefix
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


def client_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or the IPv4 one inside an IPv6 one (mapped, NAT64, 6to4); none for a Unix socket."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed
    if parsed in NAT64:
        return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed.ipv4_mapped or parsed.sixtofour or parsed


def _native_parts(by: str) -> list[str] | None:
    if by == "address":
        return [by]
    parts = _parts(by)
    is_plain = parts != ["address"] and all(
        part in ("address", "consumer", "host", "method", "path", "route")
        or (part.startswith("header:") and part.removeprefix("header:").lower() not in READ_ONLY)
        for part in parts
    )
    return parts if is_plain and not by.startswith("=") else None


def _parts(by: str) -> list[str]:
    return PART.findall(by) or [by]
