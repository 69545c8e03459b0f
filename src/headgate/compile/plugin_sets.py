"""Where the plugins of sets are used: each place that names a set is a use of each of its plugins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from headgate.config.consumers import ConsumerConfig, ConsumerGroupConfig
from headgate.plugin import InSet, On, PluginUse

if TYPE_CHECKING:
    from headgate._parts import Parts

CONSUMER, GROUP = "consumer:", "group:"


def every_use(parts: Parts) -> list[PluginUse]:
    """The uses of plugins, and those that sets come to; a set that nothing names comes to none."""
    return [*parts.plugins, *_of_sets(parts)]


def _of_sets(parts: Parts) -> Iterator[PluginUse]:
    if not parts.plugin_sets:
        return
    on_routes = {name for route in parts.routes for name in route.config.plugin_sets}
    people = _people(parts)
    for one in parts.plugin_sets.values():
        places: list[On] = [*one.config.on, *([InSet(one.name)] if one.name in on_routes else [])]
        places += [listener for listener in parts.listeners if one.name in listener.config.plugin_sets]
        places += people.get(one.name, ())
        for use in one.uses:
            yield from (replace(use, on=on, place=one.place) for on in places)


def _people(parts: Parts) -> dict[str, list[str]]:
    """The consumers and groups that name each set."""
    found: dict[str, list[str]] = {}
    for key, kind in (("consumers", CONSUMER), ("consumer_groups", GROUP)):
        for name, one in parts.settings.get(key, {}).items():
            # what a Python file says is checked, but not a model yet
            given = (
                one.plugin_sets
                if isinstance(one, ConsumerConfig | ConsumerGroupConfig)
                else one.get("plugin_sets", ())
            )
            for named in (given,) if isinstance(given, str) else given:
                found.setdefault(named, []).append(f"{kind}{name}")
    return found
