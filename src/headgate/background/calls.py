"""What users call on the gateway for work beside requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, overload

from headgate._caller import caller
from headgate.config.errors import ConfigError
from headgate.config.units import parse_duration, parse_size

from .background import Background

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from headgate._core import Request
    from headgate.shared import Shared

    from .locks import Lock
    from .services import Postgres
    from .timers import OncePer, Timer

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Seconds = float | str


class BackgroundCalls:
    """The part of a gateway that is not about requests. Times are seconds, or texts such as `500ms`."""

    background: Background

    # ---- shared memory

    def shared(self, name: str, size: int | str = "16m") -> Shared:
        """A dictionary that all workers share, of at most `size` bytes; call it where the file is loaded.

        It survives reloads and upgrades. If its size has changed, it starts empty.
        """
        from headgate.shared import open_shared

        try:
            wanted = parse_size(size)
            known = self.background.dictionaries.get(name)
            if known is None:
                known = open_shared(name, wanted, self.background.node.locks)
                self.background.dictionaries[name] = known
        except ConfigError as error:
            raise error.at(caller()) from None
        if known.capacity != wanted:
            raise ConfigError(
                f"the shared dictionary `{name}` is already defined with {known.capacity} bytes, not {wanted}",
                hint="use the same size",
                where=caller(),
            )
        return known

    def lock(self, name: str, *, timeout: Seconds | None = None, ttl: Seconds | None = None) -> Lock:
        """A lock by name among all workers of the node: `async with gate.lock("stock"): ...`.

        `TimeoutError` if it is not free within `timeout` (10 s). It is free again when it is given back, when its
        holder's process dies, or after `ttl` (60 s).
        """
        return self.background.node.locks.lock(name, timeout, ttl)

    @property
    def is_leader(self) -> bool:
        """Whether this worker is the leader of its node. When the leader stops or dies, another worker takes over."""
        return self.background.node.is_leader

    # ---- timers and tasks

    @overload
    def every(
        self, seconds: Seconds, task: F, *, once_per: OncePer = "worker", name: str | None = None
    ) -> Timer: ...

    @overload
    def every(
        self, seconds: Seconds, *, once_per: OncePer = "worker", name: str | None = None
    ) -> Callable[[F], F]: ...

    def every(
        self,
        seconds: Seconds,
        task: Callable[..., Any] | None = None,
        *,
        once_per: OncePer = "worker",
        name: str | None = None,
    ) -> Any:
        """Calls a function, sync or async, again and again: in each worker, or in one of the node (its leader).

        The first run is `seconds` after the worker's start. Runs do not overlap: what a long one misses is left out.
        Without a function it is a decorator.
        """
        wait = parse_duration(seconds)
        if task is not None:
            return self.background.timers.every(wait, task, once_per, name)

        def register(function: F) -> F:
            self.background.timers.every(wait, function, once_per, name)
            return function

        return register

    def after(self, seconds: Seconds, task: Callable[..., Any], *args: Any) -> Timer:
        """Calls a function, sync or async, once: so long after now, or after the worker's start."""
        return self.background.timers.after(parse_duration(seconds), task, args)

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], *, request: Request | None = None, name: str | None = None
    ) -> asyncio.Task[T]:
        """Starts a task that runs on its own; with a request it is cancelled when that ends.

        What it raises is logged. While the worker drains it may go on, then it is cancelled. `Overloaded` past
        `background.max_tasks`.
        """
        return self.background.tasks.spawn(coroutine, request=request, name=name)

    # ---- other threads and processes

    async def run_in_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls a blocking function in a thread. Raises `Overloaded` above `background.max_waiting_threads`."""
        return await self.background.threads.run(function, *args, **kwargs)

    async def run_in_process(
        self, function: Callable[..., T], *args: Any, timeout: Seconds | None = None
    ) -> T:
        """Calls a function that computes, in another process; it and its arguments must be such as pickle copies.

        `TimeoutError` after `timeout` (`background.job_timeout`), waiting included; `Overloaded` past
        `background.max_waiting_jobs`; `JobFailed` if the process dies. A job that is cancelled or late is killed.
        """
        limit = None if timeout is None else parse_duration(timeout)
        result: T = await self.background.jobs.run(function, args, limit)
        return result

    # ---- services

    def redis(self, url: str, **options: Any) -> Redis:
        """A client of redis-py, `redis.asyncio.Redis.from_url(url, **options)`: checked before a worker accepts, closed
        after its last request. Needs `pip install 'headgate[redis]'`."""
        from .services import RedisService

        try:
            service = RedisService(url, options)
        except ConfigError as error:
            raise error.at(caller()) from None
        self.background.services.append(service)
        return service.client

    def postgres(self, dsn: str, **options: Any) -> Postgres:
        """A pool of asyncpg, `asyncpg.create_pool(dsn, **options)`: opened before a worker accepts, closed after its
        last request. Needs `pip install 'headgate[postgres]'`."""
        from .services import Postgres, PostgresService

        try:
            service = PostgresService(dsn, options)
        except ConfigError as error:
            raise error.at(caller()) from None
        self.background.services.append(service)
        return Postgres(service)
