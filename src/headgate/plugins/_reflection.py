"""What a gRPC service says of itself: the protocol of server reflection (grpc.reflection.v1), of which v1alpha is the
same under another name.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any

from headgate import ConfigError

VERSIONS = ("v1", "v1alpha")
MOST_FILES = 1000
MOST_BYTES = 4 << 20


async def described(channel: Any, services: list[str], timeout: float) -> list[Any]:
    """The descriptors of the files of these services (all, if none are named), each behind those that it imports;
    raises `grpc.RpcError`, `TimeoutError`, and `ConfigError` for what cannot be.
    """
    import grpc

    async with asyncio.timeout(timeout):
        for version in VERSIONS:
            try:
                return await _Reading(channel, version).files(services)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED or version == VERSIONS[-1]:
                    raise
    raise AssertionError("the last version returns or raises")


class _Reading:
    """One conversation with a service."""

    def __init__(self, channel: Any, version: str) -> None:
        self._request, response = _messages(version)
        self._call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=self._request.SerializeToString,
            response_deserializer=response.FromString,
        )()
        self._files: dict[str, Any] = {}
        self._bytes = 0

    async def files(self, services: list[str]) -> list[Any]:
        try:
            names = services or await self._services()
            for name in names:
                self._take(await self._asked(file_containing_symbol=name))
            while missing := self._missing():
                self._take(await self._asked(file_by_filename=missing))
        finally:
            self._call.cancel()
        return self._sorted()

    async def _services(self) -> list[str]:
        reply = await self._asked(list_services="*")
        names = [one.name for one in reply.list_services_response.service]
        return [name for name in names if not name.startswith("grpc.reflection.")]

    async def _asked(self, **what: str) -> Any:
        import grpc

        await self._call.write(self._request(**what))
        reply = await self._call.read()
        if reply is grpc.aio.EOF:
            raise ConfigError("the service ended its reflection", hint="use `descriptors`")
        if reply.HasField("error_response"):
            text = reply.error_response.error_message[:200]
            raise ConfigError(
                f"the service does not describe `{next(iter(what.values()))}`: {text}", hint=None
            )
        return reply

    def _take(self, reply: Any) -> None:
        from google.protobuf import descriptor_pb2

        for content in reply.file_descriptor_response.file_descriptor_proto:
            self._bytes += len(content)
            file = descriptor_pb2.FileDescriptorProto.FromString(content)
            self._files.setdefault(file.name, file)
        if self._bytes > MOST_BYTES or len(self._files) > MOST_FILES:
            raise ConfigError("the service describes too much", hint="name `services`, or use `descriptors`")

    def _missing(self) -> str | None:
        wanted = (name for file in self._files.values() for name in file.dependency)
        return next((name for name in wanted if name not in self._files), None)

    def _sorted(self) -> list[Any]:
        made: dict[str, Any] = {}
        left = dict(self._files)
        while left:
            ready = [name for name, one in left.items() if all(other in made for other in one.dependency)]
            if not ready:
                raise ConfigError("the files that the service describes import each other", hint=None)
            made |= {name: left.pop(name) for name in ready}
        return list(made.values())


@lru_cache
def _messages(version: str) -> tuple[Any, Any]:
    """The messages of the protocol, as far as they are used here."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    package = f"grpc.reflection.{version}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{version}.proto", package=package, syntax="proto3")
    fields: dict[str, list[tuple[str, int, str]]] = {
        "ServerReflectionRequest": [
            ("file_by_filename", 3, "one text"),
            ("file_containing_symbol", 4, "one text"),
            ("list_services", 7, "one text"),
        ],
        "FileDescriptorResponse": [("file_descriptor_proto", 1, "bytes")],
        "ServiceResponse": [("name", 1, "text")],
        "ListServiceResponse": [("service", 1, "ServiceResponse")],
        "ErrorResponse": [("error_code", 1, "number"), ("error_message", 2, "text")],
        "ServerReflectionResponse": [
            ("file_descriptor_response", 4, "FileDescriptorResponse"),
            ("list_services_response", 6, "ListServiceResponse"),
            ("error_response", 7, "ErrorResponse"),
        ],
    }
    plain = {"text": kinds.TYPE_STRING, "bytes": kinds.TYPE_BYTES, "number": kinds.TYPE_INT32}
    for name, members in fields.items():
        message = file.message_type.add(name=name)
        for member, number, kind in members:
            is_many = kind in ("bytes", "ServiceResponse")
            field = message.field.add(
                name=member,
                number=number,
                type=plain.get(kind.removeprefix("one "), kinds.TYPE_MESSAGE),
                label=kinds.LABEL_REPEATED if is_many else kinds.LABEL_OPTIONAL,
            )
            if field.type == kinds.TYPE_MESSAGE:
                field.type_name = f".{package}.{kind}"
            if kind.startswith("one "):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="message_request")
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    made = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in ("ServerReflectionRequest", "ServerReflectionResponse")
    )
    return next(made), next(made)
