"""Commands of Redis that would change, or hold, the one connection that all requests of a worker share."""

from __future__ import annotations

from collections.abc import Sequence

_CHANGE = frozenset(
    (
        *(
            "ASKING",
            "AUTH",
            "DISCARD",
            "EXEC",
            "HELLO",
            "MONITOR",
            "MULTI",
            "PSUBSCRIBE",
            "PSYNC",
            "PUNSUBSCRIBE",
        ),
        *(
            "QUIT",
            "READONLY",
            "READWRITE",
            "RESET",
            "SELECT",
            "SSUBSCRIBE",
            "SUBSCRIBE",
            "SUNSUBSCRIBE",
            "SYNC",
        ),
        *("UNSUBSCRIBE", "UNWATCH", "WATCH"),
    )
)
"""What another request would find changed: its database, its user, a transaction, replies that nobody asked for."""
_CHANGE_AS_CLIENT = frozenset(("CACHING", "NO-EVICT", "NO-TOUCH", "REPLY", "SETINFO", "SETNAME", "TRACKING"))
_BLOCK = frozenset(
    (
        *("BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN"),
        *("WAIT", "WAITAOF"),
    )
)
"""What keeps the commands of all other requests waiting."""
_BLOCK_IF_TOLD = frozenset(("XREAD", "XREADGROUP"))

HINT = "use a connection of its own from `redis.asyncio`, or one script with `eval`"


def refuse(arguments: Sequence[object]) -> None:
    """Raises `ValueError` for a command that other requests would feel."""
    name, *rest = [_word(one) for one in arguments[:8]] or [""]
    if name in _CHANGE or (name == "CLIENT" and rest[:1] and rest[0] in _CHANGE_AS_CLIENT):
        shown = " ".join((name, rest[0])) if name == "CLIENT" else name
        raise ValueError(f"`{shown}` changes the connection that all requests share; hint: {HINT}")
    if name in _BLOCK or (name in _BLOCK_IF_TOLD and "BLOCK" in rest):
        raise ValueError(f"`{name}` holds the connection that all requests share; hint: {HINT}")


def _word(argument: object) -> str:
    if isinstance(argument, bytes | bytearray):
        return bytes(argument[:16]).decode("ascii", "replace").upper()
    return argument[:16].upper() if isinstance(argument, str) else ""
