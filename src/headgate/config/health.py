"""Active health checks: what is asked of each server of an upstream, how often, and what counts as well."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .errors import ConfigError
from .field_names import TOKEN, check_settable, check_token
from .outliers import statuses
from .settings import OneOrMany, Settings
from .units import Duration, milliseconds

HealthType = Literal["http", "grpc", "tcp", "tls", "redis", "postgres", "mysql", "python"]
"""What a check speaks with a server."""

OF_HTTP = ("path", "method", "host", "headers", "status", "body", "response_headers", "weight_header")
_OF_TYPE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(OF_HTTP, ("http",)),
    "service": ("grpc",),
    "send": ("tcp", "tls"),
    "expect": ("tcp", "tls"),
    "user": ("postgres", "mysql"),
    "function": ("python",),
}
"""The settings that only some types have."""

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_STATUS = re.compile(r"[1-5][0-9][0-9]|[1-5]xx")


def _status(value: str) -> str:
    if _STATUS.fullmatch(value) is None:
        raise ConfigError(f"`{value}` is not a status", hint="write a status such as `200`, or `2xx`")
    return value


def _function(value: str) -> str:
    if _FUNCTION.fullmatch(value) is None:
        raise ConfigError(f"`{value}` is not a function", hint="write `module:function`")
    return value


def _fields(fields: dict[str, str]) -> dict[str, str]:
    for name, value in fields.items():
        if TOKEN.fullmatch(name) is None or re.search(r"[\r\n\0]", value):
            raise ConfigError(f"`{name}: {value}` is not a header field")
    return fields


def _sent(fields: dict[str, str]) -> dict[str, str]:
    for name in _fields(fields):
        check_settable(name)
    return fields


StatusName = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    AfterValidator(_status),
    WithJsonSchema({"type": ["string", "integer"], "examples": [200, "2xx"]}),
]
"""A status, or all of a class: `2xx`."""

FieldValues = Annotated[dict[str, str], AfterValidator(_fields)]


class HealthConfig(Settings):
    """Active health checks of an upstream's servers. Short form: the path."""

    short_forms: ClassVar = ({"type": "string", "examples": ["/healthz"]},)

    type: HealthType = Field(
        default="http",
        description="The protocol of the check. `http` and `grpc` use TLS for `https://` servers, and `http` "
        "speaks the upstream's `protocol`; `redis`: PING; `postgres`, `mysql`: the handshake; `python`: a function.",
    )
    path: str = Field(
        default="/", pattern=r"^/[\x21-\x7e]*$", description="`http`: the path, with a query if needed."
    )
    method: Literal["GET", "HEAD", "OPTIONS"] = Field(default="GET", description="`http`: the method.")
    host: str | None = Field(
        default=None,
        pattern=r"^[\x21-\x7e]+$",
        description="`http`: the Host field; default: as in requests, or the server's address if clients decide it.",
    )
    headers: Annotated[dict[str, str], AfterValidator(_sent)] = Field(
        default_factory=dict, description="`http`: further header fields."
    )
    status: Annotated[tuple[StatusName, ...], OneOrMany()] = Field(
        default=("2xx", "3xx"), min_length=1, description="`http`: the statuses of a healthy server."
    )
    body: str | None = Field(
        default=None,
        min_length=1,
        description="`http`: text that the response's body contains, within its first 64 KiB.",
    )
    response_headers: FieldValues = Field(
        default_factory=dict, description="`http`: header fields that the response has, with these values."
    )
    weight_header: Annotated[str, AfterValidator(check_token)] | None = Field(
        default=None,
        description="`http`: the response field with the percentage of its weight that the server wants now, from `0` "
        "to `100`, such as `60%`; without it the last one holds. Default: servers have their whole weight.",
    )
    service: str = Field(
        default="", pattern=r"^[\x21-\x7e]*$", description="`grpc`: the service that is asked for."
    )
    send: str | None = Field(default=None, description="`tcp`, `tls`: what is sent first.")
    expect: str | None = Field(
        default=None,
        min_length=1,
        description="`tcp`, `tls`: text that the response contains; default: a connection is enough.",
    )
    user: str = Field(
        default="headgate",
        pattern=r"^[\x21-\x7e]{1,32}$",
        description="`postgres`, `mysql`: the user name that is sent; it need not exist.",
    )
    function: Annotated[str, AfterValidator(_function)] | None = Field(
        default=None,
        description="`python`: `module:function`, called with the server's address. The server is healthy unless it "
        "raises or returns False.",
    )
    interval: Duration = Field(
        default=5.0, ge=0.1, description="The time between two checks of a server; it varies by 10 %."
    )
    timeout: Duration = Field(
        default=1.0,
        description="The time limit for a check, from connecting to its last byte; at most `interval`.",
    )
    rise: int = Field(
        default=2, ge=1, le=100, description="Consecutive successes after which a server is back in rotation."
    )
    fall: int = Field(
        default=3, ge=1, le=100, description="Consecutive failures after which a server is out of rotation."
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="The port to check; default: the server's."
    )
    address: str | None = Field(
        default=None,
        pattern=r"^[^\s:/]+$|^\[[0-9a-fA-F:.]+\]$",
        description="The host to check in place of the server's own, such as one that speaks for it.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> HealthConfig:
        for name in self.model_fields_set & _OF_TYPE.keys():
            if self.type not in _OF_TYPE[name]:
                types = " and ".join(f"`{one}`" for one in _OF_TYPE[name])
                raise ConfigError(
                    f"`{name}` has no effect with `type: {self.type}`", hint=f"it is for {types}"
                )
        if self.type == "python" and self.function is None:
            raise ConfigError("a check of type `python` needs a `function`", hint="write `module:function`")
        if "timeout" in self.model_fields_set and self.timeout > self.interval:
            raise ConfigError(
                f"the timeout of {self.timeout:g} s is longer than the interval of {self.interval:g} s"
            )
        return self


def health_plan(health: HealthConfig) -> dict[str, Any]:
    """The same for the process that checks; times are milliseconds."""
    return {
        **health.model_dump(exclude={"status", "interval", "timeout"}),
        "statuses": [list(pair) for pair in statuses(health.status)],
        "interval": milliseconds(health.interval),
        "timeout": milliseconds(min(health.timeout, health.interval)),
    }
