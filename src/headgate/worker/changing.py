"""Applies a configuration in a worker that serves: its functions stay, plugins with other settings are made anew.

How it works: what another worker has loaded comes as JSON (see `compile.names`). It is prepared first, in every worker,
and comes into force when none of them has refused it. Each table of hooks is a version: what is in flight keeps the one
it began with. When the last of that is done, the engine says so, and plugins that no other version has are closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from headgate import _core
from headgate._hook_checks import HookSpec
from headgate.compile.guards import Guard, guard
from headgate.compile.names import CannotTake, Names, made_plugin
from headgate.compile.sources import Sources
from headgate.config.errors import ConfigError
from headgate.config.resolvers import forget_fetched
from headgate.native.telling import NativeHook, native_hook
from headgate.plugin import Plugin
from headgate.worker.controls import Text
from headgate.worker.loaded import Loaded

Call = Callable[[HookSpec], Awaitable[None]]
"""Runs a `startup` or `shutdown` hook within its deadline; raises what it raises."""

logger = logging.getLogger("headgate.worker")


@dataclass(eq=False)
class Version:
    """A table of hooks that something may still run under, with the plugins in it, by their names."""

    hooks: list[HookSpec]
    startup: list[HookSpec]
    shutdown: list[HookSpec]
    plugins: dict[str, Plugin]
    server_state: list[HookSpec]
    consumers: dict[str, Any] | None = None
    """Those that come into force with it; None for those that the worker was started with."""
    secrets: tuple[list[str], list[str]] | None = None
    """What is masked of targets, likewise."""


class Changes:
    """The versions of one worker, from the one that it was started with."""

    def __init__(self, core: _core.Core, loaded: Loaded, names: Names, sources: Sources, call: Call) -> None:
        self._core, self._names, self._sources, self._call = core, names, sources, call
        self._startup, self._shutdown = _own(loaded.startup), _own(loaded.shutdown)
        first = Version(
            list(loaded.hooks),
            list(loaded.startup),
            list(loaded.shutdown),
            dict(names.plugins),
            list(loaded.server_state),
        )
        names.plugins.clear()
        self.current = self._first = first
        self._prepared: Version | None = None
        self._live = [first]
        self._started = set(map(id, first.plugins.values()))
        self._ending: set[asyncio.Task[None]] = set()

    def released(self) -> None:
        """Nothing runs any more under the version that the worker was started with."""
        self._release(self._first)

    async def prepare(self, told: dict[str, Any], text: Text) -> None:
        """Makes a version ready; raises `CannotTake`, or what is wrong with the configuration."""
        self._check(told)
        version = self._made(told)
        self._live.append(version)
        try:
            await self._ready(version, text)
        except BaseException:
            self._core.discard()
            self._release(version)
            raise
        try:
            for hook in version.startup:
                plugin = getattr(hook.function, "__self__", None)
                if isinstance(plugin, Plugin) and id(plugin) not in self._started:
                    await self._call(hook)
            self._started.update(map(id, version.plugins.values()))
        except BaseException:
            self._core.discard()
            raise
        self._prepared = version

    def commit(self) -> Version:
        """Applies it, and gives it."""
        version, self._prepared = self._prepared, None
        if version is None:
            raise RuntimeError("no version is prepared")
        self._core.commit()
        if version.consumers is not None:
            self._names.calls.background.consumers.replace(version.consumers)
        if version.secrets is not None:
            self._names.calls.background.secrets.replace(*version.secrets)
        self.current = version
        return version

    def discard(self) -> None:
        """Forgets what was prepared."""
        self._prepared = None
        self._core.discard()

    async def end(self) -> None:
        """The worker ends: closes the plugins of former versions; those of the current one are closed by the worker."""
        for version in [one for one in self._live if one is not self.current]:
            self._release(version)
        if self._ending:
            await asyncio.wait(self._ending)

    # ---- steps

    async def _ready(self, version: Version, text: Text) -> None:
        """Has the engine make it ready beside the loop."""
        ready: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def done(error: str | None) -> None:
            if not ready.done():
                ready.set_result(error)

        self._core.prepare_aside(*text.taken(), version.hooks, done, released=lambda: self._release(version))
        error = await ready
        if error is not None:
            raise ConfigError(error)

    def _check(self, told: dict[str, Any]) -> None:
        if path := self._sources.changed(told["sources"]):
            raise CannotTake(f"`{path}` has changed")
        if told["background"] != self._names.background:
            raise CannotTake("timers, services, shared dictionaries or their limits differ")
        for phase, own in (("startup", self._startup), ("shutdown", self._shutdown)):
            others = [hook["function"] for hook in told[phase] if "function" in hook]
            if others != [self._names.reference(function)["function"] for function in own]:
                raise CannotTake(f"the `{phase}` hooks differ")

    def _made(self, told: dict[str, Any]) -> Version:
        forget_fetched()  # what is made anew here may be so for its secret
        known = self.current.plugins
        plugins = {
            name: known[name] if name in known else made_plugin(name, one, self._names.calls)
            for name, one in told["plugins"].items()
        }
        hooks, startup, shutdown, server_state = (
            [self._spec(hook, plugins) for hook in told[key]]
            for key in ("hooks", "startup", "shutdown", "server_state")
        )
        return Version(hooks, startup, shutdown, plugins, server_state, told["consumers"], told["secrets"])

    def _spec(self, told: dict[str, Any], plugins: dict[str, Plugin]) -> HookSpec:
        native: NativeHook | None = None
        if "function" in told:
            function = self._names.functions.get(told["function"])
            if function is None:
                raise CannotTake(f"`{told['name']}` holds other data than when it was loaded")
        else:
            method = getattr(plugins[told["plugin"]], told["method"])
            function = guard(method, Guard.of(told["guard"]))
            if told.get("is_native"):
                native = native_hook(plugins[told["plugin"]], told["phase"])
        return HookSpec(
            phase=told["phase"],
            function=function,
            is_async=told["is_async"],
            deadline_ms=told["deadline_ms"],
            on_error=told["on_error"],
            name=told["name"],
            plugin=told["owner"],
            native=native,
        )

    def _release(self, version: Version) -> None:
        """Nothing runs under a version any more: ends the plugins that no other one has."""
        if version not in self._live:
            return
        self._live.remove(version)
        kept = {id(plugin) for one in self._live for plugin in one.plugins.values()}
        for plugin in version.plugins.values():
            if id(plugin) not in kept and id(plugin) in self._started:
                self._started.discard(id(plugin))
                hooks = [
                    hook for hook in version.shutdown if getattr(hook.function, "__self__", None) is plugin
                ]
                task = asyncio.get_running_loop().create_task(self._end_plugin(plugin, hooks))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def _end_plugin(self, plugin: Plugin, hooks: list[HookSpec]) -> None:
        for hook in hooks:
            try:
                await self._call(hook)
            except Exception:
                logger.exception("shutdown hook failed", extra={"hook": hook.name})
        logger.debug("plugin closed", extra={"plugin": type(plugin).__name__})


def _own(hooks: Any) -> list[Any]:
    """The functions of those hooks that are no plugin's."""
    return [
        hook.function for hook in hooks if not isinstance(getattr(hook.function, "__self__", None), Plugin)
    ]
