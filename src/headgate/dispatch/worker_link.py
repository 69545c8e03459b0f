"""The connection of one worker, from its upgrade on: what it is handed, and what it says."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from headgate.dispatch import heads
from headgate.dispatch.request import Request
from headgate.pull import frames

if TYPE_CHECKING:
    from headgate.dispatch.dispatcher import Dispatcher

log = logging.getLogger("headgate.dispatch")


class WorkerLink(asyncio.Protocol):
    """One worker; it has at most one request."""

    def __init__(self, dispatcher: Dispatcher, transport: asyncio.Transport, worker: str, token: str) -> None:
        self._dispatcher, self._transport, self.token = dispatcher, transport, token
        self.worker = worker
        """What it calls itself, for the log."""
        self.request: Request | None = None
        self._is_cancelled = False
        """Whether what it says of its request is of no more use."""
        self._is_ready = False
        self._is_leaving = False
        """Whether the worker is handed nothing more, as it has said."""
        self._in_flight = 0
        self._has_sent_body = True
        self._reader = frames.Reader()
        self._is_alive = True
        """Whether anything has come since the last ping."""
        self._is_paused = False
        self._is_full = False
        """Whether the worker does not read what is sent, whatever it says to have taken."""
        self._loop = asyncio.get_running_loop()
        self._ping = self._loop.call_later(dispatcher.settings.ping, self._on_ping)
        dispatcher.joined(self)

    # ---- for the dispatcher

    @property
    def is_free(self) -> bool:
        """Whether it has said that it is idle, and was handed nothing since."""
        return self._is_ready and self.request is None and not self._is_leaving

    def hand_out(self, request: Request, timeout_s: float, announcement: str | None = None) -> None:
        """Has the worker serve a request; a shared one for its `announcement`."""
        self.request, self._is_cancelled, self._is_ready, self._in_flight = request, False, False, 0
        head = request.head
        has_body = head.is_chunked or head.length > 0
        self._has_sent_body = not has_body
        told = {
            "method": head.method,
            "target": head.target,
            "headers": head.fields,
            "has_body": has_body,
            "attempt": request.attempt,
            "timeout": round(timeout_s, 3),
        }
        if announcement is not None:
            told["announcement"] = announcement
        self._transport.write(frames.told(frames.JOB, told))
        self.more()

    def more(self) -> None:
        """See `Holder`."""
        request = self.request
        if request is None or self._is_cancelled:
            return
        had_body = bool(request.body)
        while request.body and self._in_flight < frames.WINDOW and not self._is_full:
            part = request.sending(frames.PIECE)
            self._in_flight += len(part)
            self._transport.write(frames.frame(frames.DATA, part))
        if request.is_complete and not request.body and not self._has_sent_body:
            self._has_sent_body = True
            self._transport.write(frames.frame(frames.END))
        if had_body and not request.body:
            request.waiter.resume()

    def cancel(self) -> None:
        """See `Holder`."""
        if self.request and not self._is_cancelled:
            self._is_cancelled = True
            self.resume()
            self._transport.write(frames.frame(frames.CANCEL))

    def leave(self) -> None:
        """Has the worker connect again."""
        self._is_leaving = True
        self._transport.write(frames.frame(frames.LEAVE))

    def pause(self) -> None:
        """The client does not read as fast as the worker writes."""
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """The client has read."""
        if self._is_paused:
            self._is_paused, self._is_alive = False, True
            self._transport.resume_reading()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.abort()

    # ---- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Bytes of the worker."""
        self._is_alive = True
        self._reader.feed(data)
        try:
            for kind, payload in self._reader.frames():
                self._on_frame(kind, payload)
        except ValueError as error:
            log.warning("worker %s has violated the protocol: %s", self.worker, error)
            self._dispatcher.figures.protocol_errors.add(1.0)
            self._fail("pull_bad_response")
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self._ping.cancel()
        self._dispatcher.lost(self)
        if self.request:
            log.warning("worker %s is gone with a request", self.worker)
        self._fail("pull_worker_lost")

    def pause_writing(self) -> None:
        """It reads slowly."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has read."""
        self._is_full = False
        self.more()

    # ---- steps

    def _on_frame(self, kind: bytes, payload: bytes) -> None:
        request = None if self._is_cancelled else self.request
        if kind == frames.READY:
            self._on_ready()
        elif kind == frames.BUSY:
            self._on_busy()
        elif kind == frames.LEAVE:
            self._on_leave()
        elif kind == frames.PONG or request is None:
            return  # any sign of life does; or what crossed with its cancellation, or comes after a response
        elif kind == frames.HEAD:
            request.waiter.head(*_head(frames.content(payload)))
            self._dispatcher.response_began(request)
        elif kind == frames.DATA:
            request.waiter.data(payload)
        elif kind == frames.END:
            request.waiter.end()
            self._let_go()
            self._dispatcher.served(request)
        elif kind == frames.TAKEN:
            # never more than was sent: a handler may still read what is left of the request before
            self._in_flight = max(self._in_flight - int.from_bytes(payload[:4], "big"), 0)
            self.more()
        elif kind == frames.FAIL:
            self._fail("pull_bad_response")
        else:
            raise frames.ProtocolError(f"an unknown frame {kind!r}")

    def _let_go(self) -> Request | None:
        """The request is over. Its client may still have to read what was the end of the response, and is waited for
        no longer: nothing would have the worker go on when it has.
        """
        request, self.request = self.request, None
        self.resume()
        return request

    def _on_ready(self) -> None:
        if self._is_ready or (self.request and not self._is_cancelled):
            raise frames.ProtocolError("`ready` out of turn")
        request = self._let_go()
        if request:
            self._dispatcher.released(request)
        self._is_ready = True
        self._dispatcher.ready(self)

    def _on_busy(self) -> None:
        request = self._let_go()
        if request is None or request.has_begun:
            raise frames.ProtocolError("`busy` out of turn")
        self._dispatcher.declined(request, is_wanted=not self._is_cancelled)
        if self._is_leaving:
            return self._transport.close()
        self._is_ready = True
        return self._dispatcher.ready_again(self)

    def _on_leave(self) -> None:
        """It closes no connection on which a request may be on its way: that one comes back as `busy`."""
        request = self.request
        self._is_leaving = True
        self._dispatcher.leaves(self)
        if request is None or self._is_cancelled:
            self._transport.close()

    def _fail(self, failure: str) -> None:
        """The request that it has is not served."""
        request = self._let_go()
        if request is None:
            return
        self._dispatcher.released(request)
        if not self._is_cancelled:
            self._dispatcher.failed(request, failure)

    def _on_ping(self) -> None:
        if not self._is_alive and not self._is_paused:
            log.warning("worker %s does not respond", self.worker)
            return self._transport.abort()
        self._is_alive = False
        self._transport.write(frames.frame(frames.PING))
        self._ping = self._loop.call_later(self._dispatcher.settings.ping, self._on_ping)
        return None


def _head(told: dict[str, Any]) -> tuple[int, heads.Fields]:
    """Status and fields of a response; raises `ProtocolError`."""
    status, fields = told.get("status"), told.get("headers")
    if type(status) is not int or not isinstance(fields, list):
        raise frames.ProtocolError("a head without a status and a list of fields")
    for pair in fields:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise frames.ProtocolError("a field that is not a name and a value")
    return status, heads.of_response([(name, value) for name, value in fields])


def upgraded(
    dispatcher: Dispatcher, transport: asyncio.Transport, worker: str, token: str, rest: bytes
) -> WorkerLink:
    """Takes over a connection; `rest` is what has come on it already."""
    link = WorkerLink(dispatcher, transport, worker, token)
    transport.set_protocol(link)
    if rest:
        link.data_received(rest)
    return link
