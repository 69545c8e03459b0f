"""Makes JSON bodies into others by programs of jq."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError

from ._jq import checked, run
from ._json_bodies import JsonBodies
from ._processes import InProcess, computed
from ._texts import text_of


class Program(BaseModel):
    """A program of jq."""

    model_config = ConfigDict(extra="forbid")

    program: str = Field(min_length=1, description="The program, or `file:` and the name of its file.")
    output: Literal["one", "list", "lines"] = Field(
        default="one", description="Its first result, all as a JSON list, or all as lines (NDJSON)."
    )

    @field_validator("program")
    @classmethod
    def _program(cls, program: str) -> str:
        return checked(text_of(program))


class Jq(JsonBodies):
    """Replaces JSON bodies of requests and responses by what a program of [jq](https://jqlang.org) makes of them.

    Programs run in a job process, which is killed past `timeout` or `max_memory_bytes`, so that one without an end
    harms no other request; each body goes there and back. They see no environment, files or modules. Numbers that a
    program does not compute with stay as they were written, as far as jq keeps them. A body that does not fit is a
    400, one that takes too long a 413, of a response a 502. What is not JSON, and an error that does
    not fit, goes on as it is. Needs `pip install 'headgate[plugins]'`.
    """

    order = 512

    class Config(JsonBodies.Config, InProcess):
        """Settings of `jq`."""

        request: Program | None = Field(default=None, description="How bodies of requests change.")
        response: Program | None = Field(default=None, description="How bodies of responses change.")

        @model_validator(mode="after")
        def _something(self) -> Jq.Config:
            if self.request is None and self.response is None:
                raise ConfigError("no body is transformed", hint="write `request` or `response`")
            return self

    async def _replaced(self, which: str, body: bytes) -> bytes:
        config = self.config
        said: Program = getattr(config, which)
        return await computed(
            self._context,
            run,
            said.program,
            body,
            said.output,
            config.max_depth,
            config.max_body_bytes,
            config.timeout,
            config.max_memory_bytes,
        )
