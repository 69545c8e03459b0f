"""Lets in only requests that fit a JSON Schema or an OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, MediaType, decoded, media_type, parsed_json
from ._openapi import FORM, Document, Operation, Schema, Schemas, read


class RequestValidation(Plugin):
    """Refuses requests whose parameters or bodies do not fit: 400, 404, 405, 415, with the place and the rule in JSON.

    With `openapi` a request is an operation of the document (3.0 or 3.1) or is refused; with `body_schema` every body
    is JSON of that schema. Bodies are read as strict parsers do: UTF-8, no name twice, no NaN, bounded depth; types
    that are not listed are refused. `mode: report` of the use lets all through and logs.
    """

    order = 200

    class Config(BaseModel):
        """Settings of `request-validation`."""

        model_config = ConfigDict(extra="forbid")

        body_schema: dict[str, Any] | None = Field(
            default=None, description="A JSON Schema (2020-12) that every body must fit."
        )
        openapi: str | None = Field(
            default=None, description="A document of OpenAPI 3.0 or 3.1, YAML or JSON."
        )
        unknown_parameters: Literal["pass", "refuse"] = Field(
            default="pass", description="What becomes of query parameters that the document does not name."
        )
        max_body_bytes: int = Field(default=1_048_576, ge=1, description="The most bytes of a body, decoded.")
        max_depth: int = Field(default=64, ge=1, le=500, description="The most levels of a JSON body.")

        @model_validator(mode="after")
        def _one(self) -> RequestValidation.Config:
            if (self.body_schema is None) == (self.openapi is None):
                raise ConfigError("a schema is missing", hint="write `body_schema` or `openapi`, one of them")
            return self

    def setup(self, context: PluginContext) -> None:
        """Compiles the schemas."""
        self._denied = context.counter("denied")
        config = self.config
        self._document = Document(config.openapi) if config.openapi else None
        self._schema = None if config.body_schema is None else Schemas({}).whole(config.body_schema)

    async def request(self, request: Request) -> Response | None:
        """Checks the request."""
        try:
            if self._document is not None:
                return await self._operation(request, self._document)
            return await self._check_body(request, self._schema)
        except BadBody as error:
            return self._refusal(error.status, str(error))

    async def _operation(self, request: Request, document: Document) -> Response | None:
        found = document.find(request.path)
        if found is None:
            return self._refusal(404, "there is no such path")
        operations, params = found
        operation = operations.get(request.method)
        if operation is None:
            reply = self._refusal(405, "the path has no such method")
            reply.headers["allow"] = ", ".join(operations)
            return reply
        if wrong := self._parameters(request, operation, params):
            return wrong
        body = await decoded(request, self.config.max_body_bytes)
        if not body:
            return self._refusal(400, "a body is missing") if operation.needs_body else None
        kind = media_type(request)
        is_taken, schema = operation.body_of(kind.name if kind else "")
        if kind is None or not is_taken:
            return self._refusal(415, "the type of the body is not one of those that are taken")
        return self._check(body, kind, schema, operation.fields)

    def _parameters(self, request: Request, operation: Operation, params: dict[str, str]) -> Response | None:
        query: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            return self._refusal(400, "the query has too many parameters")
        for name, value in pairs:
            query.setdefault(name, []).append(value)
        unknown = next((name for name in query if name not in operation.queries), None)
        if unknown is not None and self.config.unknown_parameters == "refuse":
            return self._refusal(400, "a parameter is not known", f"query/{unknown[:100]}")
        cookies = request.cookies
        for one in operation.parameters:
            values = {
                "query": lambda name: query.get(name, []),
                "path": lambda name: [params[name]] if name in params else [],
                "header": lambda name: request.headers.get_all(name),
                "cookie": lambda name: [cookies[name]] if name in cookies else [],
            }[one.place](one.name)
            if wrong := one.wrong(values):
                return self._refusal(400, f"the parameter {wrong}", f"{one.place}/{one.name}")
        return None

    async def _check_body(self, request: Request, schema: Schema | None) -> Response | None:
        # one without a body is told from its head; a coding of nothing is still looked at
        is_empty = not request.has_body and "content-encoding" not in request.headers
        body = b"" if is_empty else await decoded(request, self.config.max_body_bytes)
        if not body:
            needs_body = request.method in ("POST", "PUT", "PATCH")
            return self._refusal(400, "a body is missing") if needs_body else None
        kind = media_type(request)
        if kind is None or not kind.is_json:
            return self._refusal(415, "the body is not JSON")
        return self._check(body, kind, schema, {})

    def _check(
        self, body: bytes, kind: MediaType, schema: Schema | None, fields: dict[str, Any]
    ) -> Response | None:
        value: Any
        if kind.is_json:
            value = parsed_json(body, depth=self.config.max_depth)
        elif kind.name == FORM:
            value = _form(body, fields)
        else:
            return None  # the document takes the type; there is no schema of its bytes
        wrong = schema.wrong(value) if schema is not None else None
        if wrong is None:
            return None
        return self._refusal(400, f"the body does not fit the rule `{wrong[1]}`", wrong[0] or "/")

    def _refusal(self, status: int, text: str, place: str | None = None) -> Response:
        self._denied.add()
        return Response.json({"error": text, **({} if place is None else {"at": place})}, status)


def _form(body: bytes, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000, strict_parsing=True)
    except ValueError:
        raise BadBody("the body is not a valid form") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise BadBody("the form has a name twice")
    return {name: read(value, fields.get(name, {})) for name, value in pairs}
