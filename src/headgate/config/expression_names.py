"""What expressions may name: fields of requests and responses, functions and methods, with their types."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["text", "number", "truth", "list", "fields", "object"]
"""The types of values: `fields` are names with texts, an `object` has members."""


class Member(NamedTuple):
    """A field: its type, and the Python that reads it, with the object it belongs to as `{}`."""

    kind: Kind
    source: str


REQUEST = {
    "method": Member("text", "request.method"),
    "path": Member("text", "request.path"),
    "query": Member("text", "request.query"),
    "target": Member("text", "request.target"),
    "host": Member("text", "host_of(request)"),
    "scheme": Member("text", "request.scheme"),
    "version": Member("text", "request.version"),
    "id": Member("text", "request.id"),
    "route": Member("text", "request.route_name"),
    "upstream": Member("text", "(request.upstream or '')"),
    "attempt": Member("number", "request.attempt"),
    "consumer": Member("text", "(getattr(request.state, 'consumer', None) or '')"),
    "headers": Member("fields", "request.headers"),
    "query_params": Member("fields", "request.query_params"),
    "cookies": Member("fields", "request.cookies"),
    "params": Member("fields", "request.params"),
    "client": Member("object", "client"),
    "tls": Member("object", "tls"),
}
RESPONSE = {
    "status": Member("number", "response.status"),
    "headers": Member("fields", "response.headers"),
}
CLIENT = {
    "address": Member("text", "request.client.address"),
    "port": Member("number", "request.client.port"),
    "listener": Member("text", "request.client.listener"),
}
TLS = {
    "version": Member("text", "(request.tls.version if request.tls else '')"),
    "server_name": Member("text", "(request.tls and request.tls.server_name or '')"),
    "alpn": Member("text", "(request.tls.alpn if request.tls else '')"),
}
OBJECTS = {"request": REQUEST, "response": RESPONSE, "client": CLIENT, "tls": TLS}
"""The members of each object; `request` and `response` are where names begin."""


class Call(NamedTuple):
    """A function or a method: what it takes, what it gives, and the Python for it (`{0}` is the first argument)."""

    takes: tuple[Kind, ...]
    kind: Kind
    source: str


METHODS = {
    "startsWith": Call(("text", "text"), "truth", "{0}.startswith({1})"),
    "endsWith": Call(("text", "text"), "truth", "{0}.endswith({1})"),
    "contains": Call(("text", "text"), "truth", "({1} in {0})"),
    "lowerAscii": Call(("text",), "text", "{0}.lower()"),
    "upperAscii": Call(("text",), "text", "{0}.upper()"),
    "trim": Call(("text",), "text", "{0}.strip()"),
}
"""Besides these, `matches(pattern)` and `inNetwork(network)` take a text that stands in the expression."""

FUNCTIONS = {
    "size": Call(("text",), "number", "len({0})"),
    "int": Call(("text",), "number", "int({0})"),
    "string": Call(("number",), "text", "str({0})"),
}
