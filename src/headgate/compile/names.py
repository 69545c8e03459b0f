"""Names for the hooks and plugins of a gateway, by which a process that has loaded the same source finds its own.

How it works: a configuration that was loaded in one process is applied in others that serve already. They keep
their functions, with whatever state those have: a function goes over by its name and its digest, and the one of the
same name and digest is taken. A plugin goes over by its class and its settings, and is made anew where nobody has one
with these settings. What cannot be found so needs new processes.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from headgate._hook_checks import Hook, HookSpec
from headgate.plugin import Plugin, shown_kind
from headgate.plugin_context import PluginContext

from .digests import Digests, Unnamed
from .guards import guarded
from .order import Compiled
from .plugin_sets import every_use

if TYPE_CHECKING:
    from headgate.background.calls import BackgroundCalls
    from headgate.gateway import Gateway


class CannotTake(Exception):
    """What was handed over does not fit what is loaded here: new workers are needed. The text says why."""


class Names:
    """What a loaded gateway consists of, under names. To be made when it is loaded, before any of it has run."""

    def __init__(self, gate: Gateway, compiled: Compiled, is_users: Callable[[str], bool]) -> None:
        self._digests = Digests(is_users)
        self.functions: dict[str, Any] = {}
        self._named: dict[int, str] = {}
        self.calls: BackgroundCalls = gate
        """What plugins that are made later work with."""
        self._failure: str | None = None
        self.background = ""
        self.plugins: dict[str, Plugin] = {}
        self._plugin_names: dict[int, str] = {}
        try:
            for use in every_use(gate._parts):
                self._add_plugin(use.plugin)
            for hook in (*compiled.hooks, *compiled.startup, *compiled.shutdown, *compiled.server_state):
                self.reference(hook.function)
            self.background = self._digests.of(_background(gate))
            self._add_others(is_users)
        except (Unnamed, RecursionError) as error:
            self._failure = f"{error}"
        del self._digests  # and with it all that was looked at

    def described(self, compiled: Compiled) -> dict[str, Any]:
        """What goes over, as JSON knows it; raises `CannotTake` if something cannot be named."""
        if self._failure:
            raise CannotTake(self._failure)
        return {
            "plugins": {name: _described(plugin) for name, plugin in self.plugins.items()},
            "hooks": [self._described_hook(hook) for hook in compiled.hooks],
            "startup": [self._described_hook(hook) for hook in compiled.startup],
            "shutdown": [self._described_hook(hook) for hook in compiled.shutdown],
            "server_state": [self._described_hook(hook) for hook in compiled.server_state],
            "background": self.background,
        }

    def reference(self, function: Hook) -> dict[str, Any]:
        """How a hook's function is told: as a plugin's method, or by name and digest."""
        method, said = guarded(function)
        owner = getattr(method, "__self__", None)
        if isinstance(owner, Plugin) and id(owner) in self._plugin_names:
            return {"plugin": self._plugin_names[id(owner)], "method": method.__name__, "guard": said.told()}
        return {"function": self._name(function)}

    def _described_hook(self, hook: HookSpec) -> dict[str, Any]:
        told = {
            name: getattr(hook, name) for name in ("phase", "is_async", "deadline_ms", "on_error", "name")
        }
        is_native = hook.native is not None
        return {**told, "owner": hook.plugin, "is_native": is_native, **self.reference(hook.function)}

    def _name(self, function: Any) -> str:
        if id(function) not in self._named:
            self._add(function)
        return self._named[id(function)]

    def _add(self, function: Any) -> None:
        module, name = (
            getattr(function, "__module__", ""),
            getattr(function, "__qualname__", type(function).__qualname__),
        )
        stem = f"{module}:{name}#{self._digests.of(function)}"
        number = 0
        while f"{stem}.{number}" in self.functions:
            number += 1
        self.functions[f"{stem}.{number}"] = function
        self._named[id(function)] = f"{stem}.{number}"

    def _add_plugin(self, plugin: Plugin) -> None:
        if id(plugin) in self._plugin_names:
            return
        kind = type(plugin)
        digest = self._digests.of([_settings(plugin), plugin.config, _context_name(plugin)])
        stem = f"{kind.__module__}:{kind.__qualname__}#{digest}"
        number = 0
        while f"{stem}.{number}" in self.plugins:
            number += 1
        self.plugins[f"{stem}.{number}"] = plugin
        self._plugin_names[id(plugin)] = f"{stem}.{number}"

    def _add_others(self, is_users: Callable[[str], bool]) -> None:
        """Functions of the user's modules that are no hooks, and may become some."""
        for name, module in list(sys.modules.items()):
            if is_users(name):
                for value in list(vars(module).values()):
                    if (
                        callable(value)
                        and getattr(value, "__module__", None) == name
                        and not isinstance(value, type)
                    ):
                        self._name(value)


def made_plugin(name: str, told: dict[str, Any] | None, calls: BackgroundCalls) -> Plugin:
    """A new plugin of the class that its name begins with; raises `ConfigError` as making it does, or `CannotTake`."""
    if told is None:
        raise CannotTake(f"the settings of `{name.partition('#')[0]}` are not plain data")
    module, _, path = name.partition("#")[0].partition(":")
    kind: Any = importlib.import_module(module)
    for part in path.split("."):
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise CannotTake(f"there is no plugin `{module}:{path}`")
    plugin: Plugin = kind(**told["settings"])
    serving = _Serving(calls)
    plugin._set_up(PluginContext(cast(Any, serving), told["name"], _Known(), shown_kind(kind)))
    serving.is_set_up = True
    return plugin


class _Known:
    """What a plugin says of requests as a whole is in the snapshot already."""

    def __init__(self) -> None:
        self.identity_fields: set[str] = set()
        self.secret_query: set[str] = set()
        self.secret_paths: set[str] = set()


class _Serving:
    """A gateway that serves already: what is to be there from the start cannot be added to it."""

    is_set_up = False

    def __init__(self, calls: BackgroundCalls) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        if name in ("every", "after", "redis", "postgres") and not self.is_set_up:
            raise CannotTake(f"`setup` of a plugin calls `{name}`")
        return getattr(self._calls, name)


def _described(plugin: Plugin) -> dict[str, Any] | None:
    """The settings, if JSON can say them as they are."""
    settings = _settings(plugin)
    try:
        told: dict[str, Any] | None = json.loads(json.dumps(settings))
    except (TypeError, ValueError):
        return None
    return {"settings": told, "name": _context_name(plugin)} if told == settings else None


def _context_name(plugin: Plugin) -> str:
    return plugin._headgate_context.name if plugin._headgate_context else ""


def _settings(plugin: Plugin) -> dict[str, Any] | None:
    """What it was made with; `None` for a class that is made in a way of its own."""
    return getattr(plugin, "_settings", None)


def _background(gate: Gateway) -> Sequence[object]:
    """Timers, services and dictionaries: what runs or is open beside requests."""
    background = gate.background
    timers = [
        (timer.name, timer.seconds, timer._function, timer._arguments)
        for timer, _ in background.timers._registered
    ]
    services = [(type(service).__qualname__, service.shown) for service in background.services]
    dictionaries = sorted((name, one.capacity) for name, one in background.dictionaries.items())
    return [timers, services, dictionaries, gate.config.background.model_dump()]
