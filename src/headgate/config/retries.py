"""What is tried again on another server, and how much."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from .errors import ConfigError
from .outliers import KINDS, FailureName, statuses
from .patterns import check_method
from .settings import OneOrMany, Settings
from .units import Duration, Share, milliseconds, percent


class BackoffConfig(Settings):
    """The pauses before further attempts, each by chance between nothing and a bound ("full jitter")."""

    base: Duration = Field(
        default=0.025, description="The bound before the first retry; it doubles with each."
    )
    max: Duration = Field(
        default=0.25,
        description="The greatest bound. A `Retry-After` of a response is waited for, if it is not longer.",
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if not 0.001 <= self.base <= self.max:
            raise ConfigError(
                "`backoff.base` must be at least 1 ms, and at most `max`",
                hint="such as `base: 25ms` and `max: 250ms`",
            )
        return self


class RetriesConfig(Settings):
    """What is tried again on another server, and how much; a number of attempts is the short form."""

    short_forms: ClassVar = ({"type": "integer", "minimum": 0, "maximum": 16},)

    attempts: int = Field(
        default=1, ge=0, le=16, description="Additional attempts on other servers, if a retry is safe."
    )
    on: Annotated[tuple[FailureName, ...], OneOrMany()] = Field(
        default=("connect", "timeout", "reset"),
        description="What is retried, if it is safe: `connect`, `timeout`, `reset`, statuses such as `503`, or `5xx`.",
    )
    methods: Annotated[tuple[Annotated[str, AfterValidator(check_method)], ...], OneOrMany()] | None = Field(
        default=None,
        description="The methods of requests that may be sent twice, such as `[GET, HEAD]`; default: those that are "
        "idempotent.",
    )
    budget: Share | None = Field(
        default=None,
        description="The maximum share of retries among the upstream's requests in flight, over all workers; "
        "three at a time are always allowed.",
    )
    attempt_timeout: Duration | None = Field(
        default=None,
        description="The time limit for the response head of each attempt; idempotent requests are then retried.",
    )
    backoff: BackoffConfig | None = Field(
        default=None,
        description="A pause before each further attempt, after which a server may be asked again if there is no "
        "other; default: none.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return {"attempts": value} if is_number else value

    @model_validator(mode="after")
    def _pauses(self) -> Self:
        if self.backoff and not self.attempts:
            raise ConfigError("`retries.backoff` has no effect with `attempts: 0`", hint="remove one of them")
        return self


def retry_snapshot(retries: RetriesConfig) -> dict[str, Any] | None:
    """The same for the engine; None if whatever is safe is retried."""
    if retries.model_fields_set <= {"attempts"}:
        return None
    return {
        "kinds": [name for name in retries.on if name in KINDS],
        "statuses": statuses(retries.on),
        "methods": None if retries.methods is None else list(retries.methods),
        "budget_percent": None if retries.budget is None else percent(retries.budget),
        "attempt_timeout": retries.attempt_timeout and milliseconds(retries.attempt_timeout),
        "backoff": retries.backoff
        and {"base": milliseconds(retries.backoff.base), "max": milliseconds(retries.backoff.max)},
    }
