"""Tracing: which requests are recorded, and the collector that gets them."""

import re
from typing import Annotated, Any, ClassVar, TypedDict

from pydantic import BeforeValidator, Field, WithJsonSchema

from .errors import ConfigError
from .settings import Settings
from .units import Duration

_PATH = "/v1/traces"
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


def _ratio(value: Any) -> float:
    share = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    elif isinstance(value, str) and (match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", value.strip())):
        share = float(match[1]) / 100
    if not 0 <= share <= 1:
        raise ConfigError(f"`{value}` is not a share", hint="write `1%`, or a number from 0 to 1")
    return share


def _collector(value: Any) -> str:
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise ConfigError(f"`{value}` is not the URL of a collector", hint="write `http://collector:4318`")
    base = value.rstrip("/").removesuffix(_PATH)
    if base != value.rstrip("/"):
        raise ConfigError(
            f"`{value}` has the path `{_PATH}`, which is added to the URL of a collector",
            hint=f"write `{base}`",
        )
    return value


Ratio = Annotated[
    float,
    BeforeValidator(_ratio),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"},
            ]
        }
    ),
]
"""A share: `1%` or `0.01`."""

CollectorUrl = Annotated[str, BeforeValidator(_collector), WithJsonSchema({"type": "string"})]
"""`http://collector:4318`."""


class TracingConfig(Settings):
    """Traces by OpenTelemetry; the URL alone is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": ["http://collector:4318"]},)

    otlp: CollectorUrl = Field(
        description="The URL of the collector, which gets spans by OTLP over HTTP (Protocol Buffers) at `/v1/traces`."
    )
    sample: Ratio = Field(default=0.01, description="The share of requests that are sampled, such as `1%`.")
    slow: Duration | None = Field(
        default=1.0,
        description=(
            "Requests that take at least this time are always recorded, as are those with 5xx; null: only "
            "the latter."
        ),
    )
    parent_based: bool = Field(
        default=True,
        description=(
            "Follows the sampling decision in a client's `traceparent`, for up to 100 requests per second "
            "and worker."
        ),
    )
    service: str = Field(default="headgate", min_length=1, description="The `service.name` of the spans.")

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"otlp": value} if isinstance(value, str) else value


class TracingOptions(TypedDict, total=False):
    """The keywords of `Gateway.tracing`; see `TracingConfig`."""

    sample: float | str
    slow: float | str | None
    parent_based: bool
    service: str
