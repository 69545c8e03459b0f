"""mocking: the examples of a document, or what is made of its schemas, in the type and status that a client prefers."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate import ConfigError, Gateway
from headgate.plugins import Mocking
from headgate.testing import TestGateway, TestResponse

SERVER = "server.test:80"


def document(responses: Any, schemas: Any = None, path: str = "/a", version: str = "3.1.0") -> dict[str, Any]:
    return {
        "openapi": version,
        "paths": {path: {"get": {"responses": responses}}},
        "components": {"schemas": schemas or {}},
    }


def ask(
    folder: Path, said: Any, target: str = "/a", headers: Any = (), method: str = "GET", **config: Any
) -> TestResponse:
    file = folder / "api.yaml"
    file.write_text(said if isinstance(said, str) else yaml.safe_dump(said))
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(Mocking(openapi=str(file), **config))
    with TestGateway(gate, upstreams={SERVER: "served"}) as gateway:
        return gateway.request(method, target, headers)


def of(schema: Any) -> Any:
    return {"200": {"content": {"application/json": {"schema": schema}}}}


RESPONSES = {
    "404": {"content": {"application/json": {"example": {"error": "none"}}}},
    "200": {
        "headers": {"x-total": {"schema": {"type": "integer", "minimum": 3}}, "x-name": {"example": "n"}},
        "content": {
            "application/json": {
                "examples": {"one": {"value": {"n": 1}}, "two": {"$ref": "#/components/examples/two"}}
            },
            "text/plain": {"example": "text"},
        },
    },
}


def test_examples_are_chosen_by_accept_and_prefer(tmp_path: Path) -> None:
    said = document(RESPONSES)
    said["components"]["examples"] = {"two": {"value": {"n": 2}}}
    usual = ask(tmp_path, said)
    assert (usual.status, usual.json(), usual.headers["x-total"], usual.headers["x-name"]) == (
        200,
        {"n": 1},
        "3",
        "n",
    )
    assert usual.headers["x-mock"] == "1" and usual.headers["vary"] == "Accept"
    assert ask(tmp_path, said, headers={"accept": "text/*"}).text == "text"
    assert ask(tmp_path, said, headers={"accept": "image/png"}).json() == {"n": 1}
    assert ask(tmp_path, said, headers={"prefer": "example=two"}).json() == {"n": 2}
    missing = ask(tmp_path, said, headers={"prefer": 'respond-async, code="404"'})
    assert (missing.status, missing.json()) == (404, {"error": "none"})
    assert ask(tmp_path, said, headers={"prefer": "code=500; example=none"}).json() == {"n": 1}
    assert ask(tmp_path, said, headers={"prefer": "code=404"}, prefer=False).status == 200
    head = ask(tmp_path, said, method="HEAD")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": ["null", "string"], "format": "date"}, "2024-01-31"),
        ({"type": "string", "minLength": 8}, "stringxx"),
        ({"type": "string", "maxLength": 3}, "str"),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 3}, 3),
        ({"type": "boolean", "default": False}, False),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [0, 0]),
        ({"properties": {"a": {"type": "boolean"}}}, {"a": True}),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}}, {"$ref": "#/components/schemas/B"}]},
            {"a": 1, "b": 2},
        ),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
        ({}, None),
    ],
)
def test_values_are_made_of_schemas(tmp_path: Path, schema: Any, value: Any) -> None:
    said = document(of(schema), {"B": {"properties": {"b": {"const": 2}}}})
    assert ask(tmp_path, said).json() == value


def test_what_is_made_fits_its_schema(tmp_path: Path) -> None:
    import jsonschema_rs

    file = Path(__file__).parents[3] / "examples" / "plugins" / "shop.json"
    schema = json.loads(file.read_text())["components"]["schemas"]["Book"]
    made = ask(tmp_path, file.read_text(), "/v1/books/7").json()
    assert jsonschema_rs.is_valid(schema, made) and made["title"] == "Momo"


def test_schemas_that_name_themselves_and_many_items_are_bounded(tmp_path: Path) -> None:
    node = {
        "properties": {"next": {"$ref": "#/components/schemas/N"}, "also": {"$ref": "#/components/schemas/N"}}
    }
    assert len(ask(tmp_path, document(of({"$ref": "#/components/schemas/N"}), {"N": node})).body) < 100_000
    deep: Any = {"type": "string"}
    for _ in range(30):
        deep = {"type": "array", "minItems": 1000, "items": deep}
    assert len(ask(tmp_path, document(of(deep))).body) < 100_000


def test_paths_are_those_of_the_document(tmp_path: Path) -> None:
    said = document({"204": {}}, path="/a/{id}/b")
    said["servers"] = [{"url": "https://api.example/v1"}]
    assert ask(tmp_path, said, "/v1/a/7/b").status == 204
    for target in ("/a/7/b", "/v1/a//b", "/v1/a/7", "/v1/a/7/b/c", "/"):
        assert ask(tmp_path, said, target).status == 404
        assert ask(tmp_path, said, target, unknown="pass").text == "served"
    wrong = ask(tmp_path, said, "/v1/a/7/b", method="POST")
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET")


def test_a_path_without_parameters_is_found_first(tmp_path: Path) -> None:
    said = document({"204": {}}, path="/a/{id}")
    said["paths"]["/a/me"] = {"get": {"responses": {"201": {}}}}
    assert ask(tmp_path, said, "/a/me").status == 201


def test_fields_that_the_gateway_writes_are_not_those_of_the_document(tmp_path: Path) -> None:
    names = ("Content-Length", "Transfer-Encoding", "Connection", "Content-Type", "X-A")
    headers = {name: {"example": "b"} for name in names}
    response = ask(tmp_path, document({"200": {"headers": headers, **of({"type": "integer"})["200"]}}))
    assert (response.status, response.json(), response.headers["x-a"]) == (200, 0, "b")
    assert (response.headers["content-type"], response.headers["content-length"]) == ("application/json", "1")
    assert "transfer-encoding" not in response.headers


@pytest.mark.parametrize("header", ["x y", "content-length"])
def test_a_mark_that_can_be_no_field_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(ConfigError, match=header):
        ask(tmp_path, document({"200": {}}), header=header)


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        "openapi: 2.0",
        "{",
        "openapi: 3.1.0",
        document({}),
        document({"200": {"$ref": "#/none"}}),
        document({"200": {"$ref": "http://x.example/"}}),
        document([1]),
        document(of({"type": "array", "minItems": "x"})),
        document(of({"type": "string", "maxLength": "x"})),
        document(of({"oneOf": {"a": 1}})),
        document(of({"properties": [1]})),
        document({"200": {"headers": [1]}}),
        document({"200": {"headers": {"x a": {"example": "b"}}}}),
        document({"200": {"headers": {"x-a": {"example": "b\nx-c: d"}}}}),
        document({"200": {"content": {"text/plain\r\nx-c: d": {"example": "e"}}}}),
        document({"200": {"content": {"text/plain": {"examples": ["a"]}}}}),
        {**document({"200": {}}), "servers": "x"},
        document(of({"$ref": "#/components/schemas/A"}), {"A": {"$ref": "#/components/schemas/A"}}),
    ],
)
def test_wrong_documents_are_refused(tmp_path: Path, said: Any) -> None:
    with pytest.raises(ConfigError):
        ask(tmp_path, said)
    with pytest.raises(ConfigError):
        Gateway().use(Mocking(openapi="/none"))
