"""The HTTP client of stores: what it keeps, what it asks again, what it refuses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from headgate.stores.http_client import HttpClient, HttpFailed

Say = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


class Server:
    """Responds to each request on each connection as it is told to; counts connections and requests."""

    def __init__(self, say: Say) -> None:
        self.say, self.connections = say, 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self.say(writer, len(self.requests))
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(say: Say) -> AsyncIterator[tuple[Server, str]]:
    server = Server(say)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def always(text: bytes, *, closes: bool = False) -> Say:
    async def say(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(text)
        if closes:
            writer.close()

    return say


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_calls_share_a_connection_and_carry_their_fields_and_body() -> None:
    async with serving(always(OK)) as (server, base):
        client = HttpClient(None, 5)
        for _ in range(3):
            reply = await client.post(base, "/v3/x", b"{}", {"authorization": "t"})
            assert (reply.status, reply.body) == (200, b"hi")
        client.close()
        assert server.connections == 1
        head = server.requests[0].split(b"\r\n")
        assert head[0] == b"POST /v3/x HTTP/1.1"
        assert {b"authorization: t", b"host: " + base.removeprefix("http://").encode()} <= set(head)
        assert server.requests[0].endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    ("text", "closes", "body"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n", False, b"abcde"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", True, b"until the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", False, b"hi"),
    ],
    ids=["chunked", "until the end", "HTTP/1.0"],
)
async def test_bodies_are_read_however_they_are_framed(text: bytes, closes: bool, body: bytes) -> None:
    async with serving(always(text, closes=closes)) as (_, base):
        client = HttpClient(None, 5)
        for _ in range(2):
            assert (await client.post(base, "/", b"", {})).body == body
        client.close()


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_without_a_word() -> None:
    async def say(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 2:
            writer.close()  # instead of a response
        else:
            writer.write(OK)

    async with serving(say) as (server, base):
        client = HttpClient(None, 5)
        for _ in range(2):
            assert (await client.post(base, "/", b"", {})).body == b"hi"
        client.close()
        assert server.connections == 2
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "without a response"),
        (b"garbage\r\n\r\n", "not HTTP/1.1"),
        (b"SSH-2.0-x\r\n", "ended prematurely"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "ended prematurely"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi", "malformed framing"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed framing"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", "not HTTP/1.1"),
    ],
)
async def test_what_is_not_http_is_told(text: bytes, says: str) -> None:
    async with serving(always(text, closes=True)) as (_, base):
        client = HttpClient(None, 5)
        with pytest.raises(HttpFailed, match=says):
            await client.post(base, "/", b"", {})
        client.close()


async def test_a_server_that_hangs_is_not_waited_for() -> None:
    async with serving(always(b"HTTP/1.1 200 OK\r\n")) as (_, base):
        client = HttpClient(None, 0.05)
        with pytest.raises(TimeoutError):
            await client.post(base, "/", b"", {})
        client.close()


async def test_a_stream_gives_lines_however_they_are_cut() -> None:
    text = CHUNKED + b"4\r\none\n\r\n3\r\ntwo\r\n6\r\n\nthree\r\n0\r\n\r\n"
    async with serving(always(text)) as (_, base):
        client = HttpClient(None, 5)
        async with aclosing(client.lines(base, "/", b"", {})) as said:
            assert [line async for line in said] == [b"one", b"two", b"three"]
