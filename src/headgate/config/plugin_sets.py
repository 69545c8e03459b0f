"""Named sets of plugins: defined once, used on many routes, listeners, consumers and groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from .errors import ConfigError, Locate, Problem, suggestion
from .hooks import PluginConfig
from .settings import OneOrMany, Settings

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def _set_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ConfigError(f"`{value}` is not a valid name of a plugin set", hint="letters, digits, `_-.`")
    return value


SetName = Annotated[str, AfterValidator(_set_name)]
"""The name of a set of plugins."""

SetNames = Annotated[tuple[SetName, ...], OneOrMany()]
"""Names of sets of plugins; one needs no list."""


class PluginSetConfig(Settings):
    """Plugins that are used together. Short form: the plugins."""

    short_forms: ClassVar = ({"like": "plugins"},)

    plugins: Annotated[tuple[PluginConfig, ...], OneOrMany()] = Field(
        min_length=1,
        description="The plugins; each is created once, however often the set is used. They have no `on`.",
    )
    on: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], OneOrMany()] = Field(
        default=(),
        description=(
            "Where the set is used, besides the places that name it in `plugin_sets`: path patterns, names "
            "of routes, upstreams or listeners, `consumer:NAME`, `group:NAME`."
        ),
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form; one plugin may have the `on` of the set beside it."""
        if isinstance(value, dict) and "plugin" in value:
            one = {key: inner for key, inner in value.items() if key != "on"}
            return {"plugins": [one], **({"on": value["on"]} if "on" in value else {})}
        return {"plugins": value} if isinstance(value, str | list | tuple) else value

    @model_validator(mode="after")
    def _is_used_where_the_set_is(self) -> Self:
        if any(one.on is not None for one in self.plugins):
            raise ConfigError(
                "a plugin of a set has `on`", hint="write `on` beside `plugins`, for all of them"
            )
        return self


class Naming(NamedTuple):
    """Something that names sets of plugins, and where it stands in the model."""

    path: tuple[str | int, ...]
    names: Iterable[str]


def undefined(sets: Mapping[str, object], every: Iterable[Naming], locate: Locate) -> Iterator[Problem]:
    """Each name of a set that is not there."""
    for naming in every:
        for name in naming.names:
            if name not in sets:
                path = (*naming.path, "plugin_sets")
                hint = suggestion(name, sets) or "define it in `plugin_sets`"
                yield Problem(f"there is no plugin set `{name}`", hint, locate(path), path)
