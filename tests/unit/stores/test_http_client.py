"""The HTTP client of stores: what it keeps, what it asks again, what it refuses."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from e2e.kit.pki import Authority

from headgate.stores.http_client import HttpClient
from headgate.stores.http_response import HttpFailed

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
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, b""),
        (
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
            False,
            b"hi",
        ),
    ],
    ids=["chunked", "until the end", "HTTP/1.0", "none", "after an early one"],
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
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi", "length is not valid"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", "length is not valid"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "length is not valid"),
        (CHUNKED + b"zz\r\n", "malformed framing"),
        (CHUNKED + b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n", "malformed framing"),
        (CHUNKED + b"2\r\nhi!!0\r\n\r\n", "malformed framing"),
        (CHUNKED + b"2\r\nhi\r\n0\r\n" + b"t: 1\r\n" * 20_000 + b"\r\n", "too long"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "malformed framing"),
        (CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n", "malformed framing"),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi", "a field of the response is malformed"),
        (b"HTTP/1.1 200 OK\r\n folded\r\n\r\nhi", "a field of the response is malformed"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "many that announce it"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", "head is too long"),
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


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 268435457\r\n\r\n",
        CHUNKED + b"10000001\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 5000 + b"\r\n\r\n",
    ],
)
async def test_more_than_a_store_says_is_not_waited_for(text: bytes) -> None:
    async with serving(always(text)) as (_, base):
        with pytest.raises(HttpFailed):
            await HttpClient(None, 30).post(base, "/", b"{}", {})


async def test_a_body_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.stores.http_client.LONGEST_BODY_BYTES", 100)
    async with serving(always(CHUNKED + (b"40\r\n" + b"x" * 64 + b"\r\n") * 2)) as (_, base):
        with pytest.raises(HttpFailed, match="too long"):
            await HttpClient(None, 30).post(base, "/", b"{}", {})


async def test_servers_show_a_certificate_that_the_authority_signed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = Server(always(OK))
    context = authority.server(authority.issue("localhost"))
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context) as listening:
        port = listening.sockets[0].getsockname()[1]
        client = HttpClient(authority.client(), 30)
        assert (await client.post(f"https://localhost:{port}", "/", b"{}", {})).body == b"hi"
        client.close()
        with pytest.raises(ssl.SSLError):
            await HttpClient(ssl.create_default_context(), 30).post(
                f"https://localhost:{port}", "/", b"{}", {}
            )
