"""The bandwidth that requests of a route may use."""

from typing import Annotated, Any, Literal, Self, TypedDict

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from .errors import ConfigError
from .settings import Settings
from .units import parse_size

LEAST_RATE = 1024
"""Bytes a second: below it, time limits would end transfers."""


def parse_rate(value: Any) -> int:
    """Bytes a second from `65536`, `"64k/s"` or `"1MB/s"`; the units are powers of 1024."""
    text = value.strip().removesuffix("/s") if isinstance(value, str) else value
    try:
        rate = parse_size(text)
    except ConfigError:
        raise ConfigError(f"`{value}` is not a rate", hint="write bytes a second: `64k/s`, `1MB/s`") from None
    if rate < LEAST_RATE:
        raise ConfigError(f"`{value}` is too slow for a rate", hint="write `1k/s` or more")
    return rate


Rate = Annotated[
    int,
    BeforeValidator(parse_rate),
    PlainSerializer(lambda rate: f"{rate}/s", return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": LEAST_RATE},
                {"type": "string", "pattern": r"^\d+\s*[kKmMgG]?([iI]?[bB])?(/s)?$"},
            ]
        }
    ),
]
"""Bytes a second."""


class BandwidthConfig(Settings):
    """A limit of bandwidth."""

    down: Rate | None = Field(
        default=None,
        description="The maximum rate of responses, heads included: `1MB/s`, `64k/s`; null: no limit.",
    )
    up: Rate | None = Field(default=None, description="The maximum rate of request bodies; null: no limit.")
    per: Literal["request", "connection", "client", "route"] = Field(
        default="request",
        description="Who shares it: each `request` has it for itself, or all requests of a `connection`, of a `client` "
        "(by its address) on this route, or of the `route`, over all workers.",
    )

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.down is None and self.up is None:
            raise ConfigError("`bandwidth` has no effect without a rate", hint="set `down` or `up`: `1MB/s`")
        return self


class BandwidthOptions(TypedDict, total=False):
    """`bandwidth` of `Gateway.route`; see `BandwidthConfig`."""

    down: int | str
    up: int | str
    per: Literal["request", "connection", "client", "route"]


def bandwidth_snapshot(limits: tuple[BandwidthConfig, ...]) -> list[dict[str, Any]]:
    """The same for the engine."""
    return [{"down": limit.down, "up": limit.up, "per": limit.per} for limit in limits]
