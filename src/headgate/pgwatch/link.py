"""One connection to PostgreSQL for everything: calls in turn, LISTEN, a sign of life, and a new one after a cut.

How it works: a call connects when there is no connection, and drops it after any failure that leaves its state
unknown. While somebody watches, a task tries the quiet connection each `keepalive_s` (a half-open one never says
anything) and connects again, with full jitter from the first try. A pooler is known by its process id, which is
not the server's: behind one nothing of a session is relied upon, each call is a transaction, and the watch polls.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import asyncpg

from headgate.pgwatch import schema
from headgate.pgwatch.errors import NoSuchLease, NotInstalled, Unavailable

T = TypeVar("T")
# the second also where none of several hosts can be written to
_OF_ASYNCPG = (asyncpg.InterfaceError, asyncpg.InternalClientError)
QUEUE_ALARM = 0.5
"""The share of the queue of notifications above which somebody is told; it has 8 GB."""
log = logging.getLogger("headgate.pgwatch")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long is waited, in seconds."""

    response_s: float = 10
    """For one response, and for a connection."""
    keepalive_s: float = 10
    """Between two signs of life on a quiet connection."""
    poll_s: float = 30
    """Between two reads of a watch that has heard nothing."""
    pooled_poll_s: float = 0.5
    """The same behind a pooler, where nothing is heard."""
    spread_s: float = 5
    """Over how long the first tries after a cut are spread by chance."""
    longest_s: float = 30
    """The longest pause between two tries."""


class Link:
    """See the module."""

    def __init__(
        self,
        dsn: str,
        timing: Timing,
        *,
        installs: bool = False,
        hears_itself: bool = True,
        application: str,
    ) -> None:
        self.dsn = dsn
        self.timing = timing
        self.installs = installs
        self.hears_itself = hears_itself
        """Whether what is written on this very connection wakes, too."""
        self.application = application
        self.is_pooled = False
        self.is_closed = False
        self.error = ""
        self.wakers: set[asyncio.Event] = set()
        self._connection: Any = None
        self._turn = asyncio.Lock()
        self._statements: dict[str, Any] = {}
        self._is_listening = False
        self._keeper: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._clock: tuple[datetime, float] | None = None
        """What the server's clock showed when the connection was made, and what that of here showed."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that is not known to be dead."""
        return self._connection is not None and not self._connection.is_closed()

    @property
    def connection(self) -> object:
        """What tells one connection from the next; None where there is none."""
        return self._connection if self.is_connected else None

    @property
    def server_time(self) -> datetime | None:
        """What the server's clock shows, if nobody has set it since the connection was made; None without one."""
        if self._clock is None or not self.is_connected:
            return None
        told, at = self._clock
        return told + timedelta(seconds=time.monotonic() - at)

    async def call(self, run: Callable[[Any], Awaitable[T]]) -> T:
        """Runs something on the connection, in its turn; raises `Unavailable`, `NotInstalled`."""
        async with self._turn:
            connection = await self._connected()
            try:
                async with asyncio.timeout(self.timing.response_s):
                    if self.is_pooled:
                        async with connection.transaction(isolation="read_committed"):
                            return await run(connection)
                    return await run(connection)
            except asyncpg.PostgresError as error:
                raise self._failure(error) from None
            except (OSError, TimeoutError, *_OF_ASYNCPG) as error:
                self._drop(error)
                raise Unavailable(str(error) or "no response in time") from None
            except asyncio.CancelledError:
                self._drop(None)
                raise

    async def rows(self, sql: str | tuple[str, str], *arguments: Any) -> list[Any]:
        """The rows of a statement, which is prepared once a connection; behind a pooler each time, without a name.

        Of two statements the second is for poolers, where the statement is part of a transaction.
        """
        direct, pooled = (sql, sql) if isinstance(sql, str) else sql

        async def fetch(connection: Any) -> list[Any]:
            if self.is_pooled:
                return list(await connection.fetch(pooled, *arguments))
            statement = self._statements.get(direct)
            if statement is None:
                # without a name, asyncpg would have it parsed and planned each time
                name = f"pgwatch_{len(self._statements)}"
                statement = self._statements[direct] = await connection.prepare(direct, name=name)
            return list(await statement.fetch(*arguments))

        return await self.call(fetch)

    async def listen(self) -> None:
        """Sees to it that the wakers are set from now on; to be called before each read of a watch."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        if not self.is_connected:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        if not self.is_connected or not (self._is_listening or self.is_pooled):
            await self.call(self._listen_on)

    async def _listen_on(self, connection: Any) -> None:
        if not self.is_pooled:
            await connection.add_listener(schema.CHANNEL, self._on_notification)
            self._is_listening = True

    def _on_notification(self, connection: Any, pid: int, *_: object) -> None:
        if self.hears_itself or pid != connection.get_server_pid():
            self.wake()

    def _on_cut(self, *_: Any) -> None:
        """The connection has ended: watches make another, not all nodes' in the same moment."""
        self._not_before = time.monotonic() + random.uniform(0, self.timing.spread_s)
        self.wake()

    def wake(self) -> None:
        """Something may have happened."""
        for waker in self.wakers:
            waker.set()

    @property
    def poll_s(self) -> float:
        """How long a watch waits without having heard anything."""
        return min(self.timing.poll_s, self.timing.pooled_poll_s) if self.is_pooled else self.timing.poll_s

    async def pause(self, failures: int) -> None:
        """Waits before the next try."""
        longest = min(self.timing.longest_s, self.timing.spread_s * 2 ** (failures - 1))
        await asyncio.sleep(random.uniform(0, longest))

    async def forget(self) -> None:
        """Drops the connection; the next call makes another."""
        async with self._turn:
            self._drop(None)

    async def close(self) -> None:
        """Ends the connection."""
        self.is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        self.wake()
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(Exception):
                    await connection.close(timeout=1)

    async def _connected(self) -> Any:
        if self.is_closed:
            raise Unavailable("the connection was closed")
        if self.is_connected:
            return self._connection
        self._drop(None)
        try:
            connection = await asyncpg.connect(
                self.dsn,
                timeout=self.timing.response_s,
                target_session_attrs="read-write",
                server_settings={"application_name": self.application},
                statement_cache_size=0,
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, *_OF_ASYNCPG) as error:
            self.error = str(error) or type(error).__name__
            raise Unavailable(self.error) from None
        await self._settle(connection)
        self._connection, self.error = connection, ""
        return connection

    async def _settle(self, connection: Any) -> None:
        """What is done once on a new connection."""
        try:
            async with asyncio.timeout(self.timing.response_s):
                async with connection.transaction():
                    pid, told = await connection.fetchrow("SELECT pg_backend_pid(), clock_timestamp()")
                    self._clock = told, time.monotonic()
                    self.is_pooled = pid != connection.get_server_pid()
                    if self.installs and not await is_installed(connection):
                        await install_on(connection)
                if not self.is_pooled:  # what waits for its turn is to see what was written before it
                    await connection.execute("SET default_transaction_isolation = 'read committed'")
        except BaseException as error:
            connection.terminate()
            if isinstance(error, asyncio.CancelledError):
                raise
            self.error = str(error) or type(error).__name__
            raise Unavailable(self.error) from None
        if self.is_pooled:
            log.info("PostgreSQL is behind a pooler: polling; hint: give the watch a direct URL")
        connection.add_termination_listener(self._on_cut)

    def _failure(self, error: Any) -> Exception:
        state = error.sqlstate or ""
        if state in ("3F000", "42P01", "42883"):
            return NotInstalled(str(error))
        if state == "PW002":
            return NoSuchLease(str(error))
        if state[:2] in ("08", "57", "53", "58", "25", "40", "26") or self._connection.is_closed():
            self._drop(error)
            return Unavailable(str(error))
        return error if isinstance(error, Exception) else Unavailable(str(error))

    def _drop(self, error: BaseException | None) -> None:
        connection, self._connection = self._connection, None
        self._statements = {}
        self._is_listening = False
        if error is not None:
            self.error = str(error) or type(error).__name__
        if connection is not None:
            connection.terminate()

    async def _keep(self) -> None:
        """Tries the connection while it is quiet; one that is dead is dropped, and the watch makes another."""
        while True:
            await asyncio.sleep(self.timing.keepalive_s)
            if self.is_connected and not self._turn.locked():
                try:
                    rows = await self.rows("SELECT pg_notification_queue_usage()")
                    if rows[0][0] > QUEUE_ALARM:
                        log.warning(
                            "PostgreSQL's queue of notifications is %d %% full; when it is full, commits that notify"
                            " fail\n  hint: look for a session that listens and is idle in a transaction",
                            rows[0][0] * 100,
                        )
                except (Unavailable, asyncpg.PostgresError):
                    self._on_cut()
            elif not self.is_connected:
                self.wake()


async def is_installed(connection: Any) -> bool:
    """Whether the tables and functions are there, and not of an older version."""
    if not await connection.fetchval("SELECT to_regclass('pgwatch.pending')"):
        return False
    version = await connection.fetchval("SELECT version FROM pgwatch.meta")
    return version is not None and version >= schema.VERSION


async def install_on(connection: Any) -> None:
    """Makes the tables and functions, or brings them up to date; inside a transaction of the caller's."""
    await connection.execute(f"SELECT pg_advisory_xact_lock({schema.LOCK + 2})")
    await connection.execute(schema.INSTALL)
