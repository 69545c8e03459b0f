"""Checks over HTTP/1, on a connection that is kept between checks.

How it works: the request is written once and sent again and again; no task is made unless a connection is. A kept
connection that the server closes before it responds is no failure: the check is repeated on a new one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from headgate.monitor.checker import Done
from headgate.monitor.probes.connecting import PROXY_HEADERS, CheckFailed, connect, security
from headgate.monitor.probes.http_response import Malformed, Response, parsed, verdict, weight
from headgate.monitor.probes.task import reason
from headgate.monitor.target import Target

BUFFER = memoryview(bytearray(1 << 16))
"""Where every connection is read into, one after another: asyncio would allocate 256 KB for each read otherwise."""


class HttpProbe(asyncio.BufferedProtocol):
    """The checks of one server."""

    def __init__(self, target: Target) -> None:
        self._check: dict[str, Any] = target.check
        self._place = target.place
        self._security = security(target)
        self._header = PROXY_HEADERS.get(self._check["proxy_protocol"] or "", b"")
        self._request = _request(target)
        self._needs_body = self._check["body"] is not None
        self._has_body = self._check["method"] != "HEAD"
        self._done: Done | None = None
        self._transport: asyncio.Transport | None = None
        self._is_kept = False
        """Whether the connection has carried a check before."""
        self._data = b""
        self._connecting: asyncio.Task[None] | None = None

    def begin(self, done: Done) -> None:
        """See `Probe`."""
        self._done, self._data = done, b""
        if self._transport and not self._transport.is_closing():
            self._is_kept = True
            self._transport.write(self._request)
        else:
            self._connect()

    def cancel(self) -> None:
        """See `Probe`; what may come late must not be taken for the next response."""
        self._done = None
        self._drop()

    def close(self) -> None:
        """See `Probe`."""
        self._drop()

    # ---- the connection

    def _connect(self) -> None:
        self._is_kept = False
        self._connecting = asyncio.get_running_loop().create_task(self._connected())

    async def _connected(self) -> None:
        try:
            transport, _ = await connect(lambda: self, self._place, self._security, self._header)
        except (OSError, CheckFailed) as error:
            self._ended(reason(error))
            return
        if transport.is_closing():  # already, before this task went on
            self._ended("closed without a response")
            return
        self._transport = transport
        transport.write(self._request)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where more of the response is read into."""
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """More of the response."""
        self._data += BUFFER[:nbytes]
        if self._done:
            self._look(at_end=False)
        else:
            self._drop()  # nobody has asked

    def eof_received(self) -> bool:
        """The server sends no more."""
        if self._done and (self._data or not self._is_kept):
            self._look(at_end=True)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Also what ends a kept connection between two checks, which is its server's right."""
        if self._connecting and not self._connecting.done():
            return  # whoever connects hears of it
        self._transport = None
        if self._done is None:
            return
        if self._is_kept and not self._data:
            self._connect()
        else:
            self._ended(reason(error) if error else "closed without a response")

    # ---- the response

    def _look(self, *, at_end: bool) -> None:
        try:
            response = parsed(self._data, has_body=self._has_body, needs_body=self._needs_body, at_end=at_end)
        except Malformed as error:
            self._drop()
            return self._ended(str(error))
        return self._judge(response) if response else None

    def _judge(self, response: Response) -> None:
        if not response.may_reuse:
            self._drop()
        self._ended(verdict(self._check, response), weight(self._check, response))

    def _ended(self, failure: str | None, weight: int | None = None) -> None:
        done, self._done = self._done, None
        if done:
            done(failure, weight)

    def _drop(self) -> None:
        if self._connecting:
            self._connecting.cancel()
            self._connecting = None
        if self._transport:
            self._transport.abort()
            self._transport = None


def _request(target: Target) -> bytes:
    check = target.check
    fields = {
        "Host": check["host"] or _host(target, target.authority),
        "User-Agent": "headgate-health",
        "Accept": "*/*",
    }
    given = {name.lower() for name in check["headers"]}
    every = {name: value for name, value in fields.items() if name.lower() not in given} | check["headers"]
    lines = [
        f"{check['method']} {check['path']} HTTP/1.1",
        *(f"{name}: {value}" for name, value in every.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _host(target: Target, authority: str) -> str:
    """Without the port that the scheme implies, as requests have it."""
    return authority.removesuffix(":443" if target.is_secure else ":80")
