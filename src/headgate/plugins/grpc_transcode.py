"""Lets clients of JSON call gRPC services: methods that reply with one message or a stream of them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, decoded, media_type, parsed_json
from ._grpc import GrpcService, GrpcUrl
from ._media_types import weight
from ._numbers import to_json
from ._reflection import described
from ._transcoding import STATUS, Method, Wrong, message_of, methods, methods_of

MOST_PARAMETERS = 200
NDJSON = "application/x-ndjson"
REFLECTION_PAUSE_S = 1.0
FIRST_MESSAGE_S = 0.5
"""How long the first message is awaited before the response begins."""
METADATA = re.compile(r"(?!grpc-|te$|content-type$|host$|.*-bin$)[0-9a-z_.-]{1,100}")
"""Names of metadata that clients may say, and whose values are texts (gRPC over HTTP/2, "Custom-Metadata")."""


class GrpcTranscode(Plugin):
    """Calls methods of a gRPC service for requests with JSON, and replies with JSON.

    Paths are those of `google.api.http` in the descriptors, or else `POST /package.Service/Method` with the whole
    message as the body; methods to which clients stream are left out, and other paths go on to the route. Fields that
    do not exist, enumerations that are not known and values of a wrong type are a 400 that names them; errors of the
    service have the status of their code. All are JSON: `{"code": 5, "message": "..."}`. Integers of 64 bits are
    texts, as the mapping of protobuf says.

    What a service streams is sent as it comes, in lines (NDJSON): `{"result": ...}`, and an error after the first of
    them as `{"error": ...}`; or as events, where `Accept` prefers `text/event-stream`. The service is not read faster
    than the client reads, and its call ends when the client leaves. The plugin calls the service itself, not through
    an upstream. Needs `pip install 'headgate[grpc]'`.
    """

    order = 450
    acts = True

    class Config(BaseModel):
        """Settings of `grpc-transcode`."""

        model_config = ConfigDict(extra="forbid")

        url: GrpcUrl = Field(description="The service: `grpc://10.0.0.9:9001`, or `grpcs`.")
        descriptors: Path | None = Field(
            default=None, description="A descriptor set with all imports, as `protoc` writes it."
        )
        reflection: bool = Field(
            default=False,
            description="Whether the service is asked for its descriptors, at the first request to each worker; "
            "while it does not tell them, all requests of this use are a 503.",
        )
        services: list[str] = Field(default=[], description="Full names of services; empty: all of the file.")
        headers: list[str] = Field(
            default=[], description="Fields of the client that the service gets as metadata."
        )
        max_body_bytes: int = Field(
            default=1_048_576, ge=1, description="The most bytes of a body, either way."
        )
        timeout: float = Field(default=10, gt=0, description="The longest that a call may take, in seconds.")
        stream_timeout: float | None = Field(
            default=None,
            gt=0,
            description="The longest that a stream may take, in seconds; null is no limit.",
        )
        defaults: bool = Field(
            default=False, description="Whether fields with their default value are in responses."
        )

        @field_validator("headers")
        @classmethod
        def _names(cls, names: list[str]) -> list[str]:
            for name in names:
                if not METADATA.fullmatch(name.lower()):
                    raise ConfigError(
                        f"`{name}` cannot be metadata", hint="name a field of text such as `authorization`"
                    )
            return names

        @model_validator(mode="after")
        def _one(self) -> GrpcTranscode.Config:
            if (self.descriptors is None) != self.reflection:
                hint = "write `descriptors: FILE` or `reflection: true`, one of them"
                raise ConfigError("the descriptors of the service are missing", hint=hint)
            return self

    def setup(self, context: PluginContext) -> None:
        """Reads the descriptors."""
        config = self.config
        self._methods: list[Method] | None = None
        if config.descriptors is not None:
            self._methods = methods(config.descriptors, config.services)
        self._asked_s = -REFLECTION_PAUSE_S
        """When the service was last asked for its descriptors, by the clock that only goes on."""
        self._reflecting = asyncio.Lock()
        self._service = GrpcService(
            context, config.url, timeout=config.timeout, max_bytes=config.max_body_bytes
        )
        self._headers = [name.lower() for name in config.headers]

    async def request(self, request: Request) -> Response | None:
        """Calls the method whose path it is."""
        if self._methods is None:
            await self._reflect()
        if self._methods is None:
            return _error(503, 14, "the service does not describe itself")
        found = _found(self._methods, request)
        if found is None:
            return None
        method, captured = found
        try:
            query = parse_qsl(request.query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
            body = await self._body(request) if method.body else None
            message = message_of(method, captured, query, body)
        except BadBody as error:
            return _error(error.status, 3, str(error))
        except ValueError as error:
            return _error(400, 3, str(error) if isinstance(error, Wrong) else "the query is not valid")
        return await self._called(request, method, message)

    async def close(self) -> None:
        """Closes the connection to the service."""
        await self._service.close()

    async def _reflect(self) -> None:
        """Asks the service for its descriptors, once a second at most."""
        async with self._reflecting:
            if self._methods is not None or time.monotonic() - self._asked_s < REFLECTION_PAUSE_S:
                return
            try:
                files = await described(self._service.channel, self.config.services, self._service.timeout)
                self._methods = methods_of(files, self.config.services, self.config.url)
            except Exception as error:  # of gRPC, of protobuf, or a `ConfigError`: the service said it
                self._asked_s = time.monotonic()
                self._service.away.begin(f"{type(error).__name__}: {error}"[:300])
            else:
                self._service.away.end()

    async def _body(self, request: Request) -> Any:
        content = await decoded(request, self.config.max_body_bytes)
        if not content:
            return None
        kind = media_type(request)
        if kind is None or not kind.is_json:
            raise BadBody("the body is not JSON by its type", 415)
        return parsed_json(content)

    async def _called(self, request: Request, method: Method, message: Any) -> Response:
        import grpc

        metadata = [("x-request-id", request.id)]
        metadata += [
            (name, value)
            for name in self._headers
            for value in request.headers.get_all(name)
            if value.isascii() and value.isprintable()
        ]
        if method.streams:
            return await self._streamed(request, method, message, metadata)
        call = self._service.channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            reply = await call(message, timeout=self._service.timeout, metadata=metadata)
        except grpc.RpcError as error:
            return self._refused(error)
        self._service.away.end()
        return Response(200, self._json(method, reply), headers=[("content-type", "application/json")])

    async def _streamed(self, request: Request, method: Method, message: Any, metadata: Any) -> Response:
        """The stream of the service; an error that comes at once has its status."""
        import grpc

        call = self._service.channel.unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        running = call(message, timeout=self.config.stream_timeout, metadata=metadata)
        replies = aiter(running)
        first = asyncio.ensure_future(_next(replies))
        try:
            await asyncio.wait({first}, timeout=FIRST_MESSAGE_S)
            if first.done():
                first.result()
        except grpc.RpcError as error:
            return self._refused(error)
        except BaseException:
            running.cancel()
            raise
        self._service.away.end()
        accept = ",".join(request.headers.get_all("accept"))
        is_events = weight(accept, "text/event-stream") > weight(accept, NDJSON)
        pieces = self._pieces(method, first, replies, running, is_events=is_events)
        fields = [("cache-control", "no-store")] if is_events else []
        return Response.stream(
            pieces, content_type="text/event-stream" if is_events else NDJSON, headers=fields
        )

    async def _pieces(
        self, method: Method, first: Any, replies: AsyncIterator[Any], call: Any, *, is_events: bool
    ) -> AsyncIterator[bytes]:
        """The messages of a stream as they come; the call ends with it."""
        import grpc

        result, end = (b"data: ", b"\n\n") if is_events else (b'{"result":', b"}\n")
        try:
            reply = await first
            while reply is not None:
                yield result + self._json(method, reply) + end
                reply = await _next(replies)
        except grpc.RpcError as error:
            body = self._refused(error).body
            text = body if isinstance(body, bytes) else b""
            yield (b"event: error\ndata: " if is_events else b'{"error":') + text + end
        finally:
            call.cancel()

    def _json(self, method: Method, reply: Any) -> bytes:
        from google.protobuf import json_format

        made = json_format.MessageToDict(reply, always_print_fields_with_no_presence=self.config.defaults)
        if method.response_body:
            field = method.response.DESCRIPTOR.fields_by_name[method.response_body]
            made = made.get(field.json_name)
        return to_json(made).encode("utf-8", "replace")

    def _refused(self, error: Any) -> Response:
        import grpc

        code = error.code().value[0]
        if code == grpc.StatusCode.UNAVAILABLE.value[0]:
            self._service.away.begin(str(error.details())[:300])
        return _error(STATUS[code], code, error.details() or "")


async def _next(replies: AsyncIterator[Any]) -> Any:
    """The next message, none at the end."""
    return await anext(replies, None)


def _found(known: list[Method], request: Request) -> tuple[Method, tuple[str, ...]] | None:
    for method in known:
        if method.verb == request.method and (found := method.pattern.fullmatch(request.path)):
            return method, found.groups()
    return None


def _error(status: int, code: int, text: str) -> Response:
    return Response.json({"code": code, "message": text, "details": []}, status)
