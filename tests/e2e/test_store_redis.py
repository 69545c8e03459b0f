"""What is special about the Redis store: messages that are lost, replicas, users that may not write."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio

from headgate.stores import (
    Changes,
    Key,
    Store,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    Write,
    open_store,
)

from .kit.services import RedisServer
from .kit.stores import QUICK

A = Key("routes", "a")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as made:
        yield made


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis(port=server.port) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def store(server: RedisServer, admin: Any) -> AsyncIterator[Store]:
    async with open_store(f"redis://127.0.0.1:{server.port}", timing=replace(QUICK, poll_s=1)) as opened:
        yield opened


async def test_messages_that_are_lost_lose_no_change(store: Store, server: RedisServer, admin: Any) -> None:
    """Redis cuts subscribers again and again while another node writes."""
    first = await store.apply(Transaction((Write(A, {"n": 0}),)))
    watch, seen = store.watch(first), 0
    killing = asyncio.create_task(kill_subscribers(admin))

    async def write() -> None:
        async with open_store(f"redis://127.0.0.1:{server.port}") as other:
            for number in range(1, 101):
                await other.apply(Transaction((Write(A, {"n": number}),)))

    writing = asyncio.create_task(write())
    numbers = [first.number]
    async with asyncio.timeout(40):
        while seen < 100:
            update = await anext(watch)
            assert isinstance(update, Changes)
            (change,) = update.changes
            assert change.document is not None
            seen = change.document["n"]
            numbers.append(update.revision.number)
    await writing
    killing.cancel()
    assert numbers == sorted(set(numbers))


async def kill_subscribers(admin: Any) -> None:
    while True:
        await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(0.02)


async def test_everything_is_under_one_name_in_one_slot(store: Store, admin: Any) -> None:
    await store.apply(Transaction((Write(A, {"n": 1}),)))
    async with store.announce("east", {}):
        keys = sorted([key async for key in admin.scan_iter()])
    assert keys == [
        b"{headgate}:head",
        b"{headgate}:log",
        b"{headgate}:node:east",
        b"{headgate}:nodes",
        b"{headgate}:resources",
    ]


async def test_a_user_who_may_not_write_and_a_replica_say_so(
    store: Store, server: RedisServer, admin: Any
) -> None:
    await store.apply(Transaction((Write(A, {"n": 1}),)))
    await admin.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@all", "-eval")
    async with open_store(f"redis://reader:secret@127.0.0.1:{server.port}", timing=QUICK) as reader:
        assert (await reader.load()).documents("routes") == {"a": {"n": 1}}
        with pytest.raises(StoreReadOnly):
            await reader.apply(Transaction((Write(A, {"n": 2}),)))
    async with open_store(f"redis://reader:wrong@127.0.0.1:{server.port}", timing=QUICK) as stranger:
        with pytest.raises(StoreUnavailable):
            await stranger.load()
    await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreReadOnly, match="replica"):
            await store.apply(Transaction((Write(A, {"n": 2}),)))
    finally:
        await admin.execute_command("REPLICAOF", "NO", "ONE")
    await store.apply(Transaction((Write(A, {"n": 2}),)))


async def test_a_full_memory_loses_nothing(store: Store, admin: Any) -> None:
    await store.apply(Transaction((Write(A, {"n": 1}),)))
    await admin.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await store.apply(Transaction((Write(A, {"n": 2}),)))
    finally:
        await admin.config_set("maxmemory", "0")
    assert (await store.load()).documents("routes") == {"a": {"n": 1}}
    await store.apply(Transaction((Write(A, {"n": 3}),)))
    assert [entry.edits[0].after for entry in await store.history()] == [{"n": 3}, {"n": 1}]
