"""How the next server of an upstream is chosen."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .errors import ConfigError
from .settings import Settings

Balance = Literal["round_robin", "least_conn", "least_time", "p2c", "random", "ip_hash", "hash", "first"]
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


def _bound(value: float) -> float:
    if 0 < value < 1.01:
        raise ConfigError(
            f"`{value:g}` is not a valid hash_bound", hint="write a factor of 1.01 or more, or 0 for no limit"
        )
    return value


class BalancingConfig(Settings):
    """How the next server of an upstream is chosen."""

    balance: Balance = Field(default="round_robin", description="The load balancing algorithm.")
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
