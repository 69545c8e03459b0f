"""The kinds of resources: what can be changed at run time, in a store or by the Admin API, beside the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .consumers import ConsumerConfig, ConsumerGroupConfig
from .errors import ConfigError, Problem, Where, suggestion
from .hooks import PluginConfig
from .plugin_sets import PluginSetConfig
from .routes import RouteConfig
from .settings import Settings
from .tls import CertificateConfig
from .upstreams import UpstreamConfig

Resources = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Documents by kind and name."""


@dataclass(frozen=True)
class Kind:
    """A kind of resource."""

    name: str
    """As it stands in paths and stores: `plugin-sets`."""
    key: str
    """As it stands in files: `plugin_sets`."""
    model: type[Settings]
    one: str
    """What one of it is called."""
    is_sensitive: bool = False
    """Whether only the role `admin` may change it."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("routes", "routes", RouteConfig, "route"),
        Kind("upstreams", "upstreams", UpstreamConfig, "upstream"),
        Kind("plugins", "plugins", PluginConfig, "plugin use"),
        Kind("plugin-sets", "plugin_sets", PluginSetConfig, "plugin set"),
        Kind("consumers", "consumers", ConsumerConfig, "consumer", is_sensitive=True),
        Kind("consumer-groups", "consumer_groups", ConsumerGroupConfig, "consumer group", is_sensitive=True),
        Kind("certificates", "certificates", CertificateConfig, "certificate", is_sensitive=True),
    )
}
"""By name."""


def kind_named(name: str) -> Kind:
    """The kind; raises `ConfigError` with the nearest one."""
    if name not in KINDS:
        raise ConfigError(f"there is no kind `{name}`", hint=suggestion(name, KINDS))
    return KINDS[name]


def parsed(kind: Kind, name: str, document: Mapping[str, Any]) -> Settings:
    """A document as its model; problems are in `kind/name`, and have the path `(kind, name, key...)`."""
    where = Where(f"{kind.name}/{name}")
    given = dict(document)
    if kind.name in _NAMED and given.setdefault("name", name) != name:
        problem = Problem(
            f"the {kind.one} `{name}` has the name `{given['name']}`",
            "remove `name`: the resource's name is used",
            where,
            (kind.key, name, "name"),
        )
        raise ConfigError([problem])
    return kind.model.parse(given, path=(kind.key, name), locate=lambda _: where)


_NAMED = {kind.name for kind in KINDS.values() if "name" in kind.model.model_fields}
