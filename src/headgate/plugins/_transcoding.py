"""Methods of gRPC services as HTTP sees them: by descriptors, with paths of google.api.http or `/Service/Method`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from headgate import ConfigError

SEGMENT = re.compile(r"\{([A-Za-z_][\w.]*)(?:=([^{}]*))?\}|([^/{}:]+)")
STATUS = (200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)
"""The status of HTTP for each code of gRPC, as google.rpc.Code says it."""


class Wrong(ValueError):
    """A request that fits no message; its text tells the client which field is wrong."""


class Method(NamedTuple):
    """One way to call a method."""

    verb: str
    pattern: re.Pattern[str]
    fields: tuple[str, ...]
    """The fields that the pattern's groups are."""
    path: str
    request: Any
    response: Any
    body: str
    """The field that the body is, `*` for the whole message, empty for none."""
    response_body: str
    streams: bool = False
    """Whether the service replies with any number of messages."""


HINT = "make it with `protoc --include_imports --descriptor_set_out`"


def methods(file: Path, services: list[str]) -> list[Method]:
    """The methods of these services (all, if none are named) in a descriptor set; raises `ConfigError`."""
    from google.protobuf import descriptor_pb2

    found_set = descriptor_pb2.FileDescriptorSet()
    try:
        found_set.ParseFromString(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"`{file}` cannot be read: {error.strerror}", hint="name a descriptor set"
        ) from None
    except Exception as error:  # protobuf's own, which have no common base in all of its versions
        raise ConfigError(f"`{file}` is not a descriptor set: {type(error).__name__}", hint=HINT) from None
    return methods_of(list(found_set.file), services, str(file))


def methods_of(files: list[Any], services: list[str], where: str) -> list[Method]:
    """The methods of these services in descriptors of files, each behind those that it imports; raises `ConfigError`.

    What a client streams is left out.
    """
    try:
        made = list(_methods(files, services))
    except ConfigError:
        raise
    except (TypeError, KeyError, ValueError):
        raise ConfigError(f"`{where}` is not a whole descriptor set", hint=HINT) from None
    except Exception as error:  # protobuf's own
        raise ConfigError(f"`{where}` is not a descriptor set: {type(error).__name__}", hint=HINT) from None
    if not made:
        raise ConfigError(f"`{where}` has no methods", hint="what clients stream is not transcoded")
    return made


def _methods(files: list[Any], services: list[str]) -> Iterator[Method]:
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for one in files:
        pool.AddSerializedFile(one.SerializeToString())
    known = {f"{one.package}.{service.name}".strip("."): service for one in files for service in one.service}
    missing = [name for name in services if name not in known]
    if missing:
        raise ConfigError(
            f"there is no service `{missing[0]}`", hint=f"there is {', '.join(known) or 'none'}"
        )
    for name in services or known:
        described = pool.FindServiceByName(name)
        for method in known[name].method:
            if method.client_streaming:
                continue
            one = described.methods_by_name[method.name]
            takes, gives = map(message_factory.GetMessageClass, (one.input_type, one.output_type))
            path = f"/{name}/{method.name}"
            for verb, template, body, response_body in _rules(method, path):
                pattern, fields = _pattern(template)
                streams = bool(method.server_streaming)
                yield Method(verb, pattern, fields, path, takes, gives, body, response_body, streams)


def _rules(method: Any, path: str) -> Iterator[tuple[str, str, str, str]]:
    from google.api import annotations_pb2

    rule = method.options.Extensions[annotations_pb2.http]
    for one in (rule, *rule.additional_bindings):
        verb = one.WhichOneof("pattern")
        if verb == "custom":
            yield one.custom.kind.upper(), one.custom.path, one.body, one.response_body
        elif verb:
            yield verb.upper(), getattr(one, verb), one.body, one.response_body
    if rule.WhichOneof("pattern") is None:
        yield "POST", path, "*", ""


def _pattern(template: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """The pattern of a path template: `/v1/{name=shelves/*}/books/{id}:read`."""
    path, colon, verb = template.rpartition(":")
    if not colon or "/" in verb or "}" in verb:
        path, verb = template, ""
    fields: list[str] = []

    def made(found: re.Match[str]) -> str:
        if found[1] is None:
            return _part(found[3])
        fields.append(found[1])
        return f"({'/'.join(map(_part, (found[2] or '*').split('/')))})"

    if not path.startswith("/") or SEGMENT.sub("", path).strip("/"):
        raise ConfigError(f"`{template}` is not a valid path template", hint="as google.api.http says it")
    pattern = "/".join(SEGMENT.sub(made, part) for part in re.split(r"/(?![^{]*\})", path))
    return re.compile(pattern + (f":{re.escape(verb)}" if verb else "")), tuple(fields)


def _part(part: str) -> str:
    return {"*": "[^/]+", "**": ".*"}.get(part, re.escape(part))


def message_of(method: Method, captured: tuple[str, ...], query: list[tuple[str, str]], body: Any) -> Any:
    """The message for a request; raises `Wrong`, which names the field."""
    from google.protobuf import json_format

    document: dict[str, Any] = {}
    if method.body == "*":
        if not isinstance(body, dict | None):
            raise Wrong("the body is not an object")
        document = dict(body or {})
    elif method.body and body is not None:
        document[method.body] = body
    for field, value in zip(method.fields, captured, strict=True):
        _put(document, method.request.DESCRIPTOR, field, unquote(value), is_last=True)
    for field, value in query:
        if method.body == "*":
            raise Wrong(f"`{field[:100]}` is in the query, but all fields are in the body")
        _put(document, method.request.DESCRIPTOR, field, value, is_last=False)
    try:
        return json_format.ParseDict(document, method.request(), max_recursion_depth=64)
    except (json_format.ParseError, RecursionError, ValueError, TypeError) as error:
        raise Wrong(str(error)[:300]) from None


def _put(document: dict[str, Any], kind: Any, path: str, text: str, *, is_last: bool) -> None:
    """Puts a text where a dotted path says, as the type of its field wants it."""
    names = path.split(".")
    for n, name in enumerate(names):
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        if field is None or n > 16:
            raise Wrong(f"there is no field `{path[:100]}`")
        if n < len(names) - 1:
            if field.message_type is None:
                raise Wrong(f"there is no field `{path[:100]}`")
            document = document.setdefault(field.json_name, {})
            kind = field.message_type
            if not isinstance(document, dict):
                raise Wrong(f"the field `{path[:100]}` is said twice")
            continue
        value = _value(field, text, path)
        if field.name != field.json_name:
            document.pop(field.name, None)  # the body may use either
        if field.is_repeated:
            document.setdefault(field.json_name, []).append(value)
        elif field.json_name in document and not is_last:
            raise Wrong(f"the field `{path[:100]}` is said twice")
        else:
            document[field.json_name] = value


def _value(field: Any, text: str, path: str) -> Any:
    if field.type == field.TYPE_BOOL:
        if text not in ("true", "false"):
            raise Wrong(f"`{path[:100]}` is neither true nor false")
        return text == "true"
    if field.type == field.TYPE_ENUM and re.fullmatch(r"-?[0-9]{1,10}", text):
        return int(text)
    return text
