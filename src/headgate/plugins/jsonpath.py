"""Makes JSON bodies into what queries of JSONPath find in them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError

from ._json_bodies import JsonBodies
from ._jsonpath import checked, run
from ._processes import InProcess, computed


class Selection(BaseModel):
    """What is taken out of a body."""

    model_config = ConfigDict(extra="forbid")

    query: str | None = Field(default=None, description="A query: `$.items[?@.price < 10].name`.")
    output: Literal["list", "first"] = Field(
        default="list", description="Of `query`: all that it finds as a list, or the first (else null)."
    )
    members: dict[str, str] = Field(
        default={}, description="Names and queries, of an object of the first that each finds (else null)."
    )

    @field_validator("query")
    @classmethod
    def _query(cls, query: str | None) -> str | None:
        return None if query is None else checked(query)

    @field_validator("members")
    @classmethod
    def _members(cls, members: dict[str, str]) -> dict[str, str]:
        return {name: checked(query) for name, query in members.items()}

    @model_validator(mode="after")
    def _one(self) -> Selection:
        if (self.query is None) == (not self.members):
            raise ConfigError("a query is missing", hint="write `query` or `members`, one of them")
        return self


class Jsonpath(JsonBodies):
    """Replaces JSON bodies of requests and responses by what queries of JSONPath (RFC 9535) find in them.

    Queries run in a job process, which is killed past `timeout` or `max_memory_bytes`: filters below filters and
    patterns can take very long. Numbers stay as they were written. A body that does not fit is a 400, one that takes
    too long a 413, of a response a 502. What is not JSON, and an error that does not fit, goes on as
    it is. Needs `pip install 'headgate[plugins]'`.
    """

    order = 513

    class Config(JsonBodies.Config, InProcess):
        """Settings of `jsonpath`."""

        request: Selection | None = Field(default=None, description="What is taken out of requests.")
        response: Selection | None = Field(default=None, description="What is taken out of responses.")

        @model_validator(mode="after")
        def _something(self) -> Jsonpath.Config:
            if self.request is None and self.response is None:
                raise ConfigError("no body is transformed", hint="write `request` or `response`")
            return self

    async def _replaced(self, which: str, body: bytes) -> bytes:
        config = self.config
        said: Selection = getattr(config, which)
        return await computed(
            self._context,
            run,
            said.query if said.query is not None else said.members,
            said.output == "first",
            body,
            config.max_depth,
            config.max_body_bytes,
            config.timeout,
            config.max_memory_bytes,
        )
