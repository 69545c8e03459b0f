"""What clients get when no server of an upstream has served them."""

from typing import Any, Self

from pydantic import Field, model_validator

from .errors import ConfigError
from .routes import RespondConfig
from .settings import Settings
from .units import Duration, Size


class StaleConfig(Settings):
    """Last good responses, which are given when a server cannot serve (`stale-if-error`, RFC 5861). No cache."""

    max_age: Duration = Field(
        default=3600.0,
        description="How old such a response may be; servers may allow less by `Cache-Control: stale-if-error`.",
    )
    max_size: Size = Field(
        default=16 * 1024 * 1024, description="The memory for such responses, in each worker."
    )
    max_body: Size = Field(default=1024 * 1024, description="The greatest body that is kept.")

    @model_validator(mode="after")
    def _holds_one(self) -> Self:
        if self.max_age < 1:
            raise ConfigError("`stale.max_age` is less than 1 s", hint="leave `stale` out to keep nothing")
        if self.max_body > self.max_size:
            raise ConfigError("`stale.max_body` is more than `max_size`", hint="set `max_size` to more")
        return self


class FallbackConfig(Settings):
    """The response of last resort: that of another upstream, the last good one, or a fixed one, in this order."""

    upstream: str | None = Field(
        default=None, description="The upstream that gets the request, if it may be sent again."
    )
    stale: StaleConfig | None = Field(
        default=None,
        description="The last good response to such a request, if it may be used; also in place of a 500, 502, 503 or "
        "504 of a server.",
    )
    respond: RespondConfig | None = Field(
        default=None, description="A fixed response, if there is nothing else, or that fails too."
    )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.upstream is None and self.stale is None and self.respond is None:
            raise ConfigError(
                "`fallback` has no effect without a response", hint="set `upstream`, `stale` or `respond`"
            )
        return self


def fallback_snapshot(fallback: FallbackConfig | None) -> dict[str, Any] | None:
    """The same for the engine."""
    if fallback is None:
        return None
    fixed = fallback.respond
    return {
        "upstream": fallback.upstream,
        "stale": fallback.stale
        and {
            "max_age_s": int(fallback.stale.max_age),
            "max_bytes": fallback.stale.max_size,
            "max_body_bytes": fallback.stale.max_body,
        },
        "respond": fixed
        and {
            "status": fixed.status,
            "headers": [[name.lower(), value] for name, value in fixed.headers.items()],
            "body": fixed.body,
        },
    }
