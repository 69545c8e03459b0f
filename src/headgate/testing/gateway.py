"""A gateway in a test: the engine in the test's thread, requests without ports, servers made of functions."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from headgate import _core
from headgate.compile.order import compile_gateway
from headgate.config.units import parse_duration
from headgate.gateway import Gateway

from .clock import TestLoop
from .instrument import Watch, instrumented
from .messages import ExchangeRecord, Received, TestResponse
from .servers import FakeServer, Server, prepared
from .wire import Broken, HeaderFields, pairs, read_response, request_bytes

if TYPE_CHECKING:
    from .websocket import AsyncWebSocket, WebSocketClient

T = TypeVar("T")

PATIENCE_S = 10.0
"""The longest a call waits, in real time; put the gateway's own clock forward with `advance`."""

Source = Gateway | str | os.PathLike[str]


class HookRaised(AssertionError):
    """A hook raised an exception during a request; `__cause__` is that exception."""


class TestGateway:
    """Runs a gateway in this thread, while calls of its methods wait.

    `source` is a `Gateway` or a file. `upstreams` says what stands in for the servers: by the upstream's name or,
    before that, the server's address, and by the origin (`https://host`) for what is fetched. A server that is not
    mentioned refuses connections: nothing ever leaves the test. With `raise_errors` a request in which a hook raises,
    or is late, raises `HookRaised`. Without `native` every hook of a plugin is called, whatever `Plugin.native` says.
    """

    __test__ = False

    def __init__(
        self,
        source: Source,
        *,
        upstreams: Mapping[str, Server] | None = None,
        raise_errors: bool = True,
        native: bool = True,
    ) -> None:
        if not isinstance(source, Gateway):
            from headgate.compile.loading import load

            source = load(source)
        self._compiled = compile_gateway(source)
        if not native:
            hooks = tuple(replace(hook, native=None) for hook in self._compiled.hooks)
            self._compiled = replace(self._compiled, hooks=hooks)
        self._background = source.background
        self._background.configure(self._compiled.config.background, processes=1)
        self._raise_errors = raise_errors
        self._behaviours = {name: prepared(server) for name, server in (upstreams or {}).items()}
        self._servers: list[FakeServer] = []
        self._websockets: list[AsyncWebSocket] = []
        self._requests: set[asyncio.Task[TestResponse]] = set()
        self._errors = _Errors()
        self._watch = Watch()
        self.received: list[Received] = []
        """Every request that reached a server, in order."""

    # ---- its life

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="hg-")
        self._loop = TestLoop()
        self._engine: _core.Core | None = _core.Core(self._loop)
        self._loop.attach(self._core)
        logging.getLogger("headgate.hooks").addHandler(self._errors)
        try:
            snapshot, hooks, wanted = instrumented(
                self._compiled, self._watch, Path(self._folder.name), self._behaviours
            )
            self._servers = [
                FakeServer(path, upstream, address, behaviour, self.received.append)
                for path, upstream, address, behaviour in wanted
            ]
            self._background.count = self._core.count
            self._core.apply(snapshot, hooks)
            self._core.replace_origin("", f"unix:{self._folder.name}/none")  # nothing leaves the test
            for path, upstream, origin, _ in wanted:
                if not upstream:
                    self._core.replace_origin(origin, f"unix:{path}")
            self.run(self._start())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.run(self._shut_down())
        finally:
            self.close()

    def close(self) -> None:
        """Stops everything without `shutdown` hooks; leaving the `with` block runs them."""
        logging.getLogger("headgate.hooks").removeHandler(self._errors)
        self._core.close()
        self._loop.run_until_complete(self._end())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.detach()
        self._background.count = lambda name: None
        self._engine = None  # it must end in its own thread
        self._loop.close()
        self._folder.cleanup()

    async def _start(self) -> None:
        for server in self._servers:
            await server.start()
        await self._background.open()
        await self._run_hooks(self._compiled.startup)
        self._background.begin()

    async def _shut_down(self) -> None:
        self._background.stop()
        self._core.drain()
        await self._background.end()
        await self._run_hooks(self._compiled.shutdown)

    async def _run_hooks(self, hooks: tuple[Any, ...]) -> None:
        for hook in hooks:
            async with asyncio.timeout(hook.deadline_ms / 1000):
                result = hook.function()
                if hook.is_async:
                    await result

    async def _end(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0.001)  # connections that the engine has closed run their `log` hooks
        await self._background.end()
        await self._background.close()
        for websocket in self._websockets:
            websocket.leave()
        for server in self._servers:
            await server.stop()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    @property
    def _core(self) -> _core.Core:
        if self._engine is None:
            raise RuntimeError("the gateway is closed; hint: use it inside its `with` block")
        return self._engine

    # ---- requests

    def get(self, target: str, headers: HeaderFields = (), **options: Any) -> TestResponse:
        """A GET; the options are those of `request`."""
        return self.request("GET", target, headers, **options)

    def post(
        self, target: str, body: bytes | str = b"", headers: HeaderFields = (), **options: Any
    ) -> TestResponse:
        """A POST; the options are those of `request`."""
        return self.request("POST", target, headers, body=body, **options)

    def request(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        *,
        body: bytes | str | None = None,
        **client: Any,
    ) -> TestResponse:
        """Sends a request on a new connection and waits for the response.

        `client` may be `address="192.0.2.7"`, `port`, `scheme="https"` and `listener`, as hooks see them.
        """
        return self.start(method, target, headers, body=body, **client).result()

    def start(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        *,
        body: bytes | str | None = None,
        **client: Any,
    ) -> Pending:
        """Starts a request, to be waited for later; several can run at once."""
        task = self._loop.create_task(self.send(method, target, headers, body=body, **client))
        self._requests.add(task)  # a loop holds its tasks weakly, and a test may drop what is returned
        task.add_done_callback(self._requests.discard)
        return Pending(self, task)

    async def send(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        *,
        body: bytes | str | None = None,
        address: str = "127.0.0.1",
        port: int = 50000,
        scheme: str = "http",
        listener: str = "test",
    ) -> TestResponse:
        """The same for a coroutine that `run` runs."""
        data = body.encode() if isinstance(body, str) else body
        reader, writer = await self.connect(address=address, port=port, scheme=scheme, listener=listener)
        errors = len(self._errors.raised)
        try:
            writer.write(request_bytes(method, target, pairs(headers), data))
            try:
                response = self._with_record(await read_response(reader, method))
            except Broken:
                self._judge(errors, None)
                raise
            self._judge(errors, self._id_of(response))
            return response
        finally:
            writer.close()

    async def connect(
        self, *, address: str = "127.0.0.1", port: int = 50000, scheme: str = "http", listener: str = "test"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens a connection to the gateway, for raw bytes."""
        ours, theirs = socket.socketpair()
        self._core.serve(theirs.detach(), address=address, port=port, scheme=scheme, listener=listener)  # type: ignore[arg-type]
        return await asyncio.open_unix_connection(sock=ours)

    def websocket(
        self, target: str, headers: HeaderFields = (), *, subprotocols: Iterable[str] = (), **client: Any
    ) -> WebSocketClient:
        """Opens a WebSocket; raises `WebSocketRefused` with any response but a 101. `client` as in `request`."""
        from .websocket import WebSocketClient, open_websocket

        socket, response = self.run(open_websocket(self, target, headers, list(subprotocols), client))
        self._websockets.append(socket)
        return WebSocketClient(self, socket, response)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the gateway's loop, at most 10 s."""
        return self._loop.run_until_complete(_patiently(coroutine))

    def until(self, condition: Callable[[], object]) -> None:
        """Lets the gateway run until the condition is true, at most 10 s; then fails."""
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > PATIENCE_S:
                raise TimeoutError(f"the condition was not met within {PATIENCE_S:.0f} s of real time")
            self._loop.run_until_complete(asyncio.sleep(0.001))

    def advance(self, by: float | str) -> None:
        """Moves the clock of all timeouts, deadlines and asyncio timers forward by seconds, or by `"30s"`."""
        seconds = parse_duration(by)
        self._loop.advance(seconds)
        self._core.advance(seconds)
        self.run(_settle())

    # ---- what can be seen

    @property
    def records(self) -> list[ExchangeRecord]:
        """What the gateway recorded of each completed request, in order."""
        return [record for record in self._watch.records.values() if record.is_done]

    @property
    def hook_errors(self) -> list[BaseException]:
        """The exceptions that hooks have raised so far."""
        return [error for _, error in self._errors.raised]

    @property
    def counters(self) -> dict[str, int]:
        """The counters, as `headgate status` shows them."""
        return self._core.stats()

    def _with_record(self, response: TestResponse) -> TestResponse:
        record = self._watch.records.get(self._id_of(response) or "")
        if record is None:
            return response
        return replace(response, record=record)

    def _id_of(self, response: TestResponse) -> str | None:
        name = self._compiled.config.request_id_header
        return response.headers.get(name) if name else None

    def _judge(self, since: int, request_id: str | None) -> None:
        """Raises what a hook has raised since then for this request; `None` is any."""
        for of, error in self._errors.raised[since:] if self._raise_errors else ():
            if request_id in (None, of):
                raise HookRaised(f"a hook raised {type(error).__name__}: {error}") from error


class Pending:
    """A request in flight."""

    def __init__(self, gateway: TestGateway, task: asyncio.Task[TestResponse]) -> None:
        self._gateway, self._task = gateway, task

    @property
    def is_done(self) -> bool:
        """Whether the response has arrived."""
        return self._task.done()

    def result(self) -> TestResponse:
        """Waits for the response."""
        return self._gateway.run(_of(self._task))

    def leave(self) -> None:
        """Disconnects the client."""
        self._task.cancel()


class _Errors(logging.Handler):
    """Keeps what hooks raise: the engine logs each, with its traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[tuple[str, BaseException]] = []
        """With the request's id."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.raised.append((getattr(record, "request_id", ""), record.exc_info[1]))


async def _patiently(coroutine: Coroutine[Any, Any, T]) -> T:
    # not asyncio.timeout: a test may put asyncio's clock forward
    loop = asyncio.get_running_loop()
    task = loop.create_task(coroutine)
    begin = time.monotonic()
    while not task.done():
        left = PATIENCE_S - (time.monotonic() - begin)
        if left <= 0:
            task.cancel()
            await asyncio.wait([task])
            raise TimeoutError(f"the condition was not met within {PATIENCE_S:.0f} s of real time")
        await asyncio.wait([task], timeout=left)
    return task.result()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _of(task: asyncio.Task[T]) -> T:
    return await task
