"""All that a server holds of a store, taken out, spoiled, and put back, by other ways than the store's."""

import base64
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import redis.asyncio

from .stores import Place

Memory = dict[str, Any]

_TABLES = ("meta", "revisions", "events", "keys")


async def memory_of(place: Place) -> Memory:
    """What the server holds."""
    return await _BY_SCHEME[urlsplit(place.url).scheme][0](place)


async def restore(place: Place, memory: Memory) -> None:
    """Makes the server hold that and nothing else."""
    await _BY_SCHEME[urlsplit(place.url).scheme][1](place, memory)


async def wipe(place: Place) -> None:
    """Removes all of it, as a server without persistence does when it starts again."""
    if urlsplit(place.url).scheme != "postgresql":
        await restore(place, {})
        return
    connection = await asyncpg.connect(place.direct_url)
    try:
        await connection.execute("DROP SCHEMA pgwatch CASCADE")
    finally:
        await connection.close()


async def spoiled_memories(place: Place, memory: Memory) -> list[Memory]:
    """The same with garbage where resources, and the head if there is one, should be."""
    return _BY_SCHEME[urlsplit(place.url).scheme][2](memory)


async def _postgres_memory(place: Place) -> Memory:
    connection = await asyncpg.connect(place.direct_url)
    try:
        return {name: await connection.fetch(f"SELECT * FROM pgwatch.{name}") for name in _TABLES}
    finally:
        await connection.close()


async def _postgres_restore(place: Place, memory: Memory) -> None:
    connection = await asyncpg.connect(place.direct_url)
    try:
        async with connection.transaction():
            for name in _TABLES:
                await connection.execute(f"DELETE FROM pgwatch.{name}")
                for row in memory[name]:
                    values = ", ".join(f"${number}" for number in range(1, len(row) + 1))
                    await connection.execute(f"INSERT INTO pgwatch.{name} VALUES ({values})", *row.values())
            newest = max((row["revision"] for row in memory["revisions"]), default=0)
            await connection.execute("SELECT setval('pgwatch.revision', $1)", newest)
    finally:
        await connection.close()


def _postgres_spoiled(memory: Memory) -> list[Memory]:
    made = []
    for garbage in (b"\xff{", b"[1]", b""):
        rows = [_Row({**dict(row), "value": garbage}) for row in memory["keys"]]
        made.append({**memory, "keys": rows})
    return made


class _Row(dict[str, Any]):
    """A row, as asyncpg has them."""


async def _redis_memory(place: Place) -> Memory:
    client, name = _redis(place)
    async with client:
        return {key: await client.dump(key) async for key in client.scan_iter(match=f"{{{name}}}:*")}


async def _redis_restore(place: Place, memory: Memory) -> None:
    client, name = _redis(place)
    async with client:
        async for key in client.scan_iter(match=f"{{{name}}}:*"):
            await client.delete(key)
        for key, value in memory.items():
            if isinstance(value, dict):
                await client.hset(key, mapping=value)
            elif value.startswith(b"text:"):
                await client.set(key, value.removeprefix(b"text:"))
            else:
                await client.restore(key, 0, value, replace=True)


def _redis_spoiled(memory: Memory) -> list[Memory]:
    head, resources = (next(key for key in memory if key.endswith(end)) for end in (b":head", b":resources"))
    return [
        {**memory, head: b"text:garbage"},
        {**memory, head: b'text:{"epoch": 5}'},
        {**memory, resources: b"text:not a hash"},
        {**memory, resources: {"routes/a": "\xff["}},
        {**memory, resources: {"no key": "{}"}},
    ]


def _redis(place: Place) -> tuple[Any, str]:
    parts = urlsplit(place.direct_url)
    return redis.asyncio.Redis(host=parts.hostname or "", port=parts.port or 0), parse_qs(parts.query)[
        "name"
    ][0]


async def _etcd_memory(place: Place) -> Memory:
    told = await _etcd(place, "kv/range", _etcd_range(place))
    return {kv["key"]: kv["value"] for kv in told["kvs"]}


async def _etcd_restore(place: Place, memory: Memory) -> None:
    await _etcd(place, "kv/deleterange", _etcd_range(place))
    puts = [{"request_put": {"key": key, "value": value}} for key, value in memory.items()]
    await _etcd(place, "kv/txn", {"success": puts})


def _etcd_spoiled(memory: Memory) -> list[Memory]:
    names = {base64.b64decode(key): key for key in memory}
    head = next(key for name, key in names.items() if name.endswith(b"/head"))
    resource = next(key for name, key in names.items() if b"/g/" in name)
    garbage = [base64.b64encode(text).decode() for text in (b"garbage", b"[]", b'{"epoch": 5}')]
    return [{**memory, key: one} for key in (head, resource) for one in garbage]


def _etcd_range(place: Place) -> dict[str, str]:
    prefix = urlsplit(place.url).path.strip("/").encode()
    ends = (prefix + b"/", prefix + b"0")
    return dict(zip(("key", "range_end"), (base64.b64encode(one).decode() for one in ends), strict=True))


async def _etcd(place: Place, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"http://{urlsplit(place.direct_url).netloc}/v3/{path}", json=body)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


_BY_SCHEME: dict[str, Any] = {
    "postgresql": (_postgres_memory, _postgres_restore, _postgres_spoiled),
    "redis": (_redis_memory, _redis_restore, _redis_spoiled),
    "etcd": (_etcd_memory, _etcd_restore, _etcd_spoiled),
}
