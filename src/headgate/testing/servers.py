"""The servers of a test: functions behind sockets that are files of a temporary folder."""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from headgate.message import Response

from .messages import Received
from .websocket import WebSocketServer
from .wire import Broken, read_body, read_head


class Fault(enum.Enum):
    """A server that does not respond as it should."""

    REFUSE = "refuse"
    """Connections are refused. As a server only, not as the response of a function."""
    CUT = "cut"
    """Reads the request and closes the connection."""
    HANG = "hang"
    """Reads the request and never responds."""


Reply = Response | Fault | str | bytes | int
"""A response; a text or bytes is a body with status 200, a number a status."""

Handler = Callable[[Received], Reply | Awaitable[Reply]]

Server = Reply | Handler | WebSocketServer | Sequence[Reply]
"""The replacement of a server: a fixed response, a function, or a list of them (the last one repeats)."""


Prepared = Handler | WebSocketServer | Fault
"""A function, one that takes WebSockets, or `Fault.REFUSE`."""


class FakeServer:
    """One server of an upstream. Speaks HTTP/1.1 on a Unix socket."""

    def __init__(
        self, path: Path, upstream: str, address: str, behaviour: Prepared, record: Callable[[Received], None]
    ) -> None:
        self.path, self._upstream, self._address, self._record = path, upstream, address, record
        self._behaviour = behaviour
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens, if it does."""
        if not isinstance(self._behaviour, Fault):
            self._server = await asyncio.start_unix_server(self._connected, self.path)

    async def stop(self) -> None:
        """Ends it and all its connections."""
        if self._server:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await read_head(reader):
                method, target, _ = head[0].split(" ", 2)
                if "expect" in head[1]:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body, _ = await read_body(reader, head[1], may_end=False)
                received = Received(self._upstream, self._address, method, target, head[1], body)
                self._record(received)
                if isinstance(self._behaviour, WebSocketServer):
                    return await self._behaviour.serve(reader, writer, received)
                if not await self._respond(writer, received):
                    return
        except (Broken, ConnectionError):
            pass  # the gateway gave up on it
        finally:
            writer.close()

    async def _respond(self, writer: asyncio.StreamWriter, received: Received) -> bool:
        """Whether the connection stays open."""
        assert not isinstance(self._behaviour, Fault | WebSocketServer), "it goes another way"
        reply = self._behaviour(received)
        if inspect.isawaitable(reply):
            reply = await reply
        if isinstance(reply, Fault):
            if reply is Fault.HANG:
                await asyncio.Event().wait()
            return False
        response = _response(reply)
        body = response.body or b""
        stream = None if isinstance(body, bytes) else body
        lines = [f"HTTP/1.1 {response.status} Test"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        if stream is not None:
            lines.append("Transfer-Encoding: chunked")
        elif response.status not in (204, 304):
            lines.append(f"Content-Length: {len(body) if isinstance(body, bytes) else 0}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))
        if received.method != "HEAD" and isinstance(body, bytes):
            writer.write(body)
        elif received.method != "HEAD" and stream is not None:
            async for piece in stream:
                if piece:
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    await writer.drain()
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def prepared(behaviour: Server) -> Prepared:
    """One function for all servers that behave so: a sequence of responses is one for all of them."""
    if behaviour is Fault.REFUSE or isinstance(behaviour, WebSocketServer) or callable(behaviour):
        return behaviour
    if isinstance(behaviour, Response | Fault | str | bytes | int):
        return lambda _: behaviour
    replies = list(behaviour)
    if not replies:
        raise ValueError("a server without a response; hint: add one, or `Fault.HANG`")
    return lambda _: replies.pop(0) if len(replies) > 1 else replies[0]


def _response(reply: Reply) -> Response:
    if isinstance(reply, Response):
        return reply
    if isinstance(reply, int):
        return Response(reply)
    if isinstance(reply, str | bytes):
        return Response(200, reply)
    raise TypeError(
        f"a server of a test returned `{reply!r}`; hint: a `headgate.Response`, text, bytes or a status"
    )
