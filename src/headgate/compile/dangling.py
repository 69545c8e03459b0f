"""Names that lead to nothing, or that nothing leads to: told by `headgate check`."""

from __future__ import annotations

from collections.abc import Iterator

from headgate.config.errors import Path, Problem, suggestion
from headgate.config.model import GatewayConfig
from headgate.gateway import Gateway

from .plugin_sets import CONSUMER, GROUP


def dangling(gateway: Gateway, config: GatewayConfig, *, is_whole: bool = False) -> Iterator[Problem]:
    """Consumers and groups that uses of plugins name and nobody is, groups without a definition where others have one,
    and sets of plugins that nothing uses.

    A store may hold what is missing here, so nothing is said of a gateway that has one, unless its resources are in it
    (`is_whole`).
    """
    if not is_whole and (config.store or config.admin):
        return
    for path, problem in (*_uses(config), *_groups(config), *_sets(config)):
        yield problem._replace(where=gateway._parts.locate(path), path=path)


def _uses(config: GatewayConfig) -> Iterator[tuple[Path, Problem]]:
    groups = {group for one in config.consumers.values() for group in one.groups} | {*config.consumer_groups}
    # a plugin may know consumers of its own, as the settings of `key-auth` list some
    known = {*config.consumers, *(name for use in config.plugins for name in _own(use.config))}
    places: list[tuple[Path, str]] = [
        (("plugins", n, "on"), use.on) for n, use in enumerate(config.plugins) if use.on
    ]
    places += [(("plugin_sets", name, "on"), on) for name, one in config.plugin_sets.items() for on in one.on]
    for path, on in places:
        for prefix, names in ((CONSUMER, known), (GROUP, groups)):
            name = on.removeprefix(prefix)
            if name != on and name not in names:
                hint = suggestion(name, names) or f"define it in `{prefix[:-1]}s`"
                yield path, Problem(f"there is no {prefix[:-1]} `{name}`", hint)


def _own(settings: dict[str, object]) -> list[str]:
    found = [settings.get("anonymous")]
    found += keys if isinstance(keys := settings.get("keys"), dict) else ()
    return [one for one in found if isinstance(one, str)]


def _groups(config: GatewayConfig) -> Iterator[tuple[Path, Problem]]:
    if not config.consumer_groups:
        return
    named: set[str] = set()
    for name, one in config.consumers.items():
        named |= {*one.groups}
        for group in one.groups:
            if group not in config.consumer_groups:
                hint = suggestion(group, config.consumer_groups)
                problem = Problem(
                    f"the group `{group}` of consumer `{name}` is not in `consumer_groups`", hint
                )
                yield ("consumers", name, "groups"), problem
    for group in config.consumer_groups:
        if group not in named:
            yield ("consumer_groups", group), Problem(f"no consumer is in the group `{group}`", "remove it")


def _sets(config: GatewayConfig) -> Iterator[tuple[Path, Problem]]:
    named = {name for naming in config.naming_sets() for name in naming.names}
    for name, one in config.plugin_sets.items():
        if name not in named and not one.on:
            hint = "name it in `plugin_sets` of a route, or give it `on`"
            yield ("plugin_sets", name), Problem(f"nothing uses the plugin set `{name}`", hint)
