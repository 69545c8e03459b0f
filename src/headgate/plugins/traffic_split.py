"""Shares requests out among upstreams by weight, the same client always to the same one."""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from itertools import accumulate

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request

from ._clients import BY, ClientKeys, checked_by
from ._fields import FieldName


class Part(BaseModel):
    """An upstream and its share."""

    model_config = ConfigDict(extra="forbid")

    upstream: str | None = Field(default=None, description="The upstream's name; null is the route's own.")
    weight: int = Field(default=1, ge=0, le=1_000_000, description="Its share of the sum of all weights.")


class TrafficSplit(Plugin):
    """Sends a part of the requests to other upstreams: canaries, new versions, moves to other servers.

    With `by` a client stays where it is: its part depends on the value and `salt` alone, on all workers and nodes. The
    first part keeps the clients it has while its weight grows and the sum stays. Two uses share clients out
    independently.
    """

    order = 400

    class Config(BaseModel):
        """Settings of `traffic-split`."""

        model_config = ConfigDict(extra="forbid")

        parts: list[Part] = Field(
            min_length=1, description="The upstreams; the part that grows stands first."
        )
        by: str | None = Field(default=None, description=f"Null is at random, request by request. {BY}")
        salt: str | None = Field(
            default=None, description="Another text shares clients out anew; null is the name of the use."
        )
        header: FieldName | None = Field(
            default=None, description="A field that tells the server its part: the upstream's name."
        )

        @field_validator("by")
        @classmethod
        def _by(cls, by: str | None) -> str | None:
            return None if by is None else checked_by(by)

        @model_validator(mode="after")
        def _weights(self) -> TrafficSplit.Config:
            if not sum(part.weight for part in self.parts):
                raise ConfigError("all weights are 0", hint="set the weight of a part")
            return self

    def setup(self, context: PluginContext) -> None:
        """Adds the weights up."""
        self._bounds = list(accumulate(part.weight for part in self.config.parts))
        self._keys = ClientKeys(self.config.by) if self.config.by else None
        self._salt = (context.name if self.config.salt is None else self.config.salt).encode()

    def request(self, request: Request) -> None:
        """Chooses the upstream."""
        part = self.config.parts[bisect_right(self._bounds, self._share(request) * self._bounds[-1])]
        if part.upstream is not None:
            request.upstream = part.upstream
        if self.config.header is not None:
            request.headers[self.config.header] = part.upstream or request.upstream or ""

    def _share(self, request: Request) -> float:
        """A number from 0 to 1, without the 1."""
        if self._keys is None:
            return random.random()
        digest = hashlib.blake2b(self._salt + b"\0" + self._keys.of(request), digest_size=6).digest()
        return int.from_bytes(digest, "big") / (1 << 48)
