"""Certificates that are ordered when the first client asks for their name."""

from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from .errors import ConfigError
from .settings import Settings
from .units import Duration


class OnDemandConfig(Settings):
    """Certificates for names that no route spells out. Short form: the URL that is asked which names are allowed."""

    short_forms: ClassVar = ({"type": "string", "examples": ["http://10.0.0.5:8000/allowed"]},)

    ask: str | None = Field(
        default=None,
        description=(
            "A URL that is asked before each order with `?domain=NAME` added; any status of 2xx allows it. Or "
            "decorate a function with `@gate.acme_ask`."
        ),
    )
    wait: Duration = Field(
        default=8.0,
        gt=0,
        description="How long a handshake waits for the decision and the certificate; the order goes on.",
    )
    max_orders: int = Field(
        default=10,
        ge=1,
        description="New certificates that are ordered per `period`, in all processes of a node.",
    )
    period: Duration = Field(default=60.0, gt=0, description="See `max_orders`.")

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"ask": value} if isinstance(value, str) else value

    @field_validator("ask")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise ConfigError(f"`{value}` is not a valid URL", hint="write `http://10.0.0.5:8000/allowed`")
        return value
