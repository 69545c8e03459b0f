"""Lets out only responses that fit an OpenAPI document."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response, ResponseView, body_mode

from ._bodies import BadBody, parsed_json
from ._openapi import Document, Schema
from ._openapi_responses import Outcome, outcome_of, outcomes


class ResponseValidation(Plugin):
    """Replaces responses that do not fit an OpenAPI document by a 502: status, header fields, type, and JSON.

    What was wrong is logged with its place and the rule, and counted (`denied`); clients do not learn it.

    With `mode: report` of the use all responses go out, and the log has what would have been refused: begin with it.
    Replies of the gateway itself are not checked, nor those of requests that are no operation of the document (that is
    what `request-validation` is for). Bodies are held back until they are whole, so use it on APIs, not on files.
    """

    order = 201

    class Config(BaseModel):
        """Settings of `response-validation`."""

        model_config = ConfigDict(extra="forbid")

        openapi: str = Field(description="A document of OpenAPI 3.0 or 3.1, YAML or JSON.")
        max_body_bytes: int = Field(
            default=1_048_576, ge=1, description="The most bytes of a body that is checked, decoded."
        )
        max_depth: int = Field(default=64, ge=1, le=500, description="The most levels of a JSON body.")

    def setup(self, context: PluginContext) -> None:
        """Compiles the schemas."""
        self._document = Document(self.config.openapi)
        self._outcomes: dict[tuple[str, str], dict[str, Outcome]] = self._document.responses(outcomes)
        self._key = f"{context.name} operation"
        self._denied = context.counter("denied")
        self._log = context.log

    def request(self, request: Request) -> None:
        """Finds the operation, before anything rewrites the path."""
        path = self._document.named(request.path, request.method)
        if path is not None:
            vars(request.state)[self._key] = _Asked(path, request.method)

    def response(self, request: Request, response: ResponseView) -> Response | None:
        """Checks status, fields and type."""
        asked = getattr(request.state, self._key, None)
        if asked is None or request.attempt == 0:
            return None
        outcome = outcome_of(self._outcomes[asked.path, asked.method], response.status)
        if outcome is None:
            return self._refusal(request, asked, response, "the status is not in the document")
        for one in outcome.headers:
            if wrong := one.wrong(response.headers.get_all(one.name)):
                return self._refusal(request, asked, response, f"the field `{one.name}` {wrong}")
        if asked.method == "HEAD" or response.status in (204, 304) or not outcome.bodies:
            return None
        kind = (response.headers.get("content-type") or "").partition(";")[0].strip().lower()
        major = kind.partition("/")[0]
        known = next((one for one in (kind, f"{major}/*", "*/*") if one in outcome.bodies), None)
        if known is None:
            return self._refusal(request, asked, response, "the type is not in the document")
        if kind.endswith(("/json", "+json")) and (schema := outcome.bodies[known]) is not None:
            vars(request.state)[self._key] = asked._replace(schema=schema)
        return None

    @body_mode("buffer", decode=True)
    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> Response | None:
        """Checks the body."""
        asked = getattr(request.state, self._key, None)
        if asked is None or asked.schema is None:
            return None
        if len(chunk) > self.config.max_body_bytes:
            return self._refusal(request, asked, response, "the body is too large to be checked")
        try:
            wrong = asked.schema.wrong(parsed_json(chunk, depth=self.config.max_depth))
        except BadBody as error:
            return self._refusal(request, asked, response, str(error))
        if wrong is None:
            return None
        return self._refusal(
            request, asked, response, f"the body does not fit the rule `{wrong[1]}` at {wrong[0] or '/'}"
        )

    def _refusal(self, request: Request, asked: _Asked, response: ResponseView, reason: str) -> Response:
        vars(request.state).pop(self._key, None)
        self._denied.add()
        place = {"operation": f"{asked.method} {asked.path}", "status": response.status}
        self._log.warning("a response does not fit", extra={"reason": reason, **place})
        return Response.json({"error": "the response of the server is not what was expected"}, 502)


class _Asked(NamedTuple):
    """The operation that a request is, and what its body must be as soon as that is known."""

    path: str
    method: str
    schema: Schema | None = None
