"""What a collector reads of an export: OTLP in Protocol Buffers, as OTLP's JSON has it.

The messages are described here, from opentelemetry-proto 1.x: the package with their generated classes and that of xDS
hold the same files, in two versions.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "fixed32": _FIELD.TYPE_FIXED32,
    "fixed64": _FIELD.TYPE_FIXED64,
}
_MESSAGES = {
    "AnyValue": {"string_value": (1, "string"), "int_value": (3, "int64")},
    "KeyValue": {"key": (1, "string"), "value": (2, "AnyValue")},
    "Resource": {"attributes": (1, "*KeyValue")},
    "Scope": {"name": (1, "string"), "version": (2, "string")},
    "Status": {"message": (2, "string"), "code": (3, "int32")},
    "Span": {
        "trace_id": (1, "bytes"),
        "span_id": (2, "bytes"),
        "trace_state": (3, "string"),
        "parent_span_id": (4, "bytes"),
        "name": (5, "string"),
        "kind": (6, "int32"),
        "start_time_unix_nano": (7, "fixed64"),
        "end_time_unix_nano": (8, "fixed64"),
        "attributes": (9, "*KeyValue"),
        "status": (15, "Status"),
        "flags": (16, "fixed32"),
    },
    "ScopeSpans": {"scope": (1, "Scope"), "spans": (2, "*Span")},
    "ResourceSpans": {"resource": (1, "Resource"), "scope_spans": (2, "*ScopeSpans")},
    "Export": {"resource_spans": (1, "*ResourceSpans")},
    "PartialSuccess": {"rejected_spans": (1, "int64"), "error_message": (2, "string")},
    "Response": {"partial_success": (1, "PartialSuccess")},
}


def _described() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="otlp.proto", package="otlp", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "AnyValue":  # which of them is there is told, and 0 is something
            message.oneof_decl.add(name="value")
        for field, (number, kind) in fields.items():
            is_repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            added = message.field.add(name=field, number=number)
            added.label = _FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL
            if kind in _TYPES:
                added.type = _TYPES[kind]
            else:
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".otlp.{kind}"
            if name == "AnyValue":
                added.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _described()


def message(name: str, content: bytes = b"") -> Any:
    """One of the messages; fails if it is not one, or a string in it is not UTF-8."""
    made = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"otlp.{name}"))()
    made.ParseFromString(content)
    return made


def exported(body: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    """The services and the spans of an export, as JSON has them, with ids in hexadecimal digits."""
    services, spans = [], []
    for resource in message("Export", body).resource_spans:
        services += [one.value.string_value for one in resource.resource.attributes]
        for scope in resource.scope_spans:
            spans += [_plain(span) for span in scope.spans]
    return services, spans


def _plain(span: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json_format.MessageToDict(span)
    ids = {"traceId": span.trace_id, "spanId": span.span_id, "parentSpanId": span.parent_span_id}
    return {"status": {}, "attributes": [], **plain, **{name: value.hex() for name, value in ids.items()}}


def rejecting(spans: int, why: str) -> bytes:
    """A response by which a collector takes an export but for so many spans."""
    response = message("Response")
    response.partial_success.rejected_spans = spans
    response.partial_success.error_message = why
    made: bytes = response.SerializeToString()
    return made
