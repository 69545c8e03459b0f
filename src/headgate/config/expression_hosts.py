"""The host of a request in expressions: a condition must hold for each spelling that leads to the same site."""

from __future__ import annotations

import re
from typing import Any

from .expression_names import OBJECTS

HOST = OBJECTS["request"]["host"].source
"""The Python for `request.host`."""

_WITH_PORT = re.compile(r"([^:]*|\[.*\]):([0-9]*)", re.DOTALL)


def normal_host(host: str) -> str:
    """A host in lower case, without the final dot of its name (RFC 1034 section 3.1) and without an empty port."""
    found = _WITH_PORT.fullmatch(host.lower())
    if found is None:
        return host.lower().removesuffix(".")
    name = found[1].removesuffix(".")
    return f"{name}:{found[2]}" if found[2] else name


def hosts(request: Any) -> tuple[str, str]:
    """The host as routes compare it, without its port, and with it."""
    whole = normal_host(request.host)
    found = _WITH_PORT.fullmatch(whole)
    return (found[1] if found else whole), whole


def compared_host(request: Any) -> str:
    """The host as routes compare it."""
    return hosts(request)[0]


def sent_host(request: Any) -> str:
    """The host as the client sent it."""
    host: str = request.host
    return host
