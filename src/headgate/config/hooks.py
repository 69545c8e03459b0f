"""Hooks and plugins as a file names them: `module:function`, `module:Class`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from .errors import ConfigError
from .settings import OneOrMany, Settings
from .units import Duration, Size

OnError = Literal["closed", "open"]
"""What happens to the request when a hook raises or is late: a 500, or on as if it were not there."""


def _reference(value: str) -> str:
    module, colon, name = value.rpartition(":")
    if not (colon and module and name):
        raise ConfigError(
            f"`{value}` names no Python object", hint="write `module:name`, such as `hooks:sign`"
        )
    return value


Reference = Annotated[str, AfterValidator(_reference)]
"""`module:name`, where the module lies beside the configuration file or is installed."""


class HookConfig(Settings):
    """One hook; its reference alone is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": ["hooks:sign"]},)

    function: Reference = Field(description="The function, as `module:name`.")
    deadline: Duration | None = Field(
        default=None, description="The longest it may take; none given: the gateway's `hook_deadline`."
    )
    on_error: OnError | None = Field(
        default=None, description="`closed` answers 500, `open` goes on; none given: the gateway's."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"function": value} if isinstance(value, str) else value


BodyMode = Literal["stream", "buffer"]
"""How a hook takes a body: chunk by chunk as it comes, or whole in one call."""


class BodyHookConfig(HookConfig):
    """One hook of a body phase; its reference alone is the short form."""

    mode: BodyMode = Field(
        default="stream",
        description="`stream` gives the body in chunks as they come, `buffer` whole in one call.",
    )
    limit: Size | None = Field(
        default=None,
        ge=1,
        description="The longest body that `buffer` takes, past it 413 or 502; "
        "none given: `limits.max_buffered_body_bytes`.",
    )
    decode: bool = Field(
        default=False,
        description="Whether the hook gets what is under the Content-Encoding (gzip, deflate, br, zstd), which is "
        "then done again.",
    )


Hooks = Annotated[tuple[HookConfig, ...], OneOrMany()]
"""One hook, or several in order."""

BodyHooks = Annotated[tuple[BodyHookConfig, ...], OneOrMany()]
"""One hook of a body phase, or several in order."""


class RouteHooksConfig(Settings):
    """The hooks of one route, by phase."""

    request: Hooks = Field(default=(), description="After the route is chosen; may answer.")
    request_body: BodyHooks = Field(
        default=(), description="While the request's body goes to a server; may change it."
    )
    balance: Hooks = Field(default=(), description="Before each attempt; may pick the server.")
    upstream_request: Hooks = Field(
        default=(), description="Before each attempt goes out; may sign or add headers."
    )
    response: Hooks = Field(
        default=(), description="When a response head is there; may change or replace it."
    )
    response_body: BodyHooks = Field(
        default=(), description="While the response's body goes to the client; may change it."
    )
    websocket_message: Hooks = Field(
        default=(),
        description="For each message of a WebSocket, from either side; may change it. "
        "Without one a WebSocket is carried as it is.",
    )
    error: Hooks = Field(default=(), description="When something failed; may give the answer.")
    log: Hooks = Field(default=(), description="After the last byte.")


class ListenerHooksConfig(Settings):
    """The hooks of one listener, by phase."""

    connect: Hooks = Field(default=(), description="When a connection is accepted; may refuse it.")
    client_hello: Hooks = Field(
        default=(),
        description="When the first TLS message is there (`tls`, `tls_passthrough`); may give the certificate,"
        " or choose the server.",
    )


class StreamHooksConfig(ListenerHooksConfig):
    """The hooks of one listener for bytes or datagrams, by phase."""

    client_data: Hooks = Field(default=(), description="For each chunk or datagram from the client.")
    server_data: Hooks = Field(default=(), description="For each chunk or datagram from the server.")


class HooksConfig(RouteHooksConfig):
    """The hooks of every route, by phase, and those that belong to no route."""

    startup: Hooks = Field(default=(), description="Once when a worker starts.")
    shutdown: Hooks = Field(default=(), description="Once when a worker stops.")
    connect: Hooks = Field(default=(), description="When a connection is accepted; may refuse it.")
    client_hello: Hooks = Field(
        default=(),
        description="When the first TLS message is there (`tls`, `tls_passthrough`); may give the certificate,"
        " or choose the server.",
    )
    rewrite: Hooks = Field(default=(), description="Before routing; may change method, target and headers.")


class PluginConfig(Settings):
    """The use of a plugin; its reference alone is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": ["plugins:KeyAuth"]},)

    plugin: Reference = Field(description="The class, as `module:Class`.")
    on: str | None = Field(
        default=None,
        description="A path pattern, a route's name or an upstream's name; none is every request.",
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="The plugin's settings; `env:NAME` reads a variable."
    )
    deadline: Duration | None = Field(default=None, description="The longest each of its hooks may take.")
    on_error: OnError | None = Field(default=None, description="What happens when one of its hooks fails.")

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"plugin": value} if isinstance(value, str) else value
