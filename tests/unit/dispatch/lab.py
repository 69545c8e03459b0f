"""A dispatcher in the test's own loop: raw HTTP on one side, workers on the other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headgate import Response, _core
from headgate.dispatch.client_link import ClientLink
from headgate.dispatch.dispatcher import Dispatcher
from headgate.dispatch.figures import Figures
from headgate.dispatch.settings import Settings
from headgate.pull import Job, Worker, frames

TOKEN = "t" * 32


class Lab:
    """`path` is the socket that the gateway would use."""

    def __init__(self, path: Path, dispatcher: Dispatcher) -> None:
        self.path, self.dispatcher = path, dispatcher
        self.tasks: set[asyncio.Task[Any]] = set()
        self.writers: list[asyncio.StreamWriter] = []

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Runs in the background until the test ends."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        return task

    async def worker(
        self, handler: Callable[[Job], Response | Awaitable[Response]], **options: Any
    ) -> Worker:
        """A worker that is idle."""
        worker = Worker(f"unix:{self.path}:/", token=TOKEN, **options)
        worker.handler(handler)
        links = self.dispatcher.links
        before = len(links)
        self.start(worker.serve())
        await until(lambda: len(links) > before and all(link._is_ready for link in links))
        return worker

    async def raw_worker(self) -> "RawWorker":
        """A worker whose frames the test writes."""
        reader, writer = await self._opened()
        writer.write(
            f"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: {frames.PROTOCOL}\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return RawWorker(reader, writer)

    async def client(self) -> "Client":
        """A connection of the gateway."""
        return Client(*await self._opened())

    async def get(
        self, target: str = "/", *fields: str, method: str = "GET", body: bytes = b""
    ) -> "Received":
        """One request on a connection of its own."""
        client = await self.client()
        client.send(target, *fields, method=method, body=body)
        return await client.response(method)

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        self.writers.append(writer)
        return reader, writer


class RawWorker:
    """Frames as the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, *written: bytes) -> None:
        """Sends frames."""
        self.writer.write(b"".join(written))

    async def frame(self) -> tuple[bytes, bytes]:
        """The next one."""
        header = await self.reader.readexactly(5)
        return header[:1], await self.reader.readexactly(int.from_bytes(header[1:], "big"))

    async def job(self) -> dict[str, Any]:
        """Says that it is idle, and gives what it is handed."""
        self.say(frames.frame(frames.READY))
        kind, payload = frames.PING, b""
        while kind == frames.PING:
            kind, payload = await self.frame()
        assert kind == frames.JOB
        return frames.content(payload)


class Received:
    """A response."""

    def __init__(self, status: int, fields: dict[str, str], body: bytes) -> None:
        self.status, self.fields, self.body = status, fields, body


class Client:
    """HTTP/1.1 as the gateway speaks it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, target: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> None:
        """Sends a request."""
        lines = [f"{method} {target} HTTP/1.1", "Host: x", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def response(self, method: str = "GET") -> Received:
        """Reads a response; raises `IncompleteReadError` if it is cut."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        status = int(head[0].split()[1])
        body = bytearray()
        if method == "HEAD" or status in (204, 304):
            pass
        elif "content-length" in fields:
            body += await self.reader.readexactly(int(fields["content-length"]))
        else:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readline()
        return Received(status, fields, bytes(body))


async def until(holds: Callable[[], bool]) -> None:
    """Waits until something holds; the test's own limit ends it otherwise."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@asynccontextmanager
async def lab(folder: Path, **settings: Any) -> AsyncIterator[Lab]:
    """A dispatcher that serves."""
    path = folder / "d.sock"
    usual: dict[str, Any] = {"upstream": "u", "tokens": (TOKEN,), "queue": 100, "wait": 20.0, "timeout": 20.0}
    dispatcher = Dispatcher(Settings(**{**usual, **settings}), Figures(_core.Metrics(), "u"))
    server = await asyncio.get_running_loop().create_unix_server(lambda: ClientLink(dispatcher), path)
    made = Lab(path, dispatcher)
    try:
        yield made
    finally:
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        server.close()
        for writer in made.writers:
            writer.close()
        dispatcher.close()
        await dispatcher.closed()
        await until(lambda: not dispatcher.links and not dispatcher.clients)
