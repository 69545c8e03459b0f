"""The same gateway on real ports, in a thread of its own: for clients that need a port."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from .gateway import Source, TestGateway
from .messages import ExchangeRecord, Received
from .servers import Server


class LiveGateway:
    """Serves a gateway on 127.0.0.1, on a free port for each of its listeners, until the `with` block ends.

    `source` and `upstreams` are those of `TestGateway`. Its hooks run in another thread than the test.
    """

    def __init__(self, source: Source, *, upstreams: Mapping[str, Server] | None = None) -> None:
        self._inner = TestGateway(source, upstreams=upstreams, raise_errors=False)
        self._listeners = [listener.name for listener in self._inner._compiled.listeners] or ["test"]
        self._sockets: list[socket.socket] = []
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._serve, name="headgate live gateway", daemon=True)

    @property
    def address(self) -> str:
        """Host and port of the first listener."""
        return self.addresses[self._listeners[0]]

    @property
    def url(self) -> str:
        """`http://127.0.0.1:12345` of the first listener."""
        return f"http://{self.address}"

    @property
    def received(self) -> list[Received]:
        """Every request that has reached a server so far."""
        return list(self._inner.received)

    @property
    def records(self) -> list[ExchangeRecord]:
        """What the gateway recorded of each completed request."""
        return self._inner.records

    def __enter__(self) -> Self:
        self.addresses = {}
        for name in self._listeners:
            listener = socket.create_server(("127.0.0.1", 0))
            self._sockets.append(listener)
            self.addresses[name] = f"127.0.0.1:{listener.getsockname()[1]}"
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stop = self._stop
        if stop is not None:
            self._inner._loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def _serve(self) -> None:
        try:
            with self._inner as gateway:
                for name, listener in zip(self._listeners, self._sockets, strict=True):
                    gateway._core.listen(listener.detach(), name, self.addresses[name])
                self._stop = asyncio.Event()
                self._started.set()
                gateway._loop.run_until_complete(self._stop.wait())
        except BaseException as error:
            self._failure = error
        finally:
            for listener in self._sockets:
                listener.close()
            self._started.set()
