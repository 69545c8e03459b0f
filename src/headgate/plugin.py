"""Plugins: classes whose methods are named as phases and whose settings are typed."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from ._caller import Place, Placed, caller
from ._hook_checks import check_hook, defined_at
from .config.errors import ConfigError, nearest, refusal, suggestion
from .config.hooks import PluginConfig
from .config.numbers import not_numbers
from .config.plugin_sets import PluginSetConfig
from .config.secretive import with_secrets
from .config.secrets import resolved
from .listener import Listener, StreamListener
from .phases import PHASES
from .route import Route, Upstream

if TYPE_CHECKING:
    from .native import Native
    from .plugin_context import PluginContext


class Plugin:
    """Base class for plugins.

    A subclass declares a `Config` model and methods with the names and arguments of phases; they may
    be `def` or `async def`. It is made with its settings as keywords: `KeyAuth(header="x-key")`. A text `env:NAME`
    anywhere in the settings is replaced by that environment variable; a secret (`SecretStr`) may also be `file:/path`.

    `setup(self, context)` runs once, when a gateway takes the plugin (`gate.use`, `plugins:`), and prepares what hooks
    need; `startup` runs in each worker before it accepts; `shutdown` after its last request, and `close` when nothing
    uses the plugin any more. `setup` is a plain function, the others may be `async def`. `native(self)` may tell the
    engine what hooks do, so that it calls them less often.

    Any other public method is an error when the class is created, since it is probably a misspelt phase: start the
    names of others with `_`.
    """

    order: int = 0
    """Plugins run in ascending order, then in order of use; `gate.use(..., order=...)` overrides it."""

    class Config(BaseModel):
        """The settings; unknown ones are refused."""

        model_config = ConfigDict(extra="forbid")

    config: Any
    """The validated settings, an instance of the class's `Config`."""

    acts: ClassVar[bool] = False
    """Whether its hooks themselves do what the client asks for, so that a dry run would do it twice: `mode: report` is
    refused.
    """
    phases: ClassVar[tuple[str, ...]] = ()
    """The phases this class has methods for."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        model = _strict(type(self).Config)
        try:
            self.config = model.model_validate(_from_environment(with_secrets(model, settings, resolved)))
        except ValidationError as error:
            raise refusal(error, model, prefix=(type(self).__name__,), locate=lambda _: caller()) from None
        except ConfigError as error:
            raise error.at(caller()) from None
        if problems := list(not_numbers(settings, self.config, (type(self).__name__,))):
            raise ConfigError(problems).at(caller())
        self._headgate_context: PluginContext | None = None
        if not _wants_context(type(self)):
            cast(Any, self.setup)()

    def setup(self, context: PluginContext) -> None:
        """Prepares what hooks need from `self.config` and the context; one that takes no context runs when the plugin
        is made.
        """

    def close(self) -> Any:
        """Releases the plugin's resources, in each worker, after its `shutdown` hook; may be `async def`."""

    def native(self) -> Native | None:
        """What some of its hooks do, told to the engine, which then calls them only for requests that are special; see
        `headgate.native`. Runs after `setup`. A subclass that has hooks of its own says this anew.
        """
        return None

    def _set_up(self, context: PluginContext) -> None:
        """Gives the plugin to a gateway, once."""
        self._headgate_context = context
        if _wants_context(type(self)):
            self.setup(context)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name, member in vars(cls).items():
            if name in ("setup", "close"):
                _check_life(cls, name, member)
            if name.startswith("_") or name in _OWN or inspect.isclass(member):
                continue
            if isinstance(member, staticmethod | classmethod) or inspect.isroutine(member):
                _check_method(cls, name, member)
        cls.phases = tuple(name for name in PHASES if callable(getattr(cls, name, None)))


class InSet(NamedTuple):
    """The routes that name a set of plugins."""

    name: str


On = str | Route | Upstream | Listener | StreamListener | InSet | None
"""A path pattern, `consumer:NAME`, `group:NAME`, a route, an upstream, a listener, the routes of a set, or
everything; in a `PluginUse` also a name."""


@dataclass(frozen=True)
class PluginUse(Placed):
    """A plugin and the requests it is used on."""

    plugin: Plugin
    on: On
    config: PluginConfig
    place: Place


@dataclass(frozen=True)
class PluginSet(Placed):
    """Plugins that are used together, wherever their set is named."""

    name: str
    config: PluginSetConfig
    uses: tuple[PluginUse, ...]
    """What the set says of each plugin; `on` is as yet nothing."""
    place: Place


_OWN = ("setup", "close", "native", "config", "phases", "order", "acts")


def shown_kind(kind: type[Plugin]) -> str:
    """`KeyAuth` as `key-auth`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower().strip("_")


def _wants_context(cls: type[Plugin]) -> bool:
    return len(inspect.signature(cls.setup).parameters) > 1


def _check_life(cls: type[Plugin], name: str, member: Any) -> None:
    """Refuses a `setup` or `close` that could not be called."""
    where, wanted = defined_at(member), "self, context" if name == "setup" else "self"
    if name == "setup" and inspect.iscoroutinefunction(member):
        hint = "connect in `async def startup(self)`, which runs in each worker"
        raise ConfigError(f"`setup` of plugin `{cls.__name__}` is async", hint=hint, where=where)
    required = [
        one.name
        for one in inspect.signature(member).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if ", ".join(required) not in ("self", wanted):
        raise ConfigError(
            f"`{name}` of plugin `{cls.__name__}` takes `({', '.join(required)})`",
            hint=f"write `def {name}({wanted})`",
            where=where,
        )


def _check_method(cls: type[Plugin], name: str, member: Any) -> None:
    where = defined_at(getattr(member, "__func__", member))
    if name not in PHASES:
        near = nearest(name, (*PHASES, "setup", "close"))
        hint = (
            f"did you mean `{near}`?" if near else f"a method that is not a hook begins with `_`: `_{name}`"
        )
        raise ConfigError(f"`{name}` of plugin `{cls.__name__}` is not a phase", hint=hint, where=where)
    if isinstance(member, staticmethod | classmethod):
        raise ConfigError(
            f"`{name}` of plugin `{cls.__name__}` is not a plain method", hint="write `def`", where=where
        )
    check_hook(PHASES[name], member, is_method=True)
    if not PHASES[name].has_body and hasattr(member, "_headgate_body_mode"):
        raise ConfigError(
            f"`{name}` of plugin `{cls.__name__}` has a body mode, but gets no body",
            hint="`body_mode` is for request_body and response_body",
            where=where,
        )


def _strict(model: Any) -> type[BaseModel]:
    """The model, refusing unknown settings even where its author did not say so."""
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise ConfigError(f"`{model!r}` is not a settings model", hint="write `class Config(BaseModel)`")
    if "extra" in model.model_config:
        given: type[BaseModel] = model
        return given
    strict: type[BaseModel] = type(
        model.__name__, (model,), {"model_config": ConfigDict(extra="forbid"), "__module__": model.__module__}
    )
    return strict


def _from_environment(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in os.environ:
            raise ConfigError(
                f"the environment variable `{name}` is not set", hint=suggestion(name, _near(name))
            )
        return os.environ[name]
    if isinstance(value, Mapping):
        return {key: _from_environment(inner) for key, inner in value.items()}
    return [_from_environment(inner) for inner in value] if isinstance(value, list) else value


def _near(name: str) -> list[str]:
    """Only a name alike may be told; the error message does not reveal other variables."""
    found = nearest(name, os.environ)
    return [found] if found else []
