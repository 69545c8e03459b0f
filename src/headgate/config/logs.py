"""The access log, a line for each request, and the error log, what went wrong."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from .errors import ConfigError, suggestion
from .settings import OneOrMany, Settings
from .units import Duration, Size

_SINK = re.compile(r"stdout|stderr|file:.+|syslog:(/.+|(udp|tcp)://.+:[0-9]+)")


def _sink(value: str) -> str:
    if not _SINK.fullmatch(value):
        raise ConfigError(
            f"`{value}` is not a valid log destination",
            hint="write `stdout`, `stderr`, `file:/var/log/x.log`, `syslog:/dev/log` or `syslog:udp://host:514`",
        )
    return value


def _format(value: str) -> str:
    if value not in ("json", "combined") and "{" not in value:
        raise ConfigError(
            f"`{value}` is not a valid log format", hint=suggestion(value, ("json", "combined"))
        )
    return value


Sink = Annotated[str, AfterValidator(_sink)]
"""Where a log goes."""


_SECRET_PATH = re.compile(r"(?=.*(?:/\{[^/{}]*\}|/\*$))(?:/[^/{}*]+|/\{[^/{}]*\})*(?:/\*)?")


def check_secret_path(path: str) -> str:
    """The path; raises `ConfigError` if it says of no segment that it is a secret."""
    if not _SECRET_PATH.fullmatch(path):
        raise ConfigError(
            f"`{path}` says of no segment that it is a secret",
            hint="write `/reset/{token}`, or `/unsubscribe/*` for all that follow",
        )
    return path


SecretPath = Annotated[str, AfterValidator(check_secret_path)]
"""A path of which segments are secrets."""

MASKED_QUERY = (
    "access_token",
    "api_key",
    "apikey",
    "client_secret",
    "id_token",
    "key",
    "password",
    "refresh_token",
    "secret",
    "token",
)
"""Query parameters that hold secrets by custom."""


class AccessLogConfig(Settings):
    """The access log. Short form: `true` for the defaults, or its format."""

    short_forms: ClassVar = ({"type": "boolean"}, {"type": "string"})

    format: Annotated[str, AfterValidator(_format)] = Field(
        default="json",
        description="`json`, `combined`, or a text with field names in braces: `{client} {status}`.",
    )
    to: Sink = Field(
        default="stdout",
        description="`stdout`, `stderr`, `file:/path`, `syslog:/dev/log`, `syslog:udp://host:port`.",
    )
    mask_query: Annotated[tuple[str, ...], OneOrMany()] = Field(
        default=MASKED_QUERY,
        description="Query parameters whose values are masked in targets and referers, in any case of letters; those of"
        " plugins that take secrets from the query always are. Traces and archives of exchanges mask them as well.",
    )
    mask_paths: Annotated[tuple[SecretPath, ...], OneOrMany()] = Field(
        default=(),
        description="Paths whose segments are masked there as well: those in braces, `/reset/{token}`, or all that"
        " follow, `/unsubscribe/*`; with any path, segments that are addresses of mail or JWT are too.",
    )
    flush: Duration = Field(default=1.0, description="The maximum time that a line is buffered.")
    buffer_bytes: Size = Field(
        default=65536, ge=1024, description="Bytes of lines that are buffered before they are written."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        if value is True:
            return {}
        return {"format": value} if isinstance(value, str) else value


class ErrorLogConfig(Settings):
    """The error log: structured records of problems."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The minimum level of what is logged."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` for programs."
    )
    to: Sink = Field(default="stderr", description="`stderr`, `stdout`, `file:/path` or `syslog:...`.")
