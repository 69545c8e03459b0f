"""Several requests in one: a client posts a list, and each of them goes through the gateway's own routes."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, field_validator

from headgate import ConfigError, FetchError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, decoded, media_type, parsed_json
from ._fields import CONTROL, FRAMING, NAME
from ._numbers import to_json
from ._services import OF_A_PROXY

MARK = "x-batch"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")
"""A target in origin form: one slash at its beginning, and what a request line can hold."""


class Part(BaseModel):
    """A request of a batch."""

    model_config = ConfigDict(extra="forbid")

    method: StrictStr = "GET"
    path: StrictStr
    headers: dict[StrictStr, StrictStr] = {}
    body: Any = None


class BatchRequests(Plugin):
    """Replies to a POST of `{"requests": [{"method": "GET", "path": "/a"}, ...]}` with `{"responses": [...]}`, in the
    same order; use it `on` a path of its own.

    A part has `method`, `path`, `headers` and `body` (a text, or anything else that is sent as JSON); a response has
    `status`, `headers` and `body` (base64, with `"encoding": "base64"`, if it is not UTF-8). Each part goes through
    routes and plugins as a request of the same client: address lists, limits and keys apply to each. It gets the fields
    in `inherit` from the batch, may set those in `headers`, and has `X-Batch: 1`. A part cannot be a batch.
    """

    order = -260  # before credentials are taken out: each part shows them itself
    acts = True

    class Config(BaseModel):
        """Settings of `batch-requests`."""

        model_config = ConfigDict(extra="forbid")

        max_requests: int = Field(default=20, ge=1, le=200, description="The most parts of a batch.")
        concurrency: int = Field(default=5, ge=1, le=50, description="The most parts that run at once.")
        timeout: float = Field(default=10, gt=0, description="The longest that a part may take, in seconds.")
        max_body_bytes: int = Field(default=1_048_576, ge=1, description="The most bytes of a batch.")
        max_response_bytes: int = Field(
            default=262_144, ge=0, description="The most bytes of the body of a part's response."
        )
        methods: list[str] = Field(default=list(METHODS), min_length=1, description="Methods of parts.")
        inherit: list[str] = Field(
            default=["authorization", "cookie", "x-api-key", "accept-language", "user-agent"],
            description="Fields of the batch that each part gets.",
        )
        headers: list[str] = Field(
            default=["accept", "content-type", "if-match", "if-none-match"],
            description="Fields that a part may set itself.",
        )
        response_headers: list[str] = Field(
            default=["content-type", "etag", "location", "retry-after"],
            description="Fields of a part's response that the client gets.",
        )

        @field_validator("methods")
        @classmethod
        def _methods(cls, methods: list[str]) -> list[str]:
            for one in methods:
                if one not in METHODS:
                    raise ConfigError(
                        f"`{one}` is not a method of parts", hint=f"one of {', '.join(METHODS)}"
                    )
            return methods

        @field_validator("inherit", "headers")
        @classmethod
        def _sent(cls, names: list[str]) -> list[str]:
            folded = [name.lower() for name in names]
            for name in folded:
                is_ours = (
                    name in FRAMING or name in ("host", MARK) or OF_A_PROXY.fullmatch(name.replace("_", "-"))
                )
                if is_ours or not NAME.fullmatch(name):
                    raise ConfigError(f"parts cannot have `{name}`", hint="the gateway writes it")
            return folded

        @field_validator("response_headers")
        @classmethod
        def _told(cls, names: list[str]) -> list[str]:
            for name in names:
                if not NAME.fullmatch(name):
                    raise ConfigError(f"`{name}` is not a valid header field name", hint="write `etag`")
            return names

    def setup(self, context: PluginContext) -> None:
        """Takes the mark of parts out of what clients send."""
        context.remove_from_clients(MARK)
        self._parts_of_all = context.counter("parts")

    async def request(self, request: Request) -> Response:
        """Sends the parts."""
        if MARK in request.headers:
            return Response(400, "a part of a batch cannot be a batch\n")
        if request.method != "POST":
            return Response(405, "a batch is a POST\n", headers=[("allow", "POST")])
        try:
            parts = self._parts(await decoded(request, self.config.max_body_bytes), media_type(request))
        except BadBody as error:
            return Response.json({"error": str(error)}, error.status)
        self._parts_of_all.add(len(parts))
        inherited = [(name, value) for name in self.config.inherit for value in request.headers.get_all(name)]
        free = asyncio.Semaphore(self.config.concurrency)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._response(request, one, inherited, free)) for one in parts]
        return Response.json({"responses": [one.result() for one in tasks]})

    def _parts(self, body: bytes, kind: Any) -> list[Part]:
        if kind is None or not kind.is_json:
            raise BadBody("the body is not JSON", 415)
        value = parsed_json(body, keeps_numbers=True)
        given = value.get("requests") if isinstance(value, dict) else None
        if not isinstance(given, list) or not given:
            raise BadBody("there is no list `requests`")
        if len(given) > self.config.max_requests:
            raise BadBody("there are too many requests at once", 413)
        return [self._part(number, one) for number, one in enumerate(given)]

    def _part(self, number: int, given: Any) -> Part:
        try:
            part = Part.model_validate(given)
        except ValidationError:
            raise BadBody(f"request {number} is not valid") from None
        if part.method not in self.config.methods:
            raise BadBody(f"request {number}: the method is not allowed")
        if not PATH.fullmatch(part.path) or "#" in part.path:
            raise BadBody(f"request {number}: the path is not valid")
        for name, value in part.headers.items():
            if name.lower() not in self.config.headers or CONTROL.search(value):
                raise BadBody(f"request {number}: a header field is not allowed")
        if part.method in ("GET", "HEAD") and part.body is not None:
            raise BadBody(f"request {number}: a {part.method} has no body")
        return part

    async def _response(
        self, request: Request, part: Part, inherited: list[tuple[str, str]], free: asyncio.Semaphore
    ) -> dict[str, Any]:
        own = {name.lower(): value for name, value in part.headers.items()}
        body = None
        if part.body is not None:
            is_text = isinstance(part.body, str)
            own.setdefault("content-type", "text/plain; charset=utf-8" if is_text else "application/json")
            body = (part.body if is_text else to_json(part.body)).encode("utf-8", "replace")
        fields = [*((name, value) for name, value in inherited if name not in own), *own.items(), (MARK, "1")]
        async with free:
            try:
                async with asyncio.timeout(self.config.timeout):
                    return await self._fetched(request, part, fields, body)
            except TimeoutError:
                return {"status": 504, "headers": {}, "body": "the response is late"}
            except (FetchError, OSError):
                return {"status": 502, "headers": {}, "body": "there is no response"}

    async def _fetched(
        self, request: Request, part: Part, fields: list[tuple[str, str]], body: bytes | None
    ) -> dict[str, Any]:
        response = await request.fetch(part.path, method=part.method, headers=fields, body=body)
        try:
            content = await response.body(max_bytes=self.config.max_response_bytes)
        finally:
            response.close()
        told = {name: response.headers.get_all(name) for name in self.config.response_headers}
        made: dict[str, Any] = {
            "status": response.status,
            "headers": {name: ", ".join(values) for name, values in told.items() if values},
        }
        try:
            return made | {"body": content.decode()}
        except UnicodeDecodeError:
            return made | {"body": base64.b64encode(content).decode(), "encoding": "base64"}
