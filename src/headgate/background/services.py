"""Redis and PostgreSQL as handles of the gateway: opened before a worker accepts, closed after its last request."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from headgate.config.errors import ConfigError

if TYPE_CHECKING:
    from redis.asyncio import Redis

OPEN_LIMIT_S = 10.0
CLOSE_LIMIT_S = 3.0


class Service(Protocol):
    """Something elsewhere that a worker opens and closes."""

    shown: str

    async def open(self) -> None:
        """Connects; raises what is wrong."""

    async def close(self) -> None:
        """Lets go of its connections."""


class Unreachable(ConnectionError):
    """A service that a worker needs cannot be opened; the text says which and why."""


async def open_service(service: Service) -> None:
    """Opens it within its limit; raises `Unreachable`."""
    try:
        async with asyncio.timeout(OPEN_LIMIT_S):
            await service.open()
    except TimeoutError:
        raise Unreachable(f"{service.shown} did not respond within {OPEN_LIMIT_S:g} s") from None
    except Exception as error:
        raise Unreachable(f"{service.shown} cannot be used: {type(error).__name__}: {error}") from error


class RedisService:
    """A client of redis-py, whose pool connects when it is used."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        library = _imported("redis.asyncio", "redis", url)
        self.shown = f"Redis at `{_without_secrets(url)}`"
        try:
            self.client: Redis = library.Redis.from_url(url, **options)
        except ValueError as error:
            raise ConfigError(f"`{_without_secrets(url)}` is not a valid Redis address: {error}") from None

    async def open(self) -> None:
        """Checks that the service responds."""
        await self.client.ping()

    async def close(self) -> None:
        """Closes the pool."""
        await self.client.aclose()


class PostgresService:
    """A pool of asyncpg."""

    def __init__(self, dsn: str, options: dict[str, Any]) -> None:
        self._library = _imported("asyncpg", "postgres", dsn)
        self._dsn, self._options = dsn, options
        self.shown = f"PostgreSQL at `{_without_secrets(dsn)}`"
        self.pool: Any = None

    async def open(self) -> None:
        """Connects the pool's first connections."""
        self.pool = await self._library.create_pool(self._dsn, **{"min_size": 1, **self._options})

    async def close(self) -> None:
        """Closes the pool; connections still in use are cut."""
        if self.pool is not None:
            try:
                async with asyncio.timeout(CLOSE_LIMIT_S / 2):
                    await self.pool.close()
            except TimeoutError:
                self.pool.terminate()


class Postgres:
    """The pool of a PostgreSQL: everything of `asyncpg.Pool` (`fetch`, `fetchrow`, `fetchval`, `execute`, `acquire`).

    It is available from the `startup` hooks on.
    """

    def __init__(self, service: PostgresService) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._service.pool is None:
            raise RuntimeError(f"{self._service.shown} is not open yet; hint: use it in hooks")
        return getattr(self._service.pool, name)


def _imported(module: str, extra: str, address: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            f"`{_without_secrets(address)}` needs the package `{module.partition('.')[0]}`",
            hint=f"pip install 'headgate[{extra}]'",
        ) from None


def _without_secrets(address: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(address)
    if not parts.password:
        return address
    return address.replace(f":{parts.password}@", ":***@")
