"""A connection from the gateway: HTTP/1.1 requests, one after another, or the upgrade of a worker that pulls."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from headgate._digits import whole_number
from headgate.dispatch import heads, keda
from headgate.dispatch.request import HIGH_WATER, Request
from headgate.dispatch.scaler_call import ScalerCall
from headgate.dispatch.worker_link import WorkerLink, upgraded
from headgate.pull import frames

if TYPE_CHECKING:
    from headgate.dispatch.dispatcher import Dispatcher

FAILURE_FIELD = "headgate-failure"
"""What the gateway's workers read the name of a failure from."""

log = logging.getLogger("headgate.dispatch")


class ClientLink(asyncio.Protocol):
    """One connection; requests on it are served in order."""

    def __init__(
        self, dispatcher: Dispatcher, scaler: Callable[[str], Dispatcher | None] = lambda _: None
    ) -> None:
        self._dispatcher, self._scaler = dispatcher, scaler
        self._call: ScalerCall | None = None
        self._transport: asyncio.Transport
        self._data = bytearray()
        self._request: Request | None = None
        self._body: heads.Body | None = None
        self._left: int | None = None
        """Of the response's body, if it has said how long it is."""
        self._is_chunked = self._has_no_body = False
        self._is_paused = False

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A worker of the gateway has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._dispatcher.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._data += data
        try:
            self._read()
        except ValueError as error:
            log.error("invalid request from the gateway: %s", error)
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """The client, or the worker of the gateway, is gone."""
        self._dispatcher.clients.discard(self)
        request, self._request = self._request, None
        if request:
            self._dispatcher.left(request)
        if self._call:
            self._call.close()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        if self._request and isinstance(self._request.holder, WorkerLink):
            self._request.holder.pause()

    def resume_writing(self) -> None:
        """It has read."""
        if self._request and isinstance(self._request.holder, WorkerLink):
            self._request.holder.resume()

    # ---- Waiter

    def reply(self, status: int, failure: str, retry_after_s: int | None = None) -> None:
        """See `Waiter`."""
        fields = [(FAILURE_FIELD, failure)]
        if retry_after_s is not None:
            fields.append(("retry-after", str(retry_after_s)))
        request = self._request
        assert request is not None, "which is replied to"
        is_bodiless = request.head.method == "HEAD"
        self._send(status, fields, failure.encode() + b"\n", "text/plain", is_bodiless=is_bodiless)
        self._done()

    def head(self, status: int, fields: heads.Fields) -> None:
        """See `Waiter`."""
        request = self._request
        assert request is not None, "which is with a worker"
        if not 200 <= status <= 599:
            raise ValueError(f"`{status}` is not a valid response status")
        if request.has_begun:
            raise ValueError("a second head")
        lengths = {whole_number(value) for name, value in fields if name.lower() == "content-length"}
        if len(lengths) > 1 or None in lengths:
            raise ValueError("an invalid content-length")
        fields = [(name, value) for name, value in fields if name.lower() != FAILURE_FIELD]
        self._has_no_body = request.head.method == "HEAD" or status in (204, 304)
        self._left = lengths.pop() if lengths else None
        self._is_chunked = self._left is None and not self._has_no_body
        if self._is_chunked:
            fields.append(("transfer-encoding", "chunked"))
        self._transport.write(heads.written(status, fields))

    def data(self, part: bytes) -> None:
        """See `Waiter`."""
        if self._request is None or not self._request.has_begun:
            raise ValueError("a body without a head")
        if self._has_no_body or not part:
            return
        if self._is_chunked:
            self._transport.writelines([b"%x\r\n" % len(part), part, b"\r\n"])
            return
        assert self._left is not None, "else it is chunked"
        self._left -= len(part)
        if self._left < 0:
            raise ValueError("a body longer than its content-length")
        self._transport.write(part)

    def end(self) -> None:
        """See `Waiter`."""
        if self._request is None or not self._request.has_begun:
            raise ValueError("an end without a head")
        if self._left and not self._has_no_body:
            raise ValueError("a body shorter than its content-length")
        if self._is_chunked:
            self._transport.write(b"0\r\n\r\n")
        self._done()

    def cut(self) -> None:
        """See `Waiter`."""
        self._request = None
        self._transport.abort()

    def resume(self) -> None:
        """See `Waiter`."""
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def close_when_idle(self) -> None:
        """Ends the connection unless there is a request on it."""
        if self._request is None and self._call is None:
            self._transport.close()

    def close(self) -> None:
        """Ends the connection, and with it the request on it."""
        self._transport.abort()

    # ---- steps

    def _read(self) -> None:
        if self._call:
            if not self._call.body.is_complete:
                self._call.take(self._data)
            elif len(self._data) > heads.MAX_HEAD:
                raise ValueError("requests that do not wait for responses")
            return
        while True:
            if self._request is None:
                end = self._data.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._data) > heads.MAX_HEAD:
                        raise ValueError("a head that is too long")
                    return
                head = heads.parsed(bytes(self._data[:end]))
                del self._data[: end + 4]
                if not self._begin(head):
                    return
            request, body = self._request, self._body
            if request is None or body is None or body.is_complete:
                if self._transport.is_closing():
                    self._data.clear()  # the rest of a body that nobody wants after an early response
                elif len(self._data) > heads.MAX_HEAD:
                    raise ValueError("requests that do not wait for responses")
                return  # what comes early waits for its turn
            request.body += body.take(self._data)
            request.is_complete = body.is_complete
            if request.holder:
                request.holder.more()
            if len(request.body) > HIGH_WATER and not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()
            return

    def _begin(self, head: heads.Head) -> bool:
        """A request has come; false if it is none for the queue."""
        settings = self._dispatcher.settings
        if head.upgrade is not None:
            self._upgrade(head)
            return False
        if settings.status_path is not None and head.target.partition("?")[0] == settings.status_path:
            self._tell(head)
            return False
        if settings.is_scaler and head.target.startswith(keda.SERVICE) and head.method == "POST":
            if head.expects:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._call = ScalerCall(head, self._dispatcher, self._scaler, self._transport, self._called)
            self._call.take(self._data)
            return False
        now_s = asyncio.get_running_loop().time()
        self._body = heads.Body(head.length, head.is_chunked)
        request = self._request = Request(head, self, settings, now_s)
        request.is_complete = self._body.is_complete
        if head.expects:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body += self._body.take(self._data) if self._data else b""
        request.is_complete = self._body.is_complete
        self._dispatcher.came(request)
        return True

    def _called(self) -> None:
        """The call of a scaler is over."""
        self._call = None
        if self._data:
            asyncio.get_running_loop().call_soon(self.data_received, b"")

    def _tell(self, head: heads.Head) -> None:
        told = json.dumps(self._dispatcher.told()).encode() + b"\n"
        fields = [("cache-control", "no-store")]
        # a body that nobody reads must not be taken for the next request
        is_last = head.is_chunked or head.length > 0 or head.closes
        self._send(
            200,
            [*fields, ("connection", "close")] if is_last else fields,
            told,
            "application/json",
            is_bodiless=head.method == "HEAD",
        )
        if is_last:
            self._transport.close()

    def _upgrade(self, head: heads.Head) -> None:
        if head.upgrade != frames.PROTOCOL or head.method != "GET":
            return self._refuse(501, "only workers change the protocol here", head)
        scheme, _, token = (head.get("authorization") or "").partition(" ")
        given = token.strip().encode("latin-1")
        tokens = self._dispatcher.settings.tokens
        known = [one for one in tokens if hmac.compare_digest(one.encode(), given)]
        if scheme.lower() != "bearer" or not known:
            log.warning(
                "a worker with a token that is not valid",
                extra={"upstream": self._dispatcher.settings.upstream},
            )
            return self._refuse(401, "the token is not valid", head)
        self._transport.write(heads.written(101, [("connection", "upgrade"), ("upgrade", frames.PROTOCOL)]))
        self._dispatcher.clients.discard(self)
        worker = (head.get("headgate-worker") or "?")[:100]
        upgraded(self._dispatcher, self._transport, worker, known[0], bytes(self._data))
        return None

    def _refuse(self, status: int, why: str, head: heads.Head) -> None:
        self._send(
            status,
            [("connection", "close")],
            why.encode() + b"\n",
            "text/plain",
            is_bodiless=head.method == "HEAD",
        )
        self._transport.close()

    def _send(self, status: int, fields: heads.Fields, body: bytes, kind: str, *, is_bodiless: bool) -> None:
        fields = [*fields, ("content-type", kind), ("content-length", str(len(body)))]
        self._transport.write(heads.written(status, fields) + (b"" if is_bodiless else body))

    def _done(self) -> None:
        """The response is complete."""
        request, self._request = self._request, None
        assert request is not None, "which was looked at"
        if not request.is_complete or request.head.closes:
            return self._transport.close()
        self.resume()
        if self._data:
            asyncio.get_running_loop().call_soon(self.data_received, b"")
        return None
