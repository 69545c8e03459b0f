"""What clients get when no server of an upstream has served them."""

from typing import Any, Self

from pydantic import Field, model_validator

from .errors import ConfigError
from .routes import RespondConfig
from .settings import Settings


class FallbackConfig(Settings):
    """The response of last resort: that of another upstream, or a fixed one."""

    upstream: str | None = Field(
        default=None, description="The upstream that gets the request, if it may be sent again."
    )
    respond: RespondConfig | None = Field(
        default=None, description="A fixed response, if there is no `upstream`, or that fails too."
    )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.upstream is None and self.respond is None:
            raise ConfigError(
                "`fallback` has no effect without a response", hint="set `upstream` or `respond`"
            )
        return self


def fallback_snapshot(fallback: FallbackConfig | None) -> dict[str, Any] | None:
    """The same for the engine."""
    if fallback is None:
        return None
    fixed = fallback.respond
    return {
        "upstream": fallback.upstream,
        "respond": fixed
        and {
            "status": fixed.status,
            "headers": [[name.lower(), value] for name, value in fixed.headers.items()],
            "body": fixed.body,
        },
    }
