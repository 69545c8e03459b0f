"""Metrics: whether requests are counted by route, upstream and server, and where that is read or sent."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypedDict

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator

from .errors import ConfigError
from .listeners import ListenAddress
from .settings import Settings
from .units import Duration

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST_AND_PORT = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?):([0-9]{1,5})"
)
_PREFIX = re.compile(r"[A-Za-z0-9_.-]*")


def _server(value: str) -> str:
    found = _HOST_AND_PORT.fullmatch(value)
    if not found or not 0 < int(found[2]) < 1 << 16 or not _is_host(found[1]):
        raise ConfigError(f"`{value}` is not the address of a StatsD server", hint="write `127.0.0.1:8125`")
    return value


def _is_host(ip: str | None) -> bool:
    """Whether what stands in brackets, if anything does, is an address."""
    try:
        return ip is None or ipaddress.IPv6Address(ip) is not None
    except ValueError:
        return False


def _prefix(value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise ConfigError(f"`{value}` is not a valid prefix", hint="use letters, digits, `.`, `_` and `-`")
    return value


class StatsdConfig(Settings):
    """A StatsD server that numbers are sent to over UDP; the address alone is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": ["127.0.0.1:8125"]},)

    to: Annotated[str, AfterValidator(_server), WithJsonSchema({"type": "string"})] = Field(
        description="Host and port of the server; a name is looked up before each interval's datagrams."
    )
    interval: Duration = Field(default=10.0, description="How often it gets what has been counted since.")
    tags: bool = Field(
        default=True,
        description="Labels are sent as tags, as DogStatsD has them; false: their values are parts of the names.",
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="", description="What names begin with, such as `site1.`."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"to": value} if isinstance(value, str) else value

    @field_validator("interval")
    @classmethod
    def _is_long(cls, value: float) -> float:
        if value < 0.1:
            raise ConfigError("the interval is too short", hint="write `100ms` or more; `10s` is usual")
        return value


class MetricsOptions(TypedDict, total=False):
    """The keywords of `Gateway.metrics`; see `MetricsConfig`."""

    statsd: str | Mapping[str, Any]


class MetricsConfig(Settings):
    """Metrics for Prometheus and its like; `true` only counts, an address is `listen`."""

    short_forms: ClassVar = ({"type": "boolean"}, {"type": "string", "examples": ["127.0.0.1:9145"]})

    listen: ListenAddress | None = Field(
        default=None,
        description=(
            "The address that serves `/metrics`, `/livez` and `/readyz` over plain HTTP; null: metrics "
            "are only counted."
        ),
    )
    statsd: StatsdConfig | None = Field(
        default=None, description="A StatsD server that gets the same numbers; null: none does."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        if value is True:
            return {}
        return {"listen": value} if isinstance(value, str) else value
