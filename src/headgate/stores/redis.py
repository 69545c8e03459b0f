"""Configuration in Redis or Valkey: a Lua script that writes a revision whole, a stream that keeps the log.

How it works: `{NAME}:head`, `{NAME}:resources` (a hash) and `{NAME}:log` (a stream whose ids are the numbers) change
together, in one script, if the head is still the one that was read. Its message on the channel `{NAME}` only wakes;
messages that Redis drops cost time and nothing else. A replica that lagged and was promoted has other marks.
Redis needs a second connection for the messages.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Collection, Coroutine, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit, urlunsplit

import redis.asyncio
import redis.exceptions

from headgate.stores.base import Document, Key, RegisteredNode, Timing
from headgate.stores.documents import decoded, encoded
from headgate.stores.errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from headgate.stores.logged import Head, LoggedStore, Planned, Reading, record_of, resource_of, resource_text
from headgate.stores.records import RevisionRecord
from headgate.stores.watching import announced

_COMMIT = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
local change = cjson.decode(ARGV[4])
for _, name in ipairs(change.gone) do redis.call('HDEL', KEYS[2], name) end
for position = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[position], ARGV[position + 1]) end
redis.call('XADD', KEYS[3], change.number .. '-1', 'record', ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[4], change.mark)
return 1
"""
_FORGET = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[3])
return 1
"""


class RedisStore(LoggedStore):
    """See the module; `redis://host:6379/0?name=headgate`, or `rediss://` for TLS."""

    def __init__(self, url: str, server: str, name: str, timing: Timing) -> None:
        super().__init__(url, timing)
        self._keys = [f"{{{name}}}:{part}" for part in ("head", "resources", "log")]
        self._channel = f"{{{name}}}"
        self._redis: Any = redis.asyncio.Redis.from_url(
            server,
            # `_asked` and `listen_on` bound each wait; the library would make a task of each command for it
            socket_timeout=None,
            socket_connect_timeout=timing.response_s,
            health_check_interval=timing.keepalive_s,
            single_connection_client=False,
            max_connections=2,
            retry=None,
            driver_info=None,  # older servers refuse it
        )
        self._turn = asyncio.Lock()

    @classmethod
    def of_url(cls, url: str, timing: Timing) -> "RedisStore":
        """The store of a URL; raises `ValueError`."""
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        name = query.pop("name", ["headgate"])[0]
        return cls(url, urlunsplit(parts._replace(query=urlencode(query, doseq=True))), name, timing)

    async def read(self, keys: Collection[Key] | None) -> Reading:
        """See `LoggedStore`."""
        names = None if keys is None else [str(key) for key in keys]

        async def ask() -> Any:
            async with self._redis.pipeline(transaction=True) as asked:
                if names is None:
                    asked.hgetall(self._keys[1])
                elif names:
                    asked.hmget(self._keys[1], names)
                asked.set(self._keys[0], self.first_head(), nx=True)
                asked.get(self._keys[0])
                return await asked.execute()

        *found, _, text = await self._asked(ask())
        values = found[0] if found else []
        pairs = values.items() if isinstance(values, dict) else zip(names or (), values, strict=True)
        resources = [
            resource_of(name.decode(errors="replace") if isinstance(name, bytes) else name, value)
            for name, value in pairs
            if value is not None
        ]
        return Reading(self._head_of(text, self._keys[0]), text, {one.key: one for one in resources})

    async def records(self, first: int, last: int) -> tuple[Head, list[RevisionRecord]]:
        """See `LoggedStore`."""

        async def ask() -> Any:
            async with self._redis.pipeline(transaction=True) as asked:
                asked.xrange(self._keys[2], f"{first}-0", f"{last}-2")
                asked.set(self._keys[0], self.first_head(), nx=True)
                asked.get(self._keys[0])
                return await asked.execute()

        found, _, text = await self._asked(ask())
        records = []
        for id, fields in found:
            where = f"{self._keys[2]} {id.decode()}"
            records.append(record_of(where, fields.get(b"record", b"")))
        return self._head_of(text, self._keys[0]), records

    def request(self, reading: Reading, head: Head, record: RevisionRecord) -> list[str | bytes]:
        """See `LoggedStore`: the arguments of the script; the second is the new head."""
        texts = {str(step.edit.key): resource_text(step, head.number) for step in record.steps}
        gone = [name for name, text in texts.items() if text is None]
        change = {"number": head.number, "mark": head.mark, "gone": gone}
        pairs = [one for name, text in texts.items() if text is not None for one in (name, text)]
        return [reading.proof, head.text(), json.dumps(record.plain()), json.dumps(change), *pairs]

    async def commit(self, planned: Planned) -> bool:
        """See `LoggedStore`."""
        call = self._redis.eval(_COMMIT, 4, *self._keys, self._channel, *planned.request)
        is_done = bool(await self._asked(call))
        if is_done:
            self._newest = (planned.head, planned.request[1])
        return is_done

    async def forget(self, reading: Reading, head: Head) -> bool:
        """See `LoggedStore`."""
        arguments = (reading.proof, head.text(), f"{head.oldest}-0")
        return bool(await self._asked(self._redis.eval(_FORGET, 3, *self._keys, *arguments)))

    @contextlib.asynccontextmanager
    async def announce(self, node: str, facts: Document, *, ttl_s: float = 15) -> AsyncIterator[None]:
        """See `Store`."""
        name, among = f"{self._channel}:node:{quote(node, safe='')}", f"{self._channel}:nodes"

        async def say() -> None:
            async with self._redis.pipeline(transaction=True) as asked:
                asked.set(name, encoded(facts), px=int(ttl_s * 1000))
                asked.sadd(among, quote(node, safe=""))
                await asked.execute()

        async with announced(
            lambda: self._asked(say()), lambda: self._asked(self._redis.delete(name)), ttl_s
        ):
            yield

    async def nodes(self) -> Sequence[RegisteredNode]:
        """See `Store`."""
        among = f"{self._channel}:nodes"
        names = sorted(one.decode() for one in await self._asked(self._redis.smembers(among)))
        if not names:
            return []
        texts = await self._asked(self._redis.mget([f"{self._channel}:node:{name}" for name in names]))
        gone = [name for name, text in zip(names, texts, strict=True) if text is None]
        if gone:
            await self._asked(self._redis.srem(among, *gone))
        there = [(name, text) for name, text in zip(names, texts, strict=True) if text is not None]
        return [RegisteredNode(unquote(name), decoded(text, name)) for name, text in there]

    async def listen_on(self) -> None:
        """See `LoggedStore`. Subscribes, and again after each cut; a silent connection is tried each `keepalive_s`."""
        failures = 0
        while not self.is_closed:
            messages = self._redis.pubsub()
            try:
                async with asyncio.timeout(self.timing.response_s):
                    await messages.subscribe(self._channel)
                failures = 0
                while not self.is_closed:
                    message = await messages.get_message(timeout=self.timing.keepalive_s)
                    if message is None:
                        async with asyncio.timeout(self.timing.response_s):
                            await messages.ping()
                        message = await messages.get_message(timeout=self.timing.response_s)
                        if message is None:
                            raise redis.exceptions.ConnectionError("no response in time")
                    if message["type"] == "message" and self.is_own(message["data"].decode(errors="replace")):
                        continue
                    if message["type"] in ("message", "subscribe"):
                        self._is_listening.set()
                        self.wake()
            except Exception as error:  # as above
                self.is_ill(_failure(error))
                self._is_listening.set()  # a watch that waits for it asks by itself, and says what it finds
                failures += 1
            finally:
                with contextlib.suppress(Exception):
                    await messages.aclose()
            await self.pause(failures)

    async def close(self) -> None:
        """See `Store`."""
        await super().close()
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            await self._redis.aclose()

    async def _asked(self, call: Awaitable[Any]) -> Any:
        """What Redis says, or why it says nothing; one call at a time, on one connection."""
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:
            if isinstance(call, Coroutine):
                call.close()
            raise
        try:
            try:
                async with asyncio.timeout(self.timing.response_s):
                    result = await call
            except BaseException as error:
                # before the next call: it would read what was still to come for this one
                await self._redis.connection_pool.disconnect()
                if not isinstance(error, Exception):
                    raise
                failure = _failure(error)
            else:
                self.is_well()
                return result
        finally:
            self._turn.release()
            if task and task.cancelling() > cancels:
                raise asyncio.CancelledError  # which the library may have swallowed
        if not isinstance(failure, StoreReadOnly):
            self.is_ill(failure)
        raise failure


def _failure(error: Exception) -> StoreError:
    """What an error of the library means."""
    match error:
        case redis.exceptions.ReadOnlyError():
            return StoreReadOnly(f"this Redis is a replica: {error}")
        case redis.exceptions.NoPermissionError():
            return StoreReadOnly(str(error))
        case redis.exceptions.ResponseError() if "WRONGTYPE" in str(error):
            return StoreCorrupt(str(error))
        case redis.exceptions.RedisError() | OSError() | TimeoutError():
            return StoreUnavailable(str(error) or "no response in time")
        case _:  # the library raises anything where a response is malformed
            return StoreCorrupt(f"malformed response: {error}: is it Redis?")
