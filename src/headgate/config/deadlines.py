"""How long clients wait for responses, as they say it themselves."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from .errors import ConfigError
from .field_names import check_settable, check_token
from .settings import Settings
from .units import Duration, milliseconds


def _header(name: str) -> str:
    if name.lower() == "host":
        raise ConfigError(
            "`host` names the server that a request is for", hint="write a field such as `x-deadline`"
        )
    return check_settable(check_token(name))


class DeadlineConfig(Settings):
    """The time limit of a whole request, taken from its client and passed on to servers."""

    header: Annotated[str, AfterValidator(_header)] | None = Field(
        default=None,
        description="The request field that says it: milliseconds, or a number with `ms`, `s` or `m`. Servers get the "
        "time left.",
    )
    max: Duration = Field(default=3600.0, description="The maximum, also for `grpc-timeout`.")
    default: Duration | None = Field(
        default=None, description="The time limit of requests that say none; default: none."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.default is not None and self.default > self.max:
            raise ConfigError(
                "`default` is longer than `max`, which is the maximum", hint="set `max` to that, or more"
            )
        return self


def deadline_snapshot(deadline: DeadlineConfig | None) -> dict[str, Any] | None:
    """The same for the engine."""
    if deadline is None:
        return None
    return {
        "header": deadline.header and deadline.header.lower(),
        "max": milliseconds(deadline.max),
        "default": deadline.default and milliseconds(deadline.default),
    }
