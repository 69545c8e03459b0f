"""Bounds what GraphQL operations ask for, before a server begins to work on them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response

from ._bodies import BadBody, bound, decoded, media_type, parsed_json
from ._graphql import Costs, GraphqlParser, Size, measured
from ._remembered import Remembered

IN_THE_TARGET = ("query", "variables", "extensions")


class GraphqlLimits(Plugin):
    """Refuses GraphQL requests whose operations are too deep, too complex, have too many aliases or fields at the root,
    or come in too many at once; fragments are expanded, and all operations of a document count.

    Operations are taken from the query of a GET, and from JSON and `application/graphql` bodies (GraphQL over HTTP).
    What a server might read otherwise is refused: other types (forms, multipart), parts of a request in both body and
    target, and WebSockets. A field costs 1, or what `costs` says; below one with an argument of `counts`, such as
    `first: 100`, all costs count as often. Errors are of the form that GraphQL clients read.
    """

    order = 220

    class Config(BaseModel):
        """Settings of `graphql-limits`."""

        model_config = ConfigDict(extra="forbid")

        max_depth: int = Field(default=15, ge=1, le=200, description="The most levels of fields.")
        max_complexity: int = Field(default=1000, ge=1, description="The most that all operations cost.")
        max_aliases: int = Field(default=30, ge=0, description="The most aliases in all operations.")
        max_root_fields: int = Field(default=20, ge=1, description="The most fields at the root, in all.")
        max_batch: int = Field(default=1, ge=1, le=1000, description="The most operations in an array.")
        max_tokens: int = Field(default=1000, ge=1, le=100_000, description="The most tokens of a document.")
        max_body_bytes: int = Field(default=102_400, ge=1, description="The most bytes of a body, decoded.")
        costs: dict[str, Annotated[int, Field(ge=0)]] = Field(
            default={}, description="Costs of fields by their names: `users: 5`."
        )
        counts: list[str] = Field(
            default=["first", "last", "limit"], description="Arguments that say how many are wanted."
        )
        introspection: bool = Field(
            default=True, description="Whether `__schema` and `__type` may be asked for."
        )
        persisted: bool = Field(
            default=False,
            description="Whether requests without a query are let in, which name one that the server keeps.",
        )
        websocket: bool = Field(
            default=False, description="Whether upgrades are let in, whose operations are not looked at."
        )

    def setup(self, context: PluginContext) -> None:
        """Loads the library."""
        config = self.config
        parser = GraphqlParser()
        self._documents = Remembered(
            lambda text: parser.document(text, config.max_tokens), most=64, longest=config.max_body_bytes
        )
        self._costs = Costs(config.costs, frozenset(config.counts))
        self._denied = context.counter("denied")

    async def request(self, request: Request) -> Response | None:
        """Measures what is asked for."""
        try:
            upgrade = request.headers.get("upgrade")
            if upgrade is not None and "websocket" in upgrade.lower() and not self.config.websocket:
                raise BadBody("WebSockets are not allowed", 403)
            operations = await self._operations(request)
            if operations:
                self._check(operations)
        except BadBody as error:
            self._denied.add()
            return Response.json({"errors": [{"message": str(error)}]}, error.status)
        return None

    async def _operations(self, request: Request) -> list[Any]:
        """The operations of a request, as objects with `query` and `variables`."""
        body = await decoded(request, self.config.max_body_bytes)
        told = {name: request.query_params.getlist(name) for name in IN_THE_TARGET}
        if request.method in ("GET", "HEAD", "OPTIONS"):
            if body:
                raise BadBody("a request without a body has one")
            return self._of_target(told)
        if any(told.values()):
            raise BadBody("a part of the request is in the target")
        kind = media_type(request) if body else None
        if kind is not None and kind.name == "application/graphql":
            try:
                return [{"query": body.decode()}]
            except UnicodeDecodeError:
                raise BadBody("the query is not UTF-8") from None
        if kind is None or not kind.is_json:
            raise BadBody("the body is not JSON", 415)
        value = parsed_json(body)
        if not isinstance(value, list):
            return [value]
        bound(len(value), self.config.max_batch, "there are too many operations at once")
        return value

    def _of_target(self, told: dict[str, list[str]]) -> list[Any]:
        if not any(told.values()):
            return []  # the page of a browser, or a health check
        if any(len(values) > 1 for values in told.values()):
            raise BadBody("a part of the request is a duplicate")
        variables = told["variables"][0] if told["variables"] else ""
        return [
            {
                "query": told["query"][0] if told["query"] else None,
                "variables": parsed_json(variables.encode("utf-8", "replace")) if variables else None,
            }
        ]

    def _check(self, operations: list[Any]) -> None:
        config, whole = self.config, Size()
        for one in operations:
            for size in self._sizes(one):
                whole = whole.beside(size)
        bound(whole.depth, config.max_depth, "the query is too deep")
        bound(whole.fields, config.max_root_fields, "the query has too many fields at the root")
        bound(whole.aliases, config.max_aliases, "the query has too many aliases")
        bound(whole.complexity, config.max_complexity, "the query is too complex")
        if whole.introspects and not config.introspection:
            raise BadBody("introspection is not allowed", 403)

    def _sizes(self, operation: Any) -> list[Size]:
        if not isinstance(operation, dict):
            raise BadBody("an operation is not an object")
        text, variables = operation.get("query"), operation.get("variables")
        if text is None and self.config.persisted:
            return []
        if not isinstance(text, str):
            raise BadBody("there is no query")
        if variables is not None and not isinstance(variables, dict):
            raise BadBody("the variables are not an object")
        return measured(self._documents[text], variables or {}, self._costs)
