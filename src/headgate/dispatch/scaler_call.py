"""One call of KEDA to the external scaler, on a connection of the gateway: see `keda`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from headgate.dispatch import heads, keda

if TYPE_CHECKING:
    from headgate.dispatch.dispatcher import Dispatcher

LOOK_S = 1.0
"""How often a stream looks whether requests have ended, which nothing tells of at once."""


class ScalerCall:
    """Takes the body as it comes, and responds; `find` gives the queue of another name, `done` ends the call."""

    def __init__(
        self,
        head: heads.Head,
        dispatcher: Dispatcher,
        find: Callable[[str], Dispatcher | None],
        transport: asyncio.Transport,
        done: Callable[[], None],
    ) -> None:
        self._path = head.target.partition("?")[0]
        self._dispatcher, self._find = dispatcher, find
        self._transport, self._done = transport, done
        self.body = heads.Body(head.length, head.is_chunked)
        self._received = bytearray()
        self._asked: keda.Wanted | None = None
        self._last: bytes | None = None
        self._told_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, data: bytearray) -> None:
        """Takes what has come; raises `ValueError`."""
        self._received += self.body.take(data)
        if len(self._received) > keda.MOST_BYTES:
            raise ValueError("a call of a scaler that is too long")
        if self.body.is_complete:
            self._respond()

    def close(self) -> None:
        """The caller is gone, or the call is over."""
        self._dispatcher.watchers.discard(self)
        if self._timer:
            self._timer.cancel()

    # ---- Watcher

    def look(self) -> None:
        """Tells what has changed; and the same again now and then, so that nobody on the way takes it for dead."""
        assert self._asked is not None, "which came first"
        message = keda.response(self._asked, self._dispatcher.requests)
        now_s = asyncio.get_running_loop().time()
        if message != self._last or now_s - self._told_s >= self._dispatcher.settings.ping:
            self._last, self._told_s = message, now_s
            self._tell(message)

    def leave(self) -> None:
        """Has the caller call again."""
        self._end(keda.UNAVAILABLE, "the gateway is being replaced, or stops")

    # ---- steps

    def _respond(self) -> None:
        fields = [("content-type", keda.CONTENT_TYPE), ("transfer-encoding", "chunked")]
        self._transport.write(heads.written(200, fields))
        try:
            asked = self._asked = keda.wanted(self._path, bytes(self._received))
            if asked.upstream and asked.upstream != self._dispatcher.settings.upstream:
                other = self._find(asked.upstream)
                if other is None:
                    raise keda.Refused(
                        keda.NOT_FOUND, f"there is no upstream {asked.upstream[:100]} with keda: true"
                    )
                self._dispatcher = other
        except keda.Refused as refused:
            return self._end(refused.status, refused.why)
        if asked.method == "StreamIsActive":
            self._dispatcher.watchers.add(self)
            return self._tick()
        self._tell(keda.response(asked, self._dispatcher.requests))
        return self._end(0)

    def _tick(self) -> None:
        self.look()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._tick)

    def _tell(self, message: bytes) -> None:
        self._transport.writelines([b"%x\r\n" % len(message), message, b"\r\n"])

    def _end(self, status: int, why: str = "") -> None:
        self.close()
        trailers = f"grpc-status: {status}\r\n"
        if why:
            trailers += f"grpc-message: {quote(why, safe=' ')}\r\n"
        self._transport.write(f"0\r\n{trailers}\r\n".encode())
        self._done()
