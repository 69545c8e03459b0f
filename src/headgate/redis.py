"""A Redis client for the few commands that gateways need, run by the engine.

How it works: the engine keeps one connection a worker, opened by the first command and again when it breaks. All
requests share it, and a hook that waits for a reply never enters asyncio. For everything else there is
`redis.asyncio`, which works in hooks as it is.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Iterable, Mapping, Set
from typing import Any

from . import _core
from ._redis_sessions import refuse

Value = str | bytes | int | float
"""What is stored; numbers become text, as Redis keeps them."""

Reply = Any
"""What comes back: `bytes` (`str` with `decode_responses`), numbers, lists, `None`."""


class RedisError(Exception):
    """Redis replied with an error."""


class RedisConnectionError(RedisError, ConnectionError):
    """The connection to Redis failed; a command that was sent may have been executed."""


class RedisTimeout(RedisError, TimeoutError):
    """Redis did not reply in time."""


class Redis:
    """Servers: `redis://[user:password@]host[:port][/db]` or `unix:///path`. It connects when it is first used.

    Several hosts, with commas between them, are tried in that order. `redis+sentinel://a,b/NAME[/db]` asks Sentinels
    for the primary of that name, `redis+cluster://a,b` sends each command to the node of a cluster that has its first
    key.
    `rediss` in place of `redis` is TLS: servers are verified with the system's authorities or `ca`, a PEM file;
    `certificate` and `key`, PEM files, are shown to them; `insecure` verifies nothing.

    `timeout` bounds each command in seconds, connecting included. With `decode_responses` texts come back as `str`.
    Commands that may be repeated are sent once more if their connection broke.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 1.0,
        decode_responses: bool = False,
        ca: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        insecure: bool = False,
    ) -> None:
        if (certificate is None) != (key is None):
            raise ValueError("`certificate` and `key` belong together")
        self._url = url
        own = (os.path.abspath(certificate), os.path.abspath(key)) if certificate and key else None
        self._link = _core.RedisLink(
            url, timeout, decode_responses, os.path.abspath(ca) if ca else None, own, insecure
        )
        self._call = self._link.call

    def get(self, key: Value) -> Awaitable[Reply]:
        """The value of a key, `None` if it has none."""
        return self._call("plain", True, b"GET", key)

    def set(
        self,
        key: Value,
        value: Value,
        *,
        ex: int | None = None,
        px: int | None = None,
        nx: bool = False,
        xx: bool = False,
    ) -> Awaitable[bool]:
        """Sets a key, for `ex` seconds or `px` milliseconds; with `nx` only a new one, with `xx` only an old one.

        False if it was not set.
        """
        options: list[Value] = []
        if ex is not None:
            options += [b"EX", ex]
        if px is not None:
            options += [b"PX", px]
        if nx:
            options.append(b"NX")
        if xx:
            options.append(b"XX")
        return self._call("bool", not nx, b"SET", key, value, *options)

    def incr(self, key: Value, amount: int = 1) -> Awaitable[int]:
        """Adds to a number and returns the sum."""
        return self._call("plain", False, b"INCRBY", key, amount)

    def expire(self, key: Value, seconds: int) -> Awaitable[bool]:
        """Lets a key expire after so many seconds; False if it does not exist."""
        return self._call("bool", True, b"EXPIRE", key, seconds)

    def delete(self, *keys: Value) -> Awaitable[int]:
        """Removes keys and returns how many existed."""
        return self._call("plain", True, b"DEL", *keys)

    def exists(self, *keys: Value) -> Awaitable[int]:
        """How many of the keys exist."""
        return self._call("plain", True, b"EXISTS", *keys)

    def hget(self, key: Value, field: Value) -> Awaitable[Reply]:
        """A field of a hash."""
        return self._call("plain", True, b"HGET", key, field)

    def hgetall(self, key: Value) -> Awaitable[dict[Any, Any]]:
        """All fields of a hash."""
        return self._call("map", True, b"HGETALL", key)

    def hset(self, key: Value, fields: Mapping[Any, Value]) -> Awaitable[int]:
        """Sets fields of a hash and returns how many are new."""
        flat = [part for pair in fields.items() for part in pair]
        return self._call("plain", True, b"HSET", key, *flat)

    def sadd(self, key: Value, *members: Value) -> Awaitable[int]:
        """Adds members to a set and returns how many are new."""
        return self._call("plain", True, b"SADD", key, *members)

    def smembers(self, key: Value) -> Awaitable[Set[Any]]:
        """All members of a set."""
        return self._call("set", True, b"SMEMBERS", key)

    def srandmember(self, key: Value, count: int | None = None) -> Awaitable[Reply]:
        """A random member of a set, or a list of `count` of them."""
        return self._call("plain", True, b"SRANDMEMBER", key, *(() if count is None else (count,)))

    def eval(
        self, script: str, *, keys: Iterable[Value] = (), args: Iterable[Value] = ()
    ) -> Awaitable[Reply]:
        """Runs a Lua script on the server (EVALSHA once the server has it)."""
        return self._link.eval(script, keys, args)

    def publish(self, channel: Value, message: Value) -> Awaitable[int]:
        """Publishes a message and returns the number of subscribers that got it."""
        return self._call("plain", False, b"PUBLISH", channel, message)

    def command(self, *arguments: Value) -> Awaitable[Reply]:
        """Any other command with a single reply: `await redis.command("LPUSH", "queue", "x")`.

        `ValueError` for commands that change or hold the connection, such as `SELECT`, `MULTI` and `BLPOP`:
        all requests share it.
        """
        refuse(arguments)
        return self._call("plain", False, *arguments)
