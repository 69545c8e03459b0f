"""What of the metrics of a route is its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator

from .errors import ConfigError
from .settings import OneOrMany, Settings
from .units import Duration

MOST_BUCKETS = 64
_SHORTEST = 1e-6


class RouteMetricsConfig(Settings):
    """The metrics of a route."""

    buckets: Annotated[tuple[Duration, ...], OneOrMany()] = Field(
        default=(),
        max_length=MOST_BUCKETS,
        description=(
            "The upper bounds of the buckets of `headgate_request_duration_seconds`, the smallest first, such "
            "as `[5ms, 20ms, 0.1]`; default: 37 of them, from 0.25 ms to 60 s."
        ),
    )

    @field_validator("buckets")
    @classmethod
    def _grow(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Refuses bounds that are not apart, as the engine counts microseconds."""
        if any(later - earlier < _SHORTEST for earlier, later in pairwise((0.0, *value))):
            raise ConfigError(
                "the buckets are not in ascending order",
                hint="give upper bounds above 0, the smallest first: `[5ms, 20ms]`",
            )
        return value

    @property
    def bounds_us(self) -> list[int]:
        """The bounds in microseconds."""
        return [round(bound * 1e6) for bound in self.buckets]
