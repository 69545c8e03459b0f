"""A service for tests of transcoding: its descriptors, made here, and a gRPC server of it."""

from collections.abc import Callable
from typing import Any

import grpc
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

F = descriptor_pb2.FieldDescriptorProto
RULES: dict[str, dict[str, str]] = {
    "Get": {"get": "/v1/{name=shelves/*}/books/{id}"},
    "Find": {"get": "/v1/books:find"},
    "Put": {"put": "/v1/books/{id}", "body": "book"},
    "Make": {"post": "/v1/books", "body": "*", "response_body": "book"},
    "Buy": {},
}


def descriptors() -> descriptor_pb2.FileDescriptorSet:
    """`shop.proto` as protoc would say it."""
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    file.enum_type.add(name="Kind").value.extend(
        [
            descriptor_pb2.EnumValueDescriptorProto(name=name, number=n)
            for n, name in enumerate(("PAPER", "AUDIO"))
        ]
    )
    book = file.message_type.add(name="Book")
    book.field.add(name="title", number=1, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL, json_name="title")
    book.field.add(
        name="page_count", number=2, type=F.TYPE_INT64, label=F.LABEL_OPTIONAL, json_name="pageCount"
    )
    message = file.message_type.add(name="Order")
    for n, (name, kind, label) in enumerate(
        [
            ("name", F.TYPE_STRING, F.LABEL_OPTIONAL),
            ("id", F.TYPE_INT32, F.LABEL_OPTIONAL),
            ("is_gift", F.TYPE_BOOL, F.LABEL_OPTIONAL),
            ("tags", F.TYPE_STRING, F.LABEL_REPEATED),
        ]
    ):
        json_name = "isGift" if name == "is_gift" else name
        message.field.add(name=name, number=n + 1, type=kind, label=label, json_name=json_name)
    one = F.LABEL_OPTIONAL
    message.field.add(
        name="kind", number=5, type=F.TYPE_ENUM, type_name=".shop.Kind", label=one, json_name="kind"
    )
    message.field.add(
        name="book", number=6, type=F.TYPE_MESSAGE, type_name=".shop.Book", label=one, json_name="book"
    )
    service = file.service.add(name="Shop")
    for name, rule in RULES.items():
        method = service.method.add(name=name, input_type=".shop.Order", output_type=".shop.Order")
        for key, value in rule.items():
            setattr(method.options.Extensions[annotations_pb2.http], key, value)
    service.method.add(
        name="Watch", input_type=".shop.Order", output_type=".shop.Order", server_streaming=True
    )
    return descriptor_pb2.FileDescriptorSet(file=[file])


def adder(
    call: Callable[[str, Any, Any], Any],
    stream: Callable[[Any, Any], Any] = lambda message, context: iter([message]),
) -> Callable[[Any], None]:
    """Adds the service to a server; `call` gets the method's name, the message and the context, `stream` (of `Watch`)
    the message and the context.
    """
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptors().file[0].SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))

    def handler(name: str) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: call(name, message, context),
            request_deserializer=kind.FromString,
            response_serializer=kind.SerializeToString,
        )

    watch = grpc.unary_stream_rpc_method_handler(
        stream, request_deserializer=kind.FromString, response_serializer=kind.SerializeToString
    )
    every = {**{name: handler(name) for name in RULES}, "Watch": watch}
    handlers = grpc.method_handlers_generic_handler("shop.Shop", every)
    return lambda server: server.add_generic_rpc_handlers((handlers,))
