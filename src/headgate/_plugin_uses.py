"""The plugins of a gateway, as the methods that a Python file calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Any

from ._caller import caller
from ._parts import Parts, parsed
from ._settings import listed
from .background.calls import BackgroundCalls
from .config.errors import ConfigError
from .config.errors import Path as ConfigPath
from .config.hooks import OnError, PluginConfig, PluginMode
from .config.plugin_sets import PluginSetConfig
from .listener import Listener, StreamListener
from .plugin import Plugin, PluginSet, PluginUse, shown_kind
from .plugin_context import PluginContext
from .route import Route, Upstream


class GatewayPlugins(BackgroundCalls):
    """The part of a gateway that uses plugins."""

    _parts: Parts

    def use(
        self,
        plugin: Plugin,
        *,
        on: str | Route | Upstream | Listener | StreamListener | None = None,
        when: str | None = None,
        mode: PluginMode | None = None,
        name: str | None = None,
        order: int | None = None,
        deadline: float | str | None = None,
        on_error: OnError | None = None,
    ) -> None:
        """Uses a plugin on every request, or only on a path pattern, a route, an upstream, a listener, on the one so
        named, on a consumer (`"consumer:alice"`) or a group (`"group:staff"`), and only while the expression `when`
        holds.

        Plugins run by their `order`, the lowest first, then in order of use. `name` is what logs call it. In mode
        `report` they change nothing, and log and count what they would have replied.
        """
        _check_plugin(plugin)
        if isinstance(on, Upstream):
            self._parts.check_own(on)
        said = {
            **_described(plugin),
            "on": on if isinstance(on, str) or on is None else on.name,
            "when": when,
            **({} if mode is None else {"mode": mode}),
            "name": name,
            "order": order,
            "deadline": deadline,
            "on_error": on_error,
        }
        config = parsed(PluginConfig, said)
        self._parts.places["plugins", len(self._parts.plugins)] = caller()
        self._take_plugin(PluginUse(plugin, on, config, caller()))

    def plugin_set(self, name: str, *plugins: Plugin, on: str | Iterable[str] = ()) -> None:
        """Plugins that are used together, on what names the set in `plugin_sets`, and where `on` says.

        `on` takes path patterns, names, `consumer:NAME` and `group:NAME`, as `use` does.
        """
        for plugin in plugins:
            _check_plugin(plugin)
        path: ConfigPath = ("plugin_sets", name)
        given = {"plugins": [_described(plugin) for plugin in plugins], "on": listed(on)}
        config = parsed(PluginSetConfig, given, path)
        if name in self._parts.plugin_sets:
            raise ConfigError(f"the plugin set `{name}` is already defined", where=caller())
        pairs = zip(plugins, config.plugins, strict=True)
        uses = tuple(PluginUse(plugin, None, one, caller()) for plugin, one in pairs)
        self._parts.places[path] = caller()
        self._take_plugin_set(PluginSet(name, config, uses, caller()))

    def _take_plugin_set(self, one: PluginSet) -> None:
        """Adds a set, and sets its plugins up, each under the name of the set and its own."""
        for use in one.uses:
            named = use.config.name or f"{one.name}.{shown_kind(type(use.plugin))}"
            self._set_up(replace(use, config=use.config.model_copy(update={"name": named})))
        self._parts.plugin_sets[one.name] = one

    def _take_plugin(self, use: PluginUse) -> None:
        """Adds a use, and sets the plugin up with the first one."""
        self._set_up(use)
        self._parts.plugins.append(use)

    def _set_up(self, use: PluginUse) -> None:
        if use.config.mode == "report" and use.plugin.acts:
            raise ConfigError(
                f"a dry run of `{shown_kind(type(use.plugin))}` would do twice what the client asks for",
                hint="leave `mode` out, and write `when` to use it on few requests",
                where=use.where,
            )
        every = [*self._parts.plugins, *(one for s in self._parts.plugin_sets.values() for one in s.uses)]
        if use.plugin._headgate_context is None:
            taken = {one.plugin._headgate_context.name for one in every if one.plugin._headgate_context}
            name = use.config.name or shown_kind(type(use.plugin))
            numbered = (f"{name}-{number}" for number in count(2))
            name = name if name not in taken else next(one for one in numbered if one not in taken)
            kind = shown_kind(type(use.plugin))
            use.plugin._set_up(PluginContext(self, name, self._parts, kind))
        elif not any(one.plugin is use.plugin for one in every):
            raise ConfigError(
                f"this `{type(use.plugin).__name__}` belongs to another gateway",
                hint="create one for each",
                where=use.where,
            )


def _check_plugin(given: object) -> None:
    if isinstance(given, Plugin):
        return
    shown = getattr(given, "__name__", repr(given))
    hint = f"write `{shown}(...)`" if isinstance(given, type) else "a plugin is a subclass of `Plugin`"
    raise ConfigError(f"`{shown}` is not a plugin", hint=hint, where=caller())


def _described(plugin: Plugin) -> dict[str, Any]:
    kind = type(plugin)
    return {
        "plugin": f"{kind.__module__}:{kind.__qualname__}",
        "config": plugin.config.model_dump(mode="json"),
    }
