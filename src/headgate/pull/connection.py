"""One connection of a worker: it says that it is idle, takes a request, responds, and says so again."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from headgate.message import Response
from headgate.pull import frames
from headgate.pull.announcing import Announcer
from headgate.pull.job import BodyTooLarge, Job
from headgate.pull.place import Place, opened

log = logging.getLogger("headgate.pull")

Call = Callable[[Job], Awaitable[Response]]
CONNECT_LIMIT_S = 10.0
LEAVE_S = 2.0
"""How long the gateway may take to close the connection of a worker that has said that it leaves."""


class Refused(PermissionError):
    """The gateway does not take this worker."""


class Left(Exception):
    """The connection has ended as it should."""


async def connected(
    place: Place, token: str, context: ssl.SSLContext | None, worker: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of `worker` that was upgraded; raises `Refused`, OSError."""
    async with asyncio.timeout(CONNECT_LIMIT_S):
        reader, writer = await opened(place, context)
        try:
            writer.write(
                f"GET {place.target} HTTP/1.1\r\nHost: {place.authority}\r\nConnection: upgrade\r\n"
                f"Upgrade: {frames.PROTOCOL}\r\nAuthorization: Bearer {token}\r\n"
                f"Headgate-Worker: {worker}\r\n\r\n".encode("latin-1")
            )
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split(b" ", 2)[1].decode("latin-1")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
            writer.close()
            raise ConnectionError("the gateway has not responded with HTTP/1.1") from None
        except BaseException:
            writer.close()
            raise
        if status != "101":
            writer.close()
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            if status in ("401", "403"):
                raise Refused(f"the gateway does not accept the token: {line}")
            raise ConnectionError(f"the gateway does not take workers at `{place.target}`: {line}")
        return reader, writer


class Connection:
    """After the upgrade; `call` is the handler. `max_body_bytes` is the most that `Job.read` takes. A worker that is
    shared by several gateways has an `announcer`.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        call: Call,
        max_body_bytes: int,
        announcer: Announcer | None = None,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._call, self._max_body_bytes = call, max_body_bytes
        self._announcer = announcer
        self._job: Job | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_leaving = False
        self.jobs = 0
        """Requests taken."""

    async def run(self) -> None:
        """Serves until the gateway or `leave` ends it; raises `Left`, OSError, `ProtocolError`."""
        try:
            self._write(frames.READY)
            if self._announcer:
                self._announcer.connected(1)
            reader = frames.Reader()
            while data := await self._reader.read(1 << 16):
                reader.feed(data)
                for kind, payload in reader.frames():
                    self._on_frame(kind, payload)
            raise Left if self._is_leaving else ConnectionError("the gateway has closed the connection")
        finally:
            self._is_leaving = True
            if self._task:
                self._cancel()
                with suppress(asyncio.CancelledError):
                    await self._task
            if self._announcer:
                self._announcer.connected(-1)
            self._writer.close()

    def leave(self) -> None:
        """Ends the connection after the request in progress. The gateway closes it, as a request may be on its way:
        that one is not begun, and goes to another worker.
        """
        if self._is_leaving:
            return
        self._is_leaving = True
        if self._task is None:
            self._tell_leave()

    # ---- steps

    def _on_frame(self, kind: bytes, payload: bytes) -> None:
        job = self._job
        if kind == frames.PING:
            self._write(frames.PONG, payload)
        elif kind == frames.JOB:
            self._begin(frames.content(payload))
        elif kind == frames.LEAVE:
            self.leave()
        elif kind == frames.CANCEL:
            self._cancel()
        elif kind == frames.DATA:
            if job is not None:
                job._feed(payload)
        elif kind == frames.END:
            if job is not None:
                job._end()
        else:
            raise frames.ProtocolError(f"an unknown frame {kind!r}")

    def _begin(self, told: dict[str, Any]) -> None:
        if self._job is not None:
            raise frames.ProtocolError("a `job` before the one before is done")
        if self._is_leaving or (self._announcer and not self._announcer.take(told.get("announcement"))):
            return self._write(frames.BUSY)
        self.jobs += 1
        try:
            self._job = Job(told, self._taken, self._max_body_bytes)
        except (KeyError, TypeError) as error:
            raise frames.ProtocolError(f"a `job` that is not whole: {error}") from None
        self._task = asyncio.get_running_loop().create_task(self._serve(self._job))
        return None

    def _tell_leave(self) -> None:
        self._write(frames.LEAVE)
        asyncio.get_running_loop().call_later(LEAVE_S, self._writer.close)

    def _cancel(self) -> None:
        if self._job and self._task:
            self._job.is_cancelled = True
            self._task.cancel()

    async def _serve(self, job: Job) -> None:
        try:
            try:
                response = await self._call(job)
            except BodyTooLarge:
                response = Response(413)
            except Exception:
                # without the query, which may have secrets
                log.exception("the handler has failed: %s %s", job.method, job.target.partition("?")[0])
                response = Response(500)
            if not job.is_cancelled:
                await self._send(response)
        except asyncio.CancelledError:
            pass  # said by the gateway, or the connection is gone
        except OSError:
            return
        finally:
            self._job = self._task = None
            if self._is_leaving:
                self._tell_leave()
            else:
                self._write(frames.READY)
            if self._announcer:
                self._announcer.done()

    async def _send(self, response: Response) -> None:
        body, fields = response.body, list(response.headers.items())
        if isinstance(body, AsyncIterator):
            self._tell_head(response.status, fields)
            try:
                async for part in body:
                    await self._send_body(part)
            except Exception:
                log.exception("the body of a response has failed")
                return self._write(frames.FAIL)
        else:
            content = body or b""
            if response.status not in (204, 304):
                fields.append(("content-length", str(len(content))))
            self._tell_head(response.status, fields)
            await self._send_body(content)
        return self._write(frames.END)

    def _tell_head(self, status: int, fields: list[tuple[str, str]]) -> None:
        head: dict[str, Any] = {
            "status": status,
            # bytes of UTF-8, each as a character, as HTTP carries them
            "headers": [
                (name, value.encode("utf-8", "surrogateescape").decode("latin-1")) for name, value in fields
            ],
        }
        self._writer.write(frames.told(frames.HEAD, head))

    async def _send_body(self, body: bytes) -> None:
        for piece in frames.pieces(frames.DATA, body):
            self._writer.write(piece)
            await self._writer.drain()

    def _taken(self, size: int) -> None:
        self._write(frames.TAKEN, size.to_bytes(4, "big"))

    def _write(self, kind: bytes, payload: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(frames.frame(kind, payload))
