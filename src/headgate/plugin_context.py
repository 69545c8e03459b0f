"""What a plugin gets besides requests: `setup(self, context)`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

from .config.field_names import check_claimable, check_token
from .config.logs import check_secret_path
from .metrics import Metrics, plugin_metrics

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from headgate._core import FetchResponse, Request

    from .background.calls import BackgroundCalls, Seconds
    from .background.locks import Lock
    from .background.timers import OncePer, Timer
    from .route import FetchOptions
    from .shared import Shared

T = TypeVar("T")
COUNTERS = "headgate.plugins"
"""The shared dictionary that holds plugins' counters."""


class PluginLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry the plugin's name; facts go in as `extra={"consumer": name}`."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the plugin's name to what the caller says."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **kwargs.get("extra", {})}}


class PluginCounter:
    """A number that only grows, summed over all workers; it begins anew when the gateway is started anew."""

    def __init__(self, counters: Shared, key: str, counted: Callable[[int], None]) -> None:
        self._counters = counters
        self._key = key
        self._counted = counted

    def add(self, by: int = 1) -> None:
        """Counts."""
        if by < 0:
            raise ValueError(f"`{by}` is not a valid step; hint: a counter can only increase")
        self._counters.incr(self._key, by)
        self._counted(by)

    @property
    def value(self) -> int:
        """The sum so far."""
        return int(self._counters.get(self._key, 0))


class ClientParts(Protocol):
    """What plugins say of the gateway's requests as a whole."""

    identity_fields: set[str]
    secret_query: set[str]
    secret_paths: set[str]


class PluginContext:
    """The services of the gateway for a plugin; the names are those of `Gateway`.

    Shared dictionaries, locks and counters are private to the plugin, even if another plugin uses the same name.
    """

    def __init__(self, gateway: BackgroundCalls, name: str, parts: ClientParts, kind: str = "") -> None:
        self.name = name
        """The name under which the plugin runs, in logs and names of its things."""
        self.log = PluginLog(logging.getLogger("headgate.plugin"), {"plugin": name})
        """Writes to the error log."""
        self.metrics = plugin_metrics(gateway.background.metrics, kind or name, name)
        """Metrics of the plugin: counters, gauges and histograms, named after its class."""
        self.consumers = gateway.background.consumers
        """Those of the configuration, found by their credentials; changes of them are seen at once."""
        self._gateway = gateway
        self._parts = parts

    def remove_from_clients(self, *fields: str) -> None:
        """Takes these header fields out of every request, before all hooks, on every route: what only the gateway may
        say of a client must never come from one. Any case counts, and `_` as `-`. Raises `ConfigError` for fields that
        no request is without, or that the gateway writes itself, such as `host`.
        """
        for field in fields:
            check_claimable(check_token(field))
            self._parts.identity_fields.add(field.lower().replace("_", "-"))

    @property
    def identity_fields(self) -> frozenset[str]:
        """What all plugins of the gateway have taken out of requests by `remove_from_clients`, in lower case, with `-`
        for `_`.
        """
        return frozenset(self._parts.identity_fields)

    def mask_query(self, *names: str) -> None:
        """Masks the values of these query parameters in all that the gateway writes: access logs, traces, archives of
        exchanges.
        """
        self._parts.secret_query.update(names)

    def mask_paths(self, *paths: str) -> None:
        """Masks segments of these paths in all that the gateway writes: those in braces, `/reset/{token}`, or all that
        follow, `/unsubscribe/*`. Raises `ConfigError` for a path that names none.
        """
        self._parts.secret_paths.update(map(check_secret_path, paths))

    def masked(self, target: str) -> str:
        """A target or a URL as it may be written, without the secrets that `mask_query`, `mask_paths` and the
        configuration name. A path is to be masked before it is shortened.
        """
        return self._gateway.background.secrets.masked(target)

    @property
    def masked_query(self) -> tuple[str, ...]:
        """The names of query parameters whose values are masked, by the configuration in force."""
        return self._gateway.background.secrets.names

    @property
    def masked_paths(self) -> tuple[str, ...]:
        """The paths of which segments are masked, by the configuration in force."""
        return self._gateway.background.secrets.paths

    def shared(self, name: str, size: int | str = "16m") -> Shared:
        """A dictionary that the plugin's copies in all workers share, of at most `size` bytes."""
        return self._gateway.shared(f"{self.name}.{name}", size)

    def counter(self, name: str) -> PluginCounter:
        """A counter whose sum over all workers the plugin can read; `metrics` has those that only scrapers read.

        It is exposed as `headgate_plugin_counter_total`.
        """
        shown = Metrics(self._gateway.background.metrics, "headgate_plugin_", (("plugin", self.name),))
        counter = shown.counter("counter", "Counters of plugins, by their names.", labels=["counter"])
        return PluginCounter(
            self._gateway.shared(COUNTERS, "256k"),
            f"{self.name}/{name}",
            lambda by: counter.inc(name, by=by),
        )

    def lock(self, name: str, *, timeout: Seconds | None = None, ttl: Seconds | None = None) -> Lock:
        """A lock among all workers; see `Gateway.lock`."""
        return self._gateway.lock(f"{self.name}/{name}", timeout=timeout, ttl=ttl)

    def every(self, seconds: Seconds, task: Callable[..., Any], *, once_per: OncePer = "worker") -> Timer:
        """Calls a function, sync or async, again and again; see `Gateway.every`."""
        return self._gateway.every(seconds, task, once_per=once_per, name=f"{self.name}.{task.__name__}")

    def after(self, seconds: Seconds, task: Callable[..., Any], *args: Any) -> Timer:
        """Calls a function, sync or async, once; see `Gateway.after`."""
        return self._gateway.after(seconds, task, *args)

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], *, request: Request | None = None, name: str | None = None
    ) -> asyncio.Task[T]:
        """Starts a task that runs on its own; see `Gateway.spawn`."""
        return self._gateway.spawn(coroutine, request=request, name=name or self.name)

    async def run_in_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls a function that blocks, in a thread; see `Gateway.run_in_thread`."""
        return await self._gateway.run_in_thread(function, *args, **kwargs)

    async def run_in_process(
        self, function: Callable[..., T], *args: Any, timeout: Seconds | None = None
    ) -> T:
        """Calls a function that computes, in another process; see `Gateway.run_in_process`."""
        return await self._gateway.run_in_process(function, *args, timeout=timeout)

    def fetch(self, url: str, /, **options: Unpack[FetchOptions]) -> Awaitable[FetchResponse]:
        """Makes a request; see `headgate.fetch`."""
        from headgate._core import fetch

        return fetch(url, **options)

    def fetch_upstream(
        self, upstream: str, target: str, /, **options: Unpack[FetchOptions]
    ) -> Awaitable[FetchResponse]:
        """Makes a request to a server of the upstream of that name; see `Upstream.fetch`."""
        from headgate._core import fetch_upstream

        return fetch_upstream(upstream, target, **options)

    def redis(self, url: str, **options: Any) -> Redis:
        """A Redis client, checked before a worker accepts, closed after its last request; see `Gateway.redis`."""
        return self._gateway.redis(url, **options)
