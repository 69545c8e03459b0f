"""Changes members of JSON bodies: JSON Patch and JSON Merge Patch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, PluginContext

from ._bodies import parsed_json
from ._json_bodies import JsonBodies
from ._json_patch import Patching, TestFailed, merged, operations
from ._numbers import to_json

MOST_OPERATIONS = 200


class Patch(BaseModel):
    """A change of a body; `patch` first, where both are given."""

    model_config = ConfigDict(extra="forbid")

    patch: list[dict[str, Any]] = Field(
        default=[], max_length=MOST_OPERATIONS, description="Operations of a JSON Patch (RFC 6902)."
    )
    merge: dict[str, Any] | None = Field(
        default=None, description="A JSON Merge Patch (RFC 7396): members and new values, null removes one."
    )
    failed_test: Literal["refuse", "pass"] = Field(
        default="refuse",
        description="What becomes of a body for which a `test` fails: refused, or passed on as it was.",
    )

    @field_validator("patch")
    @classmethod
    def _patch(cls, patch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        operations(patch)
        return patch

    @model_validator(mode="after")
    def _something(self) -> Patch:
        if not self.patch and self.merge is None:
            raise ConfigError("nothing is changed", hint="write `patch` or `merge`")
        return self


class JsonPatch(JsonBodies):
    """Changes members of JSON bodies, of requests before they go on and of responses before they are sent: by JSON
    Patch (RFC 6902), all operations or none, or by JSON Merge Patch (RFC 7396).

    Numbers stay as they were written. A body to which a patch does not apply is a 400, of a response a 502. What is
    not JSON goes on as it is.
    """

    order = 511

    class Config(JsonBodies.Config):
        """Settings of `json-patch`."""

        request: Patch | None = Field(default=None, description="How bodies of requests change.")
        response: Patch | None = Field(default=None, description="How bodies of responses change.")

        @model_validator(mode="after")
        def _something(self) -> JsonPatch.Config:
            if self.request is None and self.response is None:
                raise ConfigError("no body is changed", hint="write `request` or `response`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Reads the patches."""
        super().setup(context)
        said = {"request": self.config.request, "response": self.config.response}
        self._steps = {which: operations(one.patch) for which, one in said.items() if one is not None}

    async def _replaced(self, which: str, body: bytes) -> bytes:
        config = self.config
        said: Patch = getattr(config, which)
        value = parsed_json(body, depth=config.max_depth, keeps_numbers=True, computes=True)
        try:
            value = Patching(value, config.max_body_bytes).patched(self._steps[which])
        except TestFailed:
            if said.failed_test == "refuse":
                raise
            return body
        if said.merge is not None:
            value = merged(value, said.merge)
        return to_json(value).encode("utf-8", "replace")
