"""Functions of users that fetch secrets: with one for `vault`, the secret `vault:a/b` is what it gives for `a/b`.

How it works: a function is known to the whole process, by its scheme, since settings are read in many places. It is
called in a thread of its own, with an event loop if it is async, and what it gives is remembered for a moment: the
settings of one gateway are read several times while it is loaded.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .errors import ConfigError

Resolver = Callable[[str], str | Awaitable[str]]
"""Gives the secret that a reference leads to; may be async, and may raise."""

LIMIT_S = 10.0
"""How long one secret may take."""
REMEMBERED_S = 10.0

_RESERVED = (
    "env",
    "file",
    "sha256",
    "http",
    "https",
    "redis",
    "rediss",
    "unix",
    "postgresql",
    "postgres",
    "etcd",
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
_RESOLVERS: dict[str, Resolver] = {}
_REMEMBERED: dict[str, tuple[float, str]] = {}


def add_resolver(scheme: str, function: Resolver) -> None:
    """From here on `function` gives the secrets of `scheme:...`; raises `ConfigError` for what cannot be a scheme."""
    if not _SCHEME.fullmatch(scheme) or scheme in _RESERVED:
        raise ConfigError(
            f"`{scheme}` is not a valid scheme of secrets",
            hint=f"lower-case letters, digits, `+.-`, and none of {', '.join(_RESERVED)}",
        )
    if not callable(function):
        raise ConfigError(f"the resolver of `{scheme}` is not a function")
    _RESOLVERS[scheme] = function
    for text in [one for one in _REMEMBERED if one.startswith(f"{scheme}:")]:
        del _REMEMBERED[text]


def forget_fetched() -> None:
    """From here on each secret is fetched anew, once."""
    _REMEMBERED.clear()


def is_resolved(text: str) -> bool:
    """Whether a function fetches this secret."""
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme in _RESOLVERS


def fetched(text: str) -> str:
    """The secret; raises `ConfigError` where the function does, is late, or gives none."""
    now = time.monotonic()
    at, secret = _REMEMBERED.get(text, (-REMEMBERED_S, ""))
    if now - at >= REMEMBERED_S:
        secret = _fetched(text)
        _REMEMBERED[text] = (now, secret)
    return secret


def _fetched(text: str) -> str:
    scheme, _, reference = text.partition(":")
    found: list[Any] = []
    thread = threading.Thread(
        target=_call, args=(_RESOLVERS[scheme], reference, found), name=f"secret {scheme}", daemon=True
    )
    thread.start()
    thread.join(LIMIT_S)
    if not found:
        raise ConfigError(f"the secret `{text}` was not resolved within {LIMIT_S:g} s")
    if isinstance(found[0], Exception):
        error = found[0]
        raise ConfigError(f"the secret `{text}` cannot be resolved: {type(error).__name__}: {error}")
    if not isinstance(found[0], str) or not found[0]:
        raise ConfigError(
            f"the resolver of `{scheme}` gave no text for `{text}`", hint="return the secret as `str`"
        )
    return found[0]


def _call(function: Resolver, reference: str, found: list[Any]) -> None:
    try:
        given = function(reference)
        found.append(_waited_for(given) if isinstance(given, Awaitable) else given)
    except Exception as error:
        found.append(error)


def _waited_for(given: Awaitable[str]) -> str:
    import asyncio  # which takes 40 ms, and most configurations have no need of it

    async def wait() -> str:
        return await asyncio.wait_for(given, LIMIT_S)

    return asyncio.run(wait())
