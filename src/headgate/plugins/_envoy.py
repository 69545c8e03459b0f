"""Envoy's protocols for external services: fields as they say them, and changes of fields as they want them."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Iterable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

from headgate import ConfigError, Request

from ._bodies import told_length
from ._fields import CONTROL, FRAMING, NAME
from ._services import told_fields

NOT_SAID = FRAMING | {"host", "date", "server", "via"}


def _said(names: list[str]) -> list[str]:
    for name in names:
        if not NAME.fullmatch(name) or name.lower() in NOT_SAID:
            raise ConfigError(f"`{name}` cannot be set by a service", hint="name a field such as `x-user`")
    return [name.lower() for name in names]


SaidNames = Annotated[list[str], AfterValidator(_said)]
"""Names of fields that a service may set, in lower case."""
"""Fields that no service sets: they frame the message, or the gateway writes them."""

APPEND, ADD_IF_ABSENT, OVERWRITE, OVERWRITE_IF_EXISTS = range(4)
"""HeaderValueOption.HeaderAppendAction."""


class Invalid(ValueError):
    """What a service says cannot be done; the text says why."""


def text_of(value: str) -> bytes:
    """A value as bytes, also those that are not UTF-8."""
    return value.encode("utf-8", "surrogateescape")


def wanted(options: Iterable[Any], *, default: int) -> Iterator[tuple[str, str, int]]:
    """Name, value and action of each HeaderValueOption; raises `Invalid` for what is not a field."""
    for option in options:
        name = option.header.key.lower()
        value = (option.header.raw_value or option.header.value.encode()).decode("utf-8", "surrogateescape")
        if not NAME.fullmatch(name) or name in NOT_SAID or CONTROL.search(value):
            raise Invalid(f"the header field `{name[:100]}`")
        action = option.append_action or default
        if option.HasField("append"):
            action = APPEND if option.append.value else OVERWRITE
        yield name, value, action


def set_fields(headers: Any, fields: Iterable[tuple[str, str, int]], allowed: Container[str] | None) -> None:
    """Sets them, those that are allowed."""
    for name, value, action in fields:
        if allowed is not None and name not in allowed:
            continue
        if action == APPEND or (action == ADD_IF_ABSENT and name not in headers):
            headers.add(name, value)
        elif action == OVERWRITE or (action == OVERWRITE_IF_EXISTS and name in headers):
            headers[name] = value


def reply_fields(fields: Iterable[tuple[str, str, int]]) -> list[tuple[str, str]]:
    """The fields of a response that a service makes."""
    return [(name, value) for name, value, _ in fields]


def check_request(
    request: Request, body: bytes | None, names: list[str] | None, extensions: dict[str, str]
) -> Any:
    """The CheckRequest of ext_authz; `names` are the fields that the service sees."""
    from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

    told = CheckRequest()
    attributes = told.attributes
    attributes.source.address.socket_address.address = request.client.address
    attributes.source.address.socket_address.port_value = request.client.port
    certificate = request.client_certificate
    if certificate is not None and certificate.is_valid:
        attributes.source.principal = next(iter(certificate.names), certificate.subject)
    if request.tls is not None:
        attributes.tls_session.sni = request.tls.server_name or ""
    attributes.request.time.FromNanoseconds(time.time_ns())
    attributes.context_extensions.update(extensions)
    http = attributes.request.http
    http.id, http.method, http.host, http.scheme = (
        request.id,
        request.method,
        request.host,
        request.scheme,
    )
    http.path = text_of(request.target).decode("utf-8", "replace")
    http.protocol = f"HTTP/{request.version}"
    length = told_length(request.headers)
    http.size = -1 if length is None or length >= 1 << 63 else length
    for name, value in told_fields(request, names):
        text = text_of(value).decode("utf-8", "replace")
        http.headers[name] = f"{http.headers[name]},{text}" if name in http.headers else text
    if body is not None:
        http.raw_body = body
    return told


def header_map(headers: Any, **pseudo: str) -> Any:
    """A HeaderMap of these fields, with pseudo-fields such as `path` first."""
    from envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue

    pairs = [*((f":{name}", value) for name, value in pseudo.items()), *headers.items()]
    return HeaderMap(headers=[HeaderValue(key=name, raw_value=text_of(value)) for name, value in pairs])


PSEUDO = {
    ":path": re.compile(r"/[\x21-\x7e]*"),
    ":method": re.compile(r"[A-Z]{1,20}"),
    ":status": re.compile("[2-5][0-9]{2}"),
}
"""What a service may set beside fields."""


def mutate(view: Any, headers: Any, mutation: Any) -> None:
    """Does a HeaderMutation of ext_proc to a request or a response; raises `Invalid` before anything is done."""
    pseudo, options = {}, []
    for option in mutation.set_headers:
        name = option.header.key.lower()
        if not name.startswith(":"):
            if name != "host":  # which Envoy does not let services set either
                options.append(option)
            continue
        value = (option.header.raw_value or option.header.value.encode()).decode("ascii", "replace")
        if (
            name not in PSEUDO
            or not PSEUDO[name].fullmatch(value)
            or hasattr(view, "method") == (name == ":status")
        ):
            raise Invalid(f"`{name[:100]}: {value[:100]}`")
        pseudo[name] = value
    fields = list(wanted(options, default=OVERWRITE))
    for name in mutation.remove_headers:
        if name.lower() not in NOT_SAID and not name.startswith(":"):
            headers.pop(name, None)
    set_fields(headers, fields, None)
    for name, value in pseudo.items():
        attribute = {":path": "target", ":method": "method", ":status": "status"}[name]
        setattr(view, attribute, int(value) if name == ":status" else value)
