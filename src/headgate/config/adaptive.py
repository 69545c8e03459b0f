"""A limit of concurrent requests that adapts to how long they take."""

from typing import Any, Self

from pydantic import Field, model_validator

from .errors import ConfigError
from .settings import Settings
from .units import MAX_COUNT


class AdaptiveLimitConfig(Settings):
    """Concurrent requests to all servers together, found by how long they take."""

    min: int = Field(default=3, ge=1, le=MAX_COUNT, description="The lowest limit.")
    max: int = Field(default=1000, ge=1, le=1_000_000, description="The highest limit.")
    initial: int = Field(
        default=20, ge=1, le=MAX_COUNT, description="The limit before anything was measured."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.min <= self.initial <= self.max:
            raise ConfigError(
                f"`initial` ({self.initial}) is not between `min` ({self.min}) and `max` ({self.max})",
                hint="choose `min` <= `initial` <= `max`",
            )
        return self


def adaptive_snapshot(limit: AdaptiveLimitConfig | None) -> dict[str, Any] | None:
    """The same for the engine."""
    return None if limit is None else limit.model_dump()
