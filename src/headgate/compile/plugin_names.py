"""Short names of plugins: those that come with the gateway, and those that installed packages declare."""

from __future__ import annotations

from headgate.config.errors import ConfigError, suggestion
from headgate.plugins import BUILT_IN

GROUP = "headgate.plugins"
"""The group of entry points: `[project.entry-points."headgate.plugins"] my-plugin = "package.module:Class"`."""


def reference_of(name: str) -> str:
    """`module:Class` of the plugin of that short name; raises `ConfigError` for an unknown one."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    from importlib.metadata import entry_points

    installed = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    if name not in installed:
        hint = suggestion(name, (*BUILT_IN, *installed)) or "name your own as `module:Class`"
        raise ConfigError(f"there is no plugin `{name}`", hint=hint)
    return installed[name].partition(" ")[0]
