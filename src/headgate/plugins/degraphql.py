"""Lets clients of REST ask a GraphQL server: a route is a query that stands in the configuration."""

from __future__ import annotations

import importlib
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import (
    ConfigError,
    Expression,
    Plugin,
    PluginContext,
    Request,
    Response,
    ResponseView,
    body_mode,
)

from ._bodies import BadBody, decoded, media_type, parsed_json
from ._numbers import Number, to_json
from ._texts import text_of

INTEGER = re.compile(r"-?[0-9]{1,10}")
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,300})(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")
MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class Degraphql(Plugin):
    """Makes each request a POST of one GraphQL operation, whose variables come from the path's parameters, the query
    and members of a JSON body, in this order, by their names; use it `on` one route for each operation.

    Texts become what the operation declares: `Int`, `Float`, `Boolean`, lists of them; of other types (enums, inputs)
    the query gives texts, the body JSON. A value that does not fit, or a required one that is missing, is a 400 that
    names it. Clients choose no part of the operation. With `unwrap`, the response is one member of the result: null
    is a 404, and errors without a result are a 502. Needs `pip install 'headgate[plugins]'`.
    """

    order = 455

    class Config(BaseModel):
        """Settings of `degraphql`."""

        model_config = ConfigDict(extra="forbid")

        operation: str = Field(description="A query or mutation, or `file:` and the name of its file.")
        path: str = Field(default="/graphql", description="The path of the GraphQL server.")
        fixed: dict[str, Any] = Field(
            default={},
            description="Variables that no client says; a text that begins with `=` is an expression: "
            "`=request.consumer`.",
        )
        unwrap: str | None = Field(
            default=None, description="The member of the result that is the response: `data.user`."
        )
        max_body_bytes: int = Field(default=102_400, ge=1, description="The most bytes of a body, decoded.")

        @field_validator("operation")
        @classmethod
        def _operation(cls, operation: str) -> str:
            text = text_of(operation)
            Operation(text)
            return text

        @field_validator("path")
        @classmethod
        def _path(cls, path: str) -> str:
            if not re.fullmatch(r"/[!-\"$->@-~]*", path):
                raise ConfigError(f"`{path}` is not a valid path", hint="write `/graphql`")
            return path

        @field_validator("unwrap")
        @classmethod
        def _unwrap(cls, member: str | None) -> str | None:
            if member is not None and not MEMBER.fullmatch(member):
                raise ConfigError(f"`{member}` is not a member of a result", hint="write `data.user`")
            return member

    def setup(self, context: PluginContext) -> None:
        """Reads the operation."""
        config = self.config
        self._operation = Operation(config.operation)
        unknown = sorted(set(config.fixed) - set(self._operation.variables))
        if unknown:
            raise ConfigError(
                f"the operation has no variable `${unknown[0]}`", hint="declare it: `query($x: ID)`"
            )
        self._fixed = {
            name: Expression(value[1:]) if isinstance(value, str) and value.startswith("=") else value
            for name, value in config.fixed.items()
        }
        self._member = config.unwrap.split(".") if config.unwrap else None
        self._log = context.log

    async def request(self, request: Request) -> Response | None:
        """Makes the request that of the operation."""
        try:
            variables = self._variables(request, await self._body(request))
        except BadBody as error:
            return Response.json({"errors": [{"message": str(error)}]}, error.status)
        request.method = "POST"
        request.target = self.config.path
        request.headers["accept"] = "application/json"
        if self._member is not None:
            request.headers["accept-encoding"] = "identity"
        request.set_body(
            to_json({"query": self._operation.text, "variables": variables}), content_type="application/json"
        )
        return None

    def response(self, request: Request, response: ResponseView) -> None:
        """What describes the whole result goes."""
        if self._member is not None:
            for name in ("etag", "last-modified", "content-encoding"):
                response.headers.pop(name, None)

    @body_mode("buffer", decode=True)
    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Takes the member out of the result."""
        if self._member is None or response.status != 200:
            return None
        try:
            result: Any = parsed_json(chunk, keeps_numbers=True)
        except BadBody as error:
            self._log.warning("the result is not JSON", extra={"reason": str(error)})
            return Response.json({"errors": [{"message": "there is no result"}]}, 502)
        errors = result.get("errors") if isinstance(result, dict) else None
        for name in self._member:
            result = result.get(name) if isinstance(result, dict) else None
        if result is not None:
            return to_json(result).encode("utf-8", "replace")
        if not errors:
            return Response.json({"errors": [{"message": "not found"}]}, 404)
        self._log.warning("the result has errors only", extra={"reason": to_json(errors)[:300]})
        return Response.json({"errors": [{"message": "there is no result"}]}, 502)

    async def _body(self, request: Request) -> dict[str, Any]:
        body = await decoded(request, self.config.max_body_bytes)
        if not body:
            return {}
        kind = media_type(request)
        if kind is None or not kind.is_json:
            raise BadBody("the body is not JSON by its type", 415)
        value = parsed_json(body, keeps_numbers=True)
        if not isinstance(value, dict):
            raise BadBody("the body is not an object")
        return value

    def _variables(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        query = request.query_params
        for name, kind in self._operation.variables.items():
            if name in self._fixed:
                value = self._fixed[name]
                made[name] = value(request, None) if isinstance(value, Expression) else value
            elif name in request.params:
                made[name] = kind.of_texts(name, [request.params[name]])
            elif name in query:
                made[name] = kind.of_texts(name, query.getlist(name))
            elif name in body:
                made[name] = body[name]
            elif kind.is_required:
                raise BadBody(f"`{name}` is missing")
        return made


class Operation:
    """The one operation of a document."""

    def __init__(self, text: str) -> None:
        try:
            library: Any = importlib.import_module("graphql")
        except ImportError:
            raise ConfigError(
                "operations need the library `graphql-core`", hint="pip install 'headgate[plugins]'"
            ) from None
        try:
            document = library.parse(text)
        except library.GraphQLError as error:
            raise ConfigError(
                f"the operation is not valid: {error.message}", hint="write one as GraphQL does"
            ) from None
        found = [one for one in document.definitions if one.kind == "operation_definition"]
        if len(found) != 1 or found[0].operation.value == "subscription":
            raise ConfigError("there is not one query or mutation", hint="write one, and its fragments")
        self.text = text
        self.variables = {
            one.variable.name.value: Kind(one.type, one.default_value is not None)
            for one in found[0].variable_definitions or ()
        }


class Kind:
    """What a variable is declared to be."""

    def __init__(self, said: Any, has_default: bool) -> None:
        self.is_required = said.kind == "non_null_type" and not has_default
        said = said.type if said.kind == "non_null_type" else said
        self._is_list = said.kind == "list_type"
        while said.kind in ("list_type", "non_null_type"):
            said = said.type
        self._name = said.name.value

    def of_texts(self, name: str, texts: list[str]) -> Any:
        """The value of a path's parameter or of a query's; raises `BadBody`."""
        if self._is_list:
            return [self._of(name, text) for text in texts]
        if len(texts) > 1:
            raise BadBody(f"`{name}` is repeated")
        return self._of(name, texts[0])

    def _of(self, name: str, text: str) -> Any:
        if self._name == "Int" and INTEGER.fullmatch(text) and -(2**31) <= int(text) < 2**31:
            return int(text)
        if self._name == "Float" and NUMBER.fullmatch(text):
            return Number(text)
        if self._name == "Boolean" and text in ("true", "false"):
            return text == "true"
        if self._name in ("Int", "Float", "Boolean"):
            raise BadBody(f"`{name}` is not a valid {self._name}")
        return text
