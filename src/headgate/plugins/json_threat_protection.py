"""Bounds the shape of JSON bodies, so that no parser behind the gateway is led into trouble."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response

from ._bodies import BadBody, bound, decoded, media_type, parsed_json


class JsonThreatProtection(Plugin):
    """Refuses JSON bodies that are not valid, too deep, too large in any part, or that two parsers could read
    differently (names twice in an object, other encodings than UTF-8, NaN, lone surrogates).

    A body is JSON if its type says so; with `every_body` all bodies must be, for servers that do not look at the type.
    """

    order = 210

    class Config(BaseModel):
        """Settings of `json-threat-protection`."""

        model_config = ConfigDict(extra="forbid")

        max_body_bytes: int = Field(default=1_048_576, ge=1, description="The most bytes of a body, decoded.")
        max_depth: int = Field(default=32, ge=1, le=500, description="The most levels.")
        max_members: int = Field(default=1000, ge=1, description="The most members of one object.")
        max_items: int = Field(default=10_000, ge=1, description="The most items of one array.")
        max_values: int = Field(default=100_000, ge=1, description="The most values in all.")
        max_string: int = Field(default=100_000, ge=1, description="The most characters of one string.")
        max_name: int = Field(default=256, ge=1, description="The most characters of one name.")
        every_body: bool = Field(default=False, description="Whether bodies of other types are refused.")

    def setup(self, context: PluginContext) -> None:
        """Makes the counter."""
        self._denied = context.counter("denied")

    async def request(self, request: Request) -> Response | None:
        """Reads the body."""
        try:
            body = await decoded(request, self.config.max_body_bytes)
            if not body:
                return None
            kind = media_type(request)
            if kind is not None and kind.is_json:
                self._check(parsed_json(body, depth=self.config.max_depth))
            elif self.config.every_body:
                raise BadBody("the body is not JSON", 415)
        except BadBody as error:
            self._denied.add()
            return Response.json({"error": str(error)}, error.status)
        return None

    def _check(self, whole: Any) -> None:
        config, count, pending = self.config, 0, [whole]
        while pending:
            value = pending.pop()
            count += 1
            if isinstance(value, str):
                bound(len(value), config.max_string, "a string is too long")
            elif isinstance(value, list):
                bound(len(value), config.max_items, "an array is too long")
                pending += value
            elif isinstance(value, dict):
                bound(len(value), config.max_members, "an object has too many members")
                bound(max(map(len, value), default=0), config.max_name, "a name is too long")
                pending += value.values()
            bound(count + len(pending), config.max_values, "there are too many values")
