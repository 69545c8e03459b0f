"""How the next server of an upstream is chosen."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from .errors import ConfigError
from .secrets import Secret
from .settings import Settings
from .units import Duration

Choice = Literal["round_robin", "least_conn", "least_time", "p2c", "random", "ip_hash", "hash", "first"]
"""How a server is chosen for a request of its own."""

Balance = Literal[Choice, "sticky", "pull"]
"""How the next server is chosen."""

HashAlgorithm = Literal["ring", "rendezvous", "maglev"]
"""How keys are spread over servers."""

_HASH_ON = re.compile(r"source|uri|(?:header|query|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _hash_on(value: str) -> str:
    if _HASH_ON.fullmatch(value) is None:
        raise ConfigError(
            f"`{value}` is not a valid hash_on",
            hint="one of `source`, `uri`, `header:NAME`, `cookie:NAME`, `query:NAME`",
        )
    return value


_PREFIX = re.compile(r"__(host|secure)-", re.IGNORECASE)
"""Names that browsers keep only with certain attributes (RFC 6265bis section 4.1.3)."""


def _signing(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < 32:
        raise ConfigError(
            "the secret of sticky sessions has fewer than 32 characters",
            hint="make one: `openssl rand -hex 32`",
        )
    return secret


def _bound(value: float) -> float:
    if 0 < value < 1.01:
        raise ConfigError(
            f"`{value:g}` is not a valid hash_bound", hint="write a factor of 1.01 or more, or 0 for no limit"
        )
    return value


class StickyConfig(Settings):
    """Sticky sessions: a signed cookie names the server that a client's requests go to."""

    cookie: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")] = Field(
        default="headgate_server", description="The name of the cookie."
    )
    ttl: Duration = Field(
        default=86400.0,
        ge=1,
        le=400 * 86400.0,
        description="How long a cookie is valid, at most 400 d; it is renewed when less than half of that is left.",
    )
    secret: Annotated[Secret, AfterValidator(_signing)] | None = Field(
        default=None,
        description=(
            "What cookies are signed with, 32 characters or more, as `env:NAME` or `file:/path`; null: a secret "
            "that the gateway makes when it starts, and that reloads and upgrades keep."
        ),
    )
    balance: Choice = Field(default="round_robin", description="How the first server of a client is chosen.")
    path: Annotated[str, Field(pattern=r"^/[\x21-\x3a\x3c-\x7e]*$")] = Field(
        default="/", description="The cookie's Path."
    )
    secure: Literal["auto"] | bool = Field(
        default="auto",
        description="Whether the cookie is Secure; `auto`: if the client uses TLS (with a trusted proxy, if any).",
    )
    httponly: bool = Field(default=True, description="Whether scripts of pages cannot see the cookie.")
    samesite: Literal["lax", "strict", "none"] | None = Field(
        default="lax", description="The cookie's SameSite; null: none is sent."
    )

    @model_validator(mode="after")
    def _is_kept_by_browsers(self) -> StickyConfig:
        if self.samesite == "none" and self.secure is False:
            raise ConfigError(
                "browsers drop cookies with `samesite: none` that are not `secure`", hint="set `secure: true`"
            )
        prefix = _PREFIX.match(self.cookie)
        if prefix and (self.secure is not True or (prefix[1].lower() == "host" and self.path != "/")):
            raise ConfigError(
                f"browsers drop a cookie `{self.cookie}` without what its name promises",
                hint="set `secure: true`, and for `__Host-` `path: /`",
            )
        return self


class BalancingConfig(Settings):
    """How the next server of an upstream is chosen."""

    balance: Balance = Field(
        default="round_robin",
        description=(
            "The load balancing algorithm; with `sticky`, clients stay with their server by a cookie; with `pull`, "
            "workers connect, and take a request when they are idle."
        ),
    )
    sticky: StickyConfig | None = Field(
        default=None, description="The cookie of `balance: sticky`; default: the defaults of its settings."
    )
    hash_on: Annotated[str, AfterValidator(_hash_on)] = Field(
        default="source",
        description=(
            "The key of `hash`: `source` (the client's address), `uri` (path and query), `header:NAME`, "
            "`cookie:NAME` or `query:NAME`. A request without it goes to a random server."
        ),
    )
    hash_algorithm: HashAlgorithm = Field(
        default="ring", description="The hash algorithm: `ring`, `rendezvous` or `maglev`."
    )
    hash_bound: Annotated[float, AfterValidator(_bound)] = Field(
        default=1.25,
        ge=0,
        le=1000,
        description=(
            "For `hash`: the maximum load of a server, relative to its share of the requests in flight; "
            "further requests go to the key's next server. 0 means no limit."
        ),
    )

    @model_validator(mode="after")
    def _sticks(self) -> Self:
        if self.sticky is not None and self.balance != "sticky":
            raise ConfigError(
                f"`sticky` has no effect with `balance: {self.balance}`",
                hint=f"write `balance: sticky`, and in `sticky` `balance: {self.balance}`",
            )
        return self


def balancing_snapshot(balancing: BalancingConfig) -> dict[str, Any]:
    """The same for the engine."""
    told: dict[str, Any] = {
        # all requests go to the dispatcher
        "balance": "first" if balancing.balance == "pull" else balancing.balance,
        "hash_on": balancing.hash_on,
        "hash_algorithm": balancing.hash_algorithm,
        "hash_bound_percent": round(balancing.hash_bound * 100),
    }
    if balancing.balance != "sticky":
        return told
    sticky = balancing.sticky or StickyConfig()
    attributes = f"; Path={sticky.path}"
    if sticky.httponly:
        attributes += "; HttpOnly"
    if sticky.samesite is not None:
        attributes += f"; SameSite={sticky.samesite.capitalize()}"
    return {
        **told,
        "balance": sticky.balance,
        "sticky": {
            "cookie": sticky.cookie,
            "ttl": round(sticky.ttl),
            "secret": sticky.secret and sticky.secret.get_secret_value(),
            "attributes": attributes,
            "secure": None if sticky.secure == "auto" else sticky.secure,
        },
    }
