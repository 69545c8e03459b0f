"""A worker: takes requests from a gateway when it is idle, one at a time in each process."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import signal
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from headgate.config.redis_url import check_redis_url
from headgate.message import Response
from headgate.pull.announcing import SHORTEST_LEASE_S, Announcer, Shared, identity, opened
from headgate.pull.connection import Connection, Left, connected
from headgate.pull.frames import ProtocolError
from headgate.pull.job import Job
from headgate.pull.place import Place, parsed
from headgate.pull.processes import run_processes

log = logging.getLogger("headgate.pull")

Handler = Callable[[Job], "Response | Awaitable[Response]"]
AnyHandler = TypeVar("AnyHandler", bound=Handler)

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0
"""Between attempts to connect."""


class Worker:
    """Connects to `url`, a route of the gateway that leads to an upstream with `balance: pull`, and serves requests.

    `token` is one of the upstream's tokens. `concurrency` is the number of requests at a time in each process: 1,
    unless the handler is a coroutine that waits for others. `tls` replaces the default context for `https://`.

    Workers of several gateways have the `url` of each, and announce in `redis` (`redis://host:6379/0`) that they are
    idle, in the list `shared_list`, as `pull.shared` of the gateways has it. `lease_s` is how long an announcement
    lasts that nobody uses.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: str,
        concurrency: int = 1,
        max_body_bytes: int = 64 << 20,
        tls: ssl.SSLContext | None = None,
        redis: str | None = None,
        shared_list: str | None = None,
        lease_s: float = 10.0,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"`{concurrency}` is not a valid concurrency; hint: write 1 or more")
        urls = [url] if isinstance(url, str) else [*url]
        if not urls:
            raise ValueError("the worker has no gateway\n  hint: give the URL of a route of each")
        if (redis is None) != (shared_list is None):
            raise ValueError(
                "`redis` and `shared_list` require each other\n"
                "  hint: give both, on the command line `--redis` and `--list`, or neither"
            )
        if len(urls) > 1 and redis is None:
            raise ValueError(
                "several gateways share workers through Redis\n"
                "  hint: give `redis` and `shared_list`, on the command line `--redis` and `--list`"
            )
        if lease_s < SHORTEST_LEASE_S:
            raise ValueError(f"`{lease_s}` is not a valid lease; hint: write {SHORTEST_LEASE_S:g} or more")
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError("the token is not printable ASCII text")
        self._places, self._token, self._tls = [parsed(one) for one in urls], token, tls
        self._shared = None
        if redis is not None and shared_list is not None:
            check_redis_url(redis)
            self._shared = Shared(redis, shared_list, lease_s)
            opened(self._shared)  # raises without the library
        self._announcers: list[Announcer] = []
        self._concurrency, self._max_body_bytes = concurrency, max_body_bytes
        self._handler: Handler | None = None
        self._connections: set[Connection] = set()
        self._is_stopping = False
        self._stopped: asyncio.Event | None = None

    def handler(self, function: AnyHandler) -> AnyHandler:
        """Decorates the function that serves requests. A plain one runs in a thread, with the body read beforehand."""
        self._handler = function
        return function

    def run(self, *, processes: int = 1) -> None:
        """Serves in so many processes until SIGTERM or SIGINT; those that exit are replaced. Raises `PermissionError`
        if the token is not accepted.
        """
        if self._handler is None:
            raise RuntimeError("the worker has no handler\n  hint: `@worker.handler`")
        if processes > 1:
            run_processes(processes, self._run_one)
        else:
            self._run_one()

    async def serve(self) -> None:
        """Serves in the running loop until `stop`; raises `PermissionError` if the token is not accepted."""
        self._stopped = asyncio.Event()
        if self._is_stopping:
            return
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                announcer = Announcer(self._shared) if self._shared else None
                if announcer:
                    self._announcers.append(announcer)
                    group.create_task(announcer.run())
                for place in self._places:
                    group.create_task(self._serve_one(place, announcer))

    def stop(self) -> None:
        """Has `serve` return after the requests in progress; call it in the loop that runs it."""
        self._is_stopping = True
        for announcer in self._announcers:
            announcer.stop()
        for connection in self._connections:
            connection.leave()
        if self._stopped:
            self._stopped.set()

    # ---- steps

    def _run_one(self) -> None:
        async def serve() -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            await self.serve()

        try:
            asyncio.run(serve())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _serve_one(self, place: Place, announcer: Announcer | None) -> None:
        delay_s, name = FIRST_DELAY_S, announcer.worker if announcer else identity()
        while not self._is_stopping:
            jobs = 0
            try:
                reader, writer = await connected(place, self._token, self._tls, name)
                log.info("connected to the gateway", extra={"gateway": place.authority})
                connection = Connection(reader, writer, self._call, self._max_body_bytes, announcer)
                self._connections.add(connection)
                if self._is_stopping:
                    connection.leave()
                try:
                    await connection.run()
                finally:
                    self._connections.discard(connection)
                    jobs = connection.jobs
            except Left:
                delay_s = 0.0
            except PermissionError:
                raise
            except (OSError, ProtocolError, TimeoutError) as error:
                log.warning("no connection to the gateway: %s", error)
            if jobs:
                delay_s = min(delay_s, FIRST_DELAY_S)
            await self._pause(random.uniform(0.5, 1) * delay_s)
            delay_s = min(max(2 * delay_s, FIRST_DELAY_S), LONGEST_DELAY_S)

    async def _pause(self, delay_s: float) -> None:
        assert self._stopped is not None, "set by `serve`"
        try:
            async with asyncio.timeout(delay_s):
                await self._stopped.wait()
        except TimeoutError:
            pass

    async def _call(self, job: Job) -> Response:
        assert self._handler is not None, "which was looked at"
        if inspect.iscoroutinefunction(self._handler):
            response = await self._handler(job)
        else:
            await job.read()
            # a thread cannot be cancelled: the worker is not idle before it has returned
            thread = asyncio.get_running_loop().run_in_executor(None, self._handler, job)
            try:
                response = await asyncio.shield(thread)
            except asyncio.CancelledError:
                await asyncio.wait([thread])
                raise
        if not isinstance(response, Response):
            raise TypeError(f"the handler has returned `{type(response).__name__}`, not a Response")
        return response
