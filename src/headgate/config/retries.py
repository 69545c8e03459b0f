"""What is tried again on another server, and how much."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from .outliers import KINDS, FailureName, statuses
from .settings import OneOrMany, Settings
from .units import Duration, Share, milliseconds, percent


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
    budget: Share | None = Field(
        default=None,
        description="The maximum share of retries among the upstream's requests in flight, over all workers; "
        "three at a time are always allowed.",
    )
    attempt_timeout: Duration | None = Field(
        default=None,
        description="The time limit for the response head of each attempt; idempotent requests are then retried.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return {"attempts": value} if is_number else value


def retry_snapshot(retries: RetriesConfig) -> dict[str, Any] | None:
    """The same for the engine; None if whatever is safe is retried."""
    if retries.model_fields_set <= {"attempts"}:
        return None
    return {
        "kinds": [name for name in retries.on if name in KINDS],
        "statuses": statuses(retries.on),
        "budget_percent": None if retries.budget is None else percent(retries.budget),
        "attempt_timeout": retries.attempt_timeout and milliseconds(retries.attempt_timeout),
    }
