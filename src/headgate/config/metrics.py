"""Metrics: whether requests are counted by route, upstream and server, and where scrapers read it."""

from typing import Any, ClassVar

from pydantic import Field

from .listeners import ListenAddress
from .settings import Settings


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

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        if value is True:
            return {}
        return {"listen": value} if isinstance(value, str) else value
