"""When a request that waits for its response goes to another server as well."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from .errors import ConfigError
from .retries import RetriesConfig
from .settings import Settings
from .units import milliseconds, parse_duration, percent, shown_duration

USUAL_BUDGET = 20
"""The most retries and hedges at a time, in percent of the requests, where `retries.budget` says nothing."""

_PERCENTILE = re.compile(r"p([1-9][0-9])")


def _delay(value: Any) -> float | str:
    if isinstance(value, str) and _PERCENTILE.fullmatch(value):
        return value
    if isinstance(value, str) and value.startswith("p"):
        raise ConfigError(f"`{value}` is not a percentile", hint="write `p10` to `p99`: `p95`")
    seconds = parse_duration(value)
    if seconds == 0:
        raise ConfigError("`0` is not a valid delay of hedges", hint="write a duration, or `p95`")
    return seconds


HedgeDelay = Annotated[
    float | str,
    BeforeValidator(_delay),
    PlainSerializer(
        lambda delay: delay if isinstance(delay, str) else shown_duration(delay),
        return_type=str,
        when_used="json",
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^(p[1-9][0-9]|\d+(\.\d+)?\s*(ms|s|m|h|d)?)$"},
            ]
        }
    ),
]
"""A duration, or a percentile of the upstream's response times such as `p95`."""


class HedgeConfig(Settings):
    """A request without a response goes to another server as well; the first response wins. Short form: `after`."""

    short_forms: ClassVar = ({"like": "after"},)

    after: HedgeDelay = Field(
        description="How long a request waits for its response head before it goes to another server as well: a "
        "duration, or a percentile of the last 10 to 20 seconds' times, such as `p95`."
    )
    max: int = Field(
        default=1, ge=1, le=3, description="Additional servers of a request, one after each `after`."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"after": value} if isinstance(value, str | int | float) else value


def hedge_snapshot(hedge: HedgeConfig | None, retries: RetriesConfig) -> dict[str, Any] | None:
    """The same for the engine."""
    if hedge is None:
        return None
    is_percentile = isinstance(hedge.after, str)
    return {
        "after": None if isinstance(hedge.after, str) else milliseconds(hedge.after),
        "percentile": int(str(hedge.after)[1:]) if is_percentile else None,
        "max": hedge.max,
        "budget_percent": USUAL_BUDGET if retries.budget is None else percent(retries.budget),
    }
