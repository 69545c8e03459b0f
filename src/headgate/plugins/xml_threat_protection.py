"""Bounds the shape of XML bodies, and lets no document type in."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response

from ._bodies import BadBody, bound, decoded, media_type
from ._xml import parser_of, read_xml


class XmlThreatProtection(Plugin):
    """Refuses XML bodies with a document type (entities that grow, files that are read), and those that are not
    well-formed, too deep, or too large in any part.

    A body is XML if its type says so; with `every_body` all bodies must be, for servers that do not look at the type.
    """

    order = 211

    class Config(BaseModel):
        """Settings of `xml-threat-protection`."""

        model_config = ConfigDict(extra="forbid")

        max_body_bytes: int = Field(default=1_048_576, ge=1, description="The most bytes of a body, decoded.")
        max_depth: int = Field(default=64, ge=1, description="The most levels.")
        max_elements: int = Field(default=50_000, ge=1, description="The most elements.")
        max_attributes: int = Field(default=100, ge=0, description="The most attributes of one element.")
        max_text: int = Field(default=100_000, ge=1, description="The most characters of one text or value.")
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
            if kind is not None and kind.is_xml:
                _Reader(self.config).read(body)
            elif self.config.every_body:
                raise BadBody("the body is not XML", 415)
        except BadBody as error:
            self._denied.add()
            return Response(error.status, f"{error}\n")
        return None


class _Reader:
    def __init__(self, bounds: Any) -> None:
        self._bounds = bounds
        self._depth = self._elements = self._text = 0

    def read(self, body: bytes) -> None:
        """Reads a document; raises `BadBody`."""
        parser = parser_of(self)
        parser.XmlDeclHandler = self._declaration
        read_xml(body, parser)

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            raise BadBody("the encoding is not UTF-8", 415)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        bounds = self._bounds
        self._depth += 1
        self._elements += 1
        self._text = 0
        bound(self._depth, bounds.max_depth, "the body is nested too deep")
        bound(self._elements, bounds.max_elements, "there are too many elements")
        bound(len(attributes), bounds.max_attributes, "an element has too many attributes")
        bound(max(len(name), *map(len, attributes), 0), bounds.max_name, "a name is too long")
        bound(max(map(len, attributes.values()), default=0), bounds.max_text, "a value is too long")

    def end(self, name: str) -> None:
        self._depth -= 1
        self._text = 0

    def characters(self, text: str) -> None:
        self._text += len(text)
        bound(self._text, self._bounds.max_text, "a text is too long")
