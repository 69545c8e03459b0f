"""Hooks and plugins as a file names them: `module:function`, `module:Class`."""

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, create_model

from headgate.phases import PHASES

from .errors import ConfigError
from .expressions import check_condition
from .settings import OneOrMany, Settings
from .units import Duration, Size

PluginMode = Literal["enforce", "report"]
"""Whether what a plugin decides happens, or is only logged and counted."""

OnError = Literal["closed", "open"]
"""What happens to the request when a hook raises or is late: a 500, or on as if it were not there."""


def _reference(value: str) -> str:
    module, colon, name = value.rpartition(":")
    if not (colon and module and name):
        raise ConfigError(
            f"`{value}` is not a valid reference", hint="write `module:name`, such as `hooks:sign`"
        )
    return value


Reference = Annotated[str, AfterValidator(_reference)]
"""`module:name`, where the module lies beside the configuration file or is installed."""


def _plugin_reference(value: str) -> str:
    return value if re.fullmatch(r"[a-z][a-z0-9-]*", value) else _reference(value)


PluginReference = Annotated[str, AfterValidator(_plugin_reference)]
"""A short name such as `key-auth`, or `module:Class`."""


class HookConfig(Settings):
    """A hook. Short form: its function."""

    short_forms: ClassVar = ({"type": "string", "examples": ["hooks:sign"]},)

    function: Reference = Field(description="The function, as `module:name`.")
    deadline: Duration | None = Field(
        default=None, description="The deadline; default: the gateway's `hook_deadline`."
    )
    on_error: OnError | None = Field(
        default=None,
        description="`closed`: respond with 500; `open`: continue without it; default: the gateway's.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"function": value} if isinstance(value, str) else value


BodyMode = Literal["stream", "buffer"]
"""How a hook takes a body: chunk by chunk as it comes, or whole in one call."""


class BodyHookConfig(HookConfig):
    """A hook of a body phase. Short form: its function."""

    mode: BodyMode = Field(
        default="stream",
        description="`stream`: one call per chunk; `buffer`: one call with the whole body.",
    )
    limit: Size | None = Field(
        default=None,
        ge=1,
        description=(
            "The maximum bytes for `buffer`; more give 413 or 502; default: `limits.max_buffered_body_bytes`."
        ),
    )
    decode: bool = Field(
        default=False,
        description=(
            "Whether the Content-Encoding (gzip, deflate, br, zstd) is decoded before the hook and "
            "encoded again after it."
        ),
    )


Hooks = Annotated[tuple[HookConfig, ...], OneOrMany()]
"""One hook, or several in order."""

BodyHooks = Annotated[tuple[BodyHookConfig, ...], OneOrMany()]
"""One hook of a body phase, or several in order."""


def _by_phase(*scopes: str) -> Any:
    """A table with a key for each phase of these scopes, made from the table of phases."""
    fields: dict[str, Any] = {
        phase.name: (BodyHooks if phase.has_body else Hooks, Field(default=(), description=phase.description))
        for phase in PHASES.values()
        if phase.scope in scopes
    }
    return create_model("HooksByPhase", __base__=Settings, **fields)


if TYPE_CHECKING:

    class _ByPhase(Settings):
        """What every table of hooks is to a type checker: any phase, with its hooks."""

        def __getattr__(self, phase: str) -> tuple[Any, ...]: ...

    _OfRoutes = _ByPhase
    _OfListeners = _ByPhase
    _OfStreams = _ByPhase
    _OfGateways = _ByPhase
else:
    _OfRoutes = _by_phase("route")
    _OfListeners = _by_phase("connection")
    _OfStreams = _by_phase("connection", "listener")
    _OfGateways = _by_phase("worker", "connection", "gateway", "route")


class RouteHooksConfig(_OfRoutes):
    """Hooks of a route, by phase."""


class ListenerHooksConfig(_OfListeners):
    """Hooks of a listener, by phase."""


class StreamHooksConfig(_OfStreams):
    """Hooks of a TCP or UDP listener, by phase."""


class HooksConfig(_OfGateways):
    """Hooks of all routes and of the gateway, by phase."""


class PluginConfig(Settings):
    """The use of a plugin. Short form: its name."""

    short_forms: ClassVar = ({"type": "string", "examples": ["key-auth", "plugins:KeyAuth"]},)

    plugin: PluginReference = Field(
        description=(
            "The short name of a built-in or installed plugin, such as `key-auth`, or a class as "
            "`module:Class`."
        )
    )
    on: str | None = Field(
        default=None,
        description=(
            "A path pattern, the name of a route, an upstream or a listener, `consumer:NAME` or `group:NAME`; "
            "default: every request."
        ),
    )
    when: Annotated[str, AfterValidator(check_condition)] | None = Field(
        default=None,
        description='A condition on requests, such as `request.method == "POST"`; see the guide on plugins.',
    )
    mode: PluginMode = Field(
        default="enforce",
        description="`report` is a dry run: hooks run, their replies are logged and counted, and nothing is changed.",
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="The plugin's settings; `env:NAME` reads an environment variable."
    )
    isolate: bool = Field(
        default=False,
        description="Whether it runs in a process of its own, which may do nothing but compute; see `isolated`.",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$",
        description="The name in logs; default: from its class, such as `key-auth`.",
    )
    order: int | None = Field(
        default=None,
        description="Plugins run in ascending order of this number, then as listed; default: the plugin's own.",
    )
    deadline: Duration | None = Field(default=None, description="The deadline of each of its hooks.")
    on_error: OnError | None = Field(default=None, description="What happens when one of its hooks fails.")

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"plugin": value} if isinstance(value, str) else value
