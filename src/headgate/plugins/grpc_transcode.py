"""Lets clients of JSON call gRPC services: unary methods, by descriptors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, decoded, media_type, parsed_json
from ._grpc import GrpcService, checked_url
from ._transcoding import STATUS, Method, Wrong, message_of, methods

MOST_PARAMETERS = 200
METADATA = re.compile(r"(?!grpc-|te$|content-type$|host$|.*-bin$)[0-9a-z_.-]{1,100}")
"""Names of metadata that clients may say, and whose values are texts (gRPC over HTTP/2, "Custom-Metadata")."""


class GrpcTranscode(Plugin):
    """Calls unary methods of a gRPC service for requests with JSON, and replies with JSON.

    Paths are those of `google.api.http` in the descriptors, or else `POST /package.Service/Method` with the whole
    message as the body; streams are not transcoded, and other paths go on to the route. Fields that do not exist,
    enumerations that are not known and values of a wrong type are a 400 that names them; errors of the service have
    the status of their code. All are JSON: `{"code": 5, "message": "..."}`. Integers of 64 bits are texts, as the
    mapping of protobuf says. The plugin calls the service itself, not through an upstream. Needs `pip install
    'headgate[grpc]'`.
    """

    order = 450

    class Config(BaseModel):
        """Settings of `grpc-transcode`."""

        model_config = ConfigDict(extra="forbid")

        url: str = Field(description="The service: `grpc://10.0.0.9:9001`, or `grpcs`.")
        descriptors: Path = Field(description="A descriptor set with all imports, as `protoc` writes it.")
        services: list[str] = Field(default=[], description="Full names of services; empty: all of the file.")
        headers: list[str] = Field(
            default=[], description="Fields of the client that the service gets as metadata."
        )
        max_body_bytes: int = Field(
            default=1_048_576, ge=1, description="The most bytes of a body, either way."
        )
        timeout: float = Field(default=10, gt=0, description="The longest that a call may take, in seconds.")
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

        @field_validator("url")
        @classmethod
        def _url(cls, url: str) -> str:
            return checked_url(url)

    def setup(self, context: PluginContext) -> None:
        """Reads the descriptors."""
        config = self.config
        self._methods = methods(config.descriptors, config.services)
        self._service = GrpcService(
            context, config.url, timeout=config.timeout, max_bytes=config.max_body_bytes
        )
        self._headers = [name.lower() for name in config.headers]

    async def request(self, request: Request) -> Response | None:
        """Calls the method whose path it is."""
        found = self._found(request)
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

    def _found(self, request: Request) -> tuple[Method, tuple[str, ...]] | None:
        for method in self._methods:
            if method.verb == request.method and (found := method.pattern.fullmatch(request.path)):
                return method, found.groups()
        return None

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
        from google.protobuf import json_format

        metadata = [("x-request-id", request.id)]
        metadata += [
            (name, value)
            for name in self._headers
            for value in request.headers.get_all(name)
            if value.isascii() and value.isprintable()
        ]
        call = self._service.channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            reply = await call(message, timeout=self._service.timeout, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code().value[0]
            if code == grpc.StatusCode.UNAVAILABLE.value[0]:
                self._service.away.begin(str(error.details())[:300])
            return _error(STATUS[code], code, error.details() or "")
        self._service.away.end()
        made = json_format.MessageToDict(reply, always_print_fields_with_no_presence=self.config.defaults)
        if method.response_body:
            field = method.response.DESCRIPTOR.fields_by_name[method.response_body]
            made = made.get(field.json_name)
        return Response.json(made)


def _error(status: int, code: int, text: str) -> Response:
    return Response.json({"code": code, "message": text, "details": []}, status)
