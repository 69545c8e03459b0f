"""How long clients wait for responses, as they say it themselves."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from .field_names import check_settable, check_token
from .settings import Settings
from .units import Duration, milliseconds


class DeadlineConfig(Settings):
    """The time limit of a whole request, taken from its client and passed on to servers."""

    header: Annotated[str, AfterValidator(check_token), AfterValidator(check_settable)] | None = Field(
        default=None,
        description="The request field that says it: milliseconds, or a number with `ms`, `s` or `m`. Servers get the "
        "time left.",
    )
    max: Duration = Field(default=3600.0, description="The maximum, also for `grpc-timeout`.")
    default: Duration | None = Field(
        default=None, description="The time limit of requests that say none; default: none."
    )


def deadline_snapshot(deadline: DeadlineConfig | None) -> dict[str, Any] | None:
    """The same for the engine."""
    if deadline is None:
        return None
    return {
        "header": deadline.header and deadline.header.lower(),
        "max": milliseconds(deadline.max),
        "default": deadline.default and milliseconds(deadline.default),
    }
