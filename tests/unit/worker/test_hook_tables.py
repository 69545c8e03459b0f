"""Versions of the table of hooks: what is in flight keeps its own; an old one is let go of with its last request."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headgate import Gateway, Response, _core
from headgate.compile.order import Compiled, compile_gateway
from headgate.worker.loop import Loop


def compiled(response: Callable[[_core.Request], Any]) -> Compiled:
    gate = Gateway()
    gate.listen("127.0.0.1:0")
    gate.route("/")(response)
    return compile_gateway(gate)


def saying(text: str) -> Compiled:
    return compiled(lambda _: Response(200, text))


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.detach()
    loop.close()


@pytest.fixture
def core(loop: Loop) -> Iterator[_core.Core]:
    core = _core.Core(loop)
    loop.attach(core)
    yield core
    core.close()
    loop.run_until_complete(asyncio.sleep(0.05))


async def connect(core: _core.Core) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    ours, theirs = socket.socketpair()
    core.serve(theirs.detach(), address="192.0.2.1", port=1, scheme="http", listener="127.0.0.1:0")
    return await asyncio.open_connection(sock=ours)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    return await response_text(reader)


async def response_text(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    return (await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))).decode()


def test_what_is_prepared_is_in_force_only_when_committed(loop: Loop, core: _core.Core) -> None:
    first, second = saying("first"), saying("second")
    core.apply(first.snapshot, first.hooks)

    async def act() -> None:
        kept = await connect(core)
        core.prepare(second.snapshot, second.hooks)
        assert await ask(*kept) == "first"
        core.commit()
        assert await ask(*kept) == "second"
        core.prepare(first.snapshot, first.hooks)
        core.discard()
        with pytest.raises(RuntimeError, match="no configuration is prepared"):
            core.commit()
        assert await ask(*kept) == "second"
        kept[1].close()

    loop.run_until_complete(act())


def test_a_bad_snapshot_prepares_nothing(loop: Loop, core: _core.Core) -> None:
    first = saying("first")
    core.apply(first.snapshot, first.hooks)
    with pytest.raises(ValueError, match="snapshot"):
        core.prepare("{}", [])
    with pytest.raises(RuntimeError):
        core.commit()


def test_an_old_table_is_released_with_its_last_request(loop: Loop, core: _core.Core) -> None:
    async def act() -> None:
        is_asked, may_respond, released = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def wait(_: _core.Request) -> Response:
            is_asked.set()
            await may_respond.wait()
            return Response(200, "old")

        first, second = compiled(wait), saying("new")
        core.apply(first.snapshot, first.hooks, released=released.set)
        idle, busy = await connect(core), await connect(core)
        busy[1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await is_asked.wait()
        core.apply(second.snapshot, second.hooks)
        assert await ask(*idle) == "new"
        assert not released.is_set()
        may_respond.set()
        assert await response_text(busy[0]) == "old"
        async with asyncio.timeout(5):
            await released.wait()
        # the connection is kept, its next request is under the new table
        assert await ask(*busy) == "new"
        for _, writer in (idle, busy):
            writer.close()

    loop.run_until_complete(act())


def test_a_table_that_is_discarded_is_released(loop: Loop, core: _core.Core) -> None:
    first = saying("first")
    core.apply(first.snapshot, first.hooks)

    async def act() -> None:
        released = asyncio.Event()
        core.prepare(first.snapshot, first.hooks, released=released.set)
        core.discard()
        async with asyncio.timeout(5):
            await released.wait()

    loop.run_until_complete(act())


def test_a_listener_that_is_taken_out_stops_and_its_connections_end(loop: Loop, core: _core.Core) -> None:
    first = saying("first")
    core.apply(first.snapshot, first.hooks)
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in ("kept", "removed")}
    ports = {name: one.getsockname()[1] for name, one in sockets.items()}

    async def act() -> None:
        for name, one in sockets.items():
            core.listen(one.detach(), name, name)
        kept, removed = [await asyncio.open_connection("127.0.0.1", port) for port in ports.values()]
        assert [await ask(*kept), await ask(*removed)] == ["first", "first"]
        core.unlisten("removed")
        assert await ask(*kept) == "first"
        removed[1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await removed[0].read()  # to its end
        assert b"connection: close" in response.lower() and response.endswith(b"first")
        await asyncio.sleep(0)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", ports["removed"])
        again = await asyncio.open_connection("127.0.0.1", ports["kept"])
        assert await ask(*again) == "first"
        for _, writer in (kept, removed, again):
            writer.close()

    loop.run_until_complete(act())


def test_two_hundred_changes_leave_nothing_behind(loop: Loop, core: _core.Core) -> None:
    async def act() -> None:
        left = 0

        def released() -> None:
            nonlocal left
            left -= 1

        kept = await connect(core)
        for number in range(200):
            version = saying(f"version {number}")
            left += 1
            core.apply(version.snapshot, version.hooks, released=released)
            assert await ask(*kept) == f"version {number}"
        await asyncio.sleep(0)
        assert left == 1  # the one in force
        kept[1].close()

    loop.run_until_complete(act())
