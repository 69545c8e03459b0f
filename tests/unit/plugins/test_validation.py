"""Bodies and parameters that must fit: what passes, what is refused, and that nothing hostile is a 500."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate import ConfigError, Gateway, Plugin
from headgate.plugins import (
    BatchRequests,
    BodyTransformer,
    GraphqlLimits,
    JsonThreatProtection,
    Opa,
    RequestValidation,
    XmlThreatProtection,
)
from headgate.testing import TestGateway, TestResponse

SERVER = "server.test:80"
SCHEMA = {
    "type": "object",
    "required": ["a"],
    "additionalProperties": False,
    "properties": {"a": {"type": "integer"}, "m": {"type": "string", "format": "email"}},
}
JSON = {"content-type": "application/json"}


def ask(plugin: Plugin, body: bytes | str | None, headers: Any = JSON, **more: Any) -> TestResponse:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    with TestGateway(gate, upstreams={SERVER: "in"}) as gateway:
        method, target = more.pop("method", "POST"), more.pop("target", "/")
        response = gateway.request(method, target, headers, body=body, **more)
        assert len(gateway.received) == (response.text == "in")
        if gateway.received and body:
            assert gateway.received[0].body == (body.encode() if isinstance(body, str) else body)
        return response


def validating(**more: Any) -> RequestValidation:
    return RequestValidation(body_schema=SCHEMA, **more)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ('{"a": 1}', 200, None),
        ('{"a": 1, "m": "x@example.com"}', 200, None),
        ("{}", 400, {"error": "the body does not fit the rule `required`", "at": "/"}),
        ('{"a": "1"}', 400, {"error": "the body does not fit the rule `type`", "at": "/a"}),
        (
            '{"a": 1, "b": 2}',
            400,
            {"error": "the body does not fit the rule `additionalProperties`", "at": "/"},
        ),
        ('{"a": 1, "m": "x"}', 400, {"error": "the body does not fit the rule `format`", "at": "/m"}),
        ("", 400, {"error": "a body is missing"}),
        ('{"a": 1', 400, {"error": "the body is not valid JSON"}),
        ('{"a": 1, "a": 2}', 400, {"error": "the body has a name twice in an object"}),
    ],
)
def test_a_body_fits_or_is_told_why_not(body: str, status: int, told: Any) -> None:
    response = ask(validating(), body)
    assert response.status == status
    assert told is None or response.json() == told


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "Application/JSON",
        " application/json ;charset=UTF-8",
        "application/problem+json",
        'application/json;charset="utf-8"',
    ],
)
def test_every_spelling_of_the_type_is_looked_at(kind: str) -> None:
    assert ask(validating(), '{"a": "x"}', {"content-type": kind}).status == 400
    assert ask(validating(), '{"a": 5}', {"content-type": kind}).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=utf-8; charset=utf-7"}, 400),
        ({"content-type": "application/json; charset=utf-7"}, 415),
        ({"content-type": "application/json; charset=ibm037"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": ""}, 415),
        ({}, 415),
        ([("content-type", "application/json"), ("content-type", "text/plain")], 415),
        ({"content-type": "application/json; ="}, 415),
        ({"content-type": "json"}, 415),
    ],
)
def test_what_two_readers_could_take_for_different_types_is_refused(headers: Any, status: int) -> None:
    assert ask(validating(), '{"a": 1}', headers).status == status


HOSTILE = {
    "brackets": b"[" * 100_000,
    "objects": b'{"a":' * 50_000,
    "digits": b'{"a": ' + b"9" * 5000 + b"}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "surrogate": b'{"a": 1, "m": "\\ud800"}',
    "another encoding": '{"a": 1}'.encode("utf-16"),
    "mark": b'\xef\xbb\xbf{"a": 1}',
    "bytes": b'{"a": "\xff"}',
    "open string": b'"' + b"\\" * 50_000,
    "nothing": b" ",
    "tail": b'{"a": 1} x',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("plugin", [RequestValidation, JsonThreatProtection])
def test_no_hostile_body_is_let_in_or_is_an_error_of_the_gateway(name: str, plugin: type[Plugin]) -> None:
    settings = {"body_schema": {}} if plugin is RequestValidation else {}
    assert ask(plugin(**settings), HOSTILE[name]).status == 400


def test_a_body_is_bounded_before_and_after_it_is_decoded() -> None:
    plugin = JsonThreatProtection(max_body_bytes=1000)
    bomb = gzip.compress(b"[" + b" " * 10_000_000 + b"]")
    assert ask(plugin, bomb, {**JSON, "content-encoding": "gzip"}).status == 413
    assert ask(JsonThreatProtection(max_body_bytes=1000), b"[" + b" " * 1000 + b"]").status == 413
    small = gzip.compress(b'{"a": 1}')
    assert ask(validating(), small, {**JSON, "content-encoding": "gzip"}).status == 200
    assert ask(validating(), gzip.compress(b"{}"), {**JSON, "content-encoding": "gzip"}).status == 400


def test_a_body_without_a_length_is_looked_at_on_every_method() -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(validating())

    async def exchange(gateway: TestGateway, method: str) -> bytes:
        reader, writer = await gateway.connect()
        head = f"{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n".encode())
        try:
            return await reader.read()
        finally:
            writer.close()

    with TestGateway(gate, upstreams={SERVER: "in"}) as gateway:
        for method in ("GET", "DELETE", "POST", "OPTIONS"):
            assert gateway.run(exchange(gateway, method)).startswith(b"HTTP/1.1 400"), method
        assert gateway.get("/").status == 200


@pytest.mark.parametrize(
    ("settings", "body", "status"),
    [
        ({"max_depth": 3}, [[[1]]], 200),
        ({"max_depth": 3}, [[[[1]]]], 400),
        ({"max_members": 2}, {"a": 1, "b": 2, "c": 3}, 400),
        ({"max_items": 2}, [1, 2, 3], 400),
        ({"max_string": 3}, ["1234"], 400),
        ({"max_name": 3}, {"1234": 1}, 400),
        ({"max_values": 5}, [[1, 2], [3]], 400),
        ({"max_values": 6}, [[1, 2], [3]], 200),
        ({"max_depth": 1}, "[[[[ in a string", 200),
    ],
)
def test_each_part_of_json_is_bounded(settings: dict[str, int], body: Any, status: int) -> None:
    assert ask(JsonThreatProtection(**settings), json.dumps(body)).status == status


def test_other_types_pass_unless_every_body_is_to_be_json() -> None:
    text = {"content-type": "text/plain"}
    assert ask(JsonThreatProtection(), "[[", text).status == 200
    assert ask(JsonThreatProtection(every_body=True), "[[", text).status == 415
    assert ask(XmlThreatProtection(every_body=True), "<a/>", text).status == 415
    assert ask(JsonThreatProtection(every_body=True), None, {}, method="GET").status == 200


@pytest.mark.parametrize(
    ("settings", "body", "status"),
    [
        ({}, "<a><b c='d'>text</b></a>", 200),
        ({}, '<?xml version="1.0" encoding="utf-8"?><a/>', 200),
        ({}, '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', 400),
        ({}, '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 400),
        ({}, "<a>&x;</a>", 400),
        ({}, "<a><b></a>", 400),
        ({}, '<?xml version="1.0" encoding="utf-16"?><a/>', 415),
        ({"max_depth": 2}, "<a><b><c/></b></a>", 400),
        ({"max_elements": 2}, "<a><b/><b/></a>", 400),
        ({"max_attributes": 1}, "<a b='' c=''/>", 400),
        ({"max_text": 3}, "<a>1234</a>", 400),
        ({"max_text": 3}, "<a b='1234'/>", 400),
        ({"max_name": 3}, "<abcd/>", 400),
        ({}, "<a>" * 10_000, 400),
    ],
)
def test_each_part_of_xml_is_bounded(settings: dict[str, int], body: str, status: int) -> None:
    assert (
        ask(XmlThreatProtection(**settings), body, {"content-type": "application/soap+xml"}).status == status
    )


# ---- OpenAPI

FORM = {"content-type": "application/x-www-form-urlencoded"}
LIMIT = {"type": "integer", "maximum": 100, "exclusiveMaximum": True}
TAGS = {"type": "array", "items": {"type": "string"}, "maxItems": 2}
TRACE = {"name": "x-trace", "in": "header", "required": True, "schema": {"type": "string", "pattern": "^t"}}
PETS: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "pets", "version": "1"},
    "servers": [{"url": "https://api.example/v1"}],
    "paths": {
        "/pets": {
            "get": {
                "parameters": [
                    {"name": "limit", "in": "query", "schema": LIMIT},
                    {"name": "tags", "in": "query", "schema": TAGS},
                    {"$ref": "#/components/parameters/Trace"},
                ],
                "responses": {},
            },
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}},
                        "application/x-www-form-urlencoded": {"schema": {"$ref": "#/components/schemas/Pet"}},
                        "image/*": {},
                    },
                },
                "responses": {},
            },
        },
        "/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {"responses": {}},
        },
        "/pets/mine": {"get": {"responses": {}}},
    },
    "components": {
        "parameters": {"Trace": TRACE},
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "age": {"type": "integer", "nullable": True},
                    "parent": {"$ref": "#/components/schemas/Pet"},
                },
            }
        },
    },
}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(PETS))
    return tmp_path / "pets.yaml"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"target": "/v1/pets?limit=5"}, 200),
        ({"target": "/v1/pets?limit=100"}, 400),
        ({"target": "/v1/pets?limit=5.5"}, 400),
        ({"target": "/v1/pets?limit=5&limit=6"}, 400),
        ({"target": "/v1/pets?limit=" + "9" * 5000}, 400),
        ({"target": "/v1/pets?tags=a&tags=b"}, 200),
        ({"target": "/v1/pets?tags=a&tags=b&tags=c"}, 400),
        ({"target": "/v1/pets", "headers": {}}, 400),
        ({"target": "/v1/pets", "headers": {"x-trace": "no"}}, 400),
        ({"target": "/v1/pets/12"}, 200),
        ({"target": "/v1/pets/%31%32"}, 200),
        ({"target": "/v1/pets/twelve"}, 400),
        ({"target": "/v1/pets/mine"}, 200),
        ({"target": "/v1/pets/"}, 404),
        ({"target": "/pets"}, 404),
        ({"target": "/v1/pets", "method": "DELETE"}, 405),
        ({"method": "POST", "body": '{"name": "x", "age": null, "parent": {"name": "y"}}'}, 200),
        ({"method": "POST", "body": '{"name": "x", "parent": {}}'}, 400),
        ({"method": "POST", "body": None}, 400),
        ({"method": "POST", "body": "x", "headers": {"content-type": "image/png"}}, 200),
        ({"method": "POST", "body": "x", "headers": {"content-type": "text/plain"}}, 415),
        (
            {
                "method": "POST",
                "body": "name=x&age=5",
                "headers": FORM,
            },
            200,
        ),
        (
            {
                "method": "POST",
                "body": "name=x&age=five",
                "headers": FORM,
            },
            400,
        ),
        (
            {
                "method": "POST",
                "body": "name=x&name=y",
                "headers": FORM,
            },
            400,
        ),
    ],
)
def test_a_request_is_an_operation_of_the_document(pets: Path, request_: dict[str, Any], status: int) -> None:
    more = dict(request_)
    body, headers = more.pop("body", None), more.pop("headers", {"x-trace": "t1", **JSON})
    response = ask(
        RequestValidation(openapi=str(pets)),
        body,
        headers,
        **{"method": "GET", "target": "/v1/pets", **more},
    )
    assert response.status == status, response.text
    if status == 405:
        assert response.headers["allow"] == "GET, POST"


def test_unknown_parameters_are_refused_where_that_is_asked_for(pets: Path) -> None:
    plugin = RequestValidation(openapi=str(pets), unknown_parameters="refuse")
    response = ask(plugin, None, {"x-trace": "t"}, method="GET", target="/v1/pets?x=1")
    assert (response.status, response.json()) == (400, {"error": "a parameter is not known", "at": "query/x"})


def test_report_lets_in_what_does_not_fit() -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(validating(), mode="report")
    with TestGateway(gate, upstreams={SERVER: "in"}) as gateway:
        assert gateway.post("/", "{}", JSON).status == 200
        assert gateway.received[0].body == b"{}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "write `body_schema` or `openapi`"),
        ({"body_schema": {"type": "objekt"}}, "the schema is not valid"),
        ({"body_schema": {"pattern": "(?=a)"}}, "the schema is not valid"),
        ({"body_schema": {"$ref": "#/nowhere"}}, "is not valid"),
        ({"openapi": "/nowhere.yaml"}, "cannot be read"),
    ],
)
def test_what_cannot_be_a_schema_is_refused(settings: dict[str, Any], message: str) -> None:
    gate = Gateway()
    with pytest.raises(ConfigError, match=message):
        gate.use(RequestValidation(**settings))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"openapi": "2.0"}, "is not a document of OpenAPI 3.0 or 3.1"),
        ({"paths": {"/a": {"get": {"parameters": [{"$ref": "#/x"}]}}}}, "leads nowhere"),
        ({"paths": {"/a": {"get": {"parameters": [{"$ref": "http://x/y"}]}}}}, "leads out of the document"),
        ({"paths": {"/a{b}c": {"get": {}}}}, "a part of a segment"),
    ],
)
def test_what_cannot_be_a_document_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**PETS, **change}))
    with pytest.raises(ConfigError, match=message):
        Gateway().use(RequestValidation(openapi=str(tmp_path / "x.yaml")))


BODY_READERS: dict[str, tuple[Callable[[], Plugin], str]] = {
    "request-validation": (lambda: RequestValidation(body_schema=SCHEMA), "application/json"),
    "json-threat-protection": (JsonThreatProtection, "application/json"),
    "xml-threat-protection": (XmlThreatProtection, "text/xml"),
    "body-transformer": (lambda: BodyTransformer(request={"template": "{{ body }}"}), "application/json"),
    "graphql-limits": (GraphqlLimits, "application/json"),
    "batch-requests": (BatchRequests, "application/json"),
    "opa": (lambda: Opa(policy="a/b", body=True), "application/json"),
}
CODED = [
    ("gzip", b"not gzip", 415),
    ("gzip", gzip.compress(b'{"a": 1}')[:-6], 415),
    ("br", b"\xff\xff\xff", 415),
    ("compress", b"x", 415),
    ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), 415),
    ("gzip", gzip.compress(b" " * 9_000_000), 413),
]


@pytest.mark.parametrize("on_error", ["closed", "open"])
@pytest.mark.parametrize("name", BODY_READERS)
def test_a_body_that_is_not_of_its_coding_is_the_clients_fault_and_gets_past_no_plugin(
    name: str, on_error: Any
) -> None:
    make, kind = BODY_READERS[name]
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(make(), on_error=on_error)
    with TestGateway(gate, upstreams={SERVER: "in"}) as gateway:
        for coding, body, status in CODED:
            response = gateway.post("/", body, {"content-type": kind, "content-encoding": coding})
            assert (response.status, gateway.received) == (status, []), coding
