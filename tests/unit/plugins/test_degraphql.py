"""degraphql: requests become one operation that no client changes, and results what REST would say."""

import json
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import Degraphql
from headgate.testing import Received, TestGateway, TestResponse

SERVER = "server.test:80"
JSON = {"content-type": "application/json"}
OPERATION = """
query Books(
  $id: ID!, $first: Int = 10, $price: Float, $tags: [String!], $isNew: Boolean, $filter: Filter, $viewer: String
) {
  book(id: $id) { ...parts }
}
fragment parts on Book { title }
"""


def ask(
    target: str = "/books/7",
    body: Any = None,
    headers: Any = JSON,
    method: str = "GET",
    server: Any = "{}",
    **config: Any,
) -> tuple[TestResponse, Received | None]:
    gate = Gateway()
    gate.route("/books/{id}", to=SERVER)
    gate.use(Degraphql(**{"operation": OPERATION, **config}))
    with TestGateway(gate, upstreams={SERVER: server}) as gateway:
        response = gateway.request(method, target, headers, body=body)
        return response, gateway.received[0] if gateway.received else None


def variables(target: str, **more: Any) -> Any:
    response, received = ask(target, **more)
    assert received is not None, response.text
    assert (received.method, received.target, received.headers["content-type"]) == (
        "POST",
        "/graphql",
        "application/json",
    )
    assert received.headers["content-length"] == str(len(received.body))
    sent = received.json()
    assert set(sent) == {"query", "variables"} and sent["query"] == OPERATION
    return sent["variables"]


def test_variables_come_from_path_query_and_body_as_they_are_declared() -> None:
    assert variables("/books/7") == {"id": "7"}
    assert variables("/books/a%20b?first=5&price=1.50&tags=x&tags=y&isNew=true&filter=NEW&other=1") == {
        "id": "a b",
        "first": 5,
        "price": 1.5,
        "tags": ["x", "y"],
        "isNew": True,
        "filter": "NEW",
    }
    body = '{"filter": {"n": 12345678901234567890, "p": 1.10}, "id": "9", "first": 1, "unknown": 1}'
    _, received = ask("/books/7?first=2", method="PUT", body=body)
    assert received is not None
    assert received.json()["variables"] == {
        "id": "7",
        "first": 2,
        "filter": {"n": 12345678901234567890, "p": 1.10},
    }
    assert b"1.10" in received.body


def test_fixed_variables_are_not_the_clients() -> None:
    config = {"fixed": {"viewer": "=request.method", "first": 3}}
    assert variables("/books/7?viewer=admin&first=1000", **config) == {"id": "7", "viewer": "GET", "first": 3}


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/books/7?first=x", "first"),
        ("/books/7?first=99999999999", "first"),
        ("/books/7?first=1&first=2", "first"),
        ("/books/7?price=NaN", "price"),
        ("/books/7?isNew=1", "isNew"),
    ],
)
def test_a_value_that_does_not_fit_is_a_400_that_names_it(target: str, named: str) -> None:
    response, received = ask(target)
    assert (response.status, received) == (400, None) and named in response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{", JSON, 400),
        ("[]", JSON, 400),
        ("{}", {"content-type": "text/plain"}, 415),
        ('{"filter": "' + "x" * 200_000 + '"}', JSON, 413),
        ('{"filter": ' + "[" * 100 + "]" * 100 + "}", JSON, 400),
    ],
)
def test_hostile_bodies_are_refused(body: str, headers: Any, status: int) -> None:
    response, received = ask(method="POST", body=body, headers=headers)
    assert (response.status, received) == (status, None)


def test_a_required_variable_that_is_missing_is_a_400() -> None:
    response, received = ask(operation="query($need: Int!) { a(x: $need) }")
    assert (response.status, received) == (400, None) and "need" in response.text


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        ('{"data": {"book": {"price": 1.10}}}', 200, '{"price":1.10}'),
        ('{"data": {"book": {"price": 1}}, "errors": [{"message": "secret"}]}', 200, '{"price":1}'),
        ('{"data": {"book": null}}', 404, "not found"),
        ('{"data": null, "errors": [{"message": "secret"}]}', 502, "there is no result"),
        ('{"errors": "x"}', 502, "there is no result"),
        ("[]", 404, "not found"),
        ("<html>", 502, "there is no result"),
    ],
)
def test_the_member_is_the_response(result: str, status: int, text: str) -> None:
    server = Response(200, result, headers={**JSON, "etag": '"1"'})
    response, _ = ask(server=server, unwrap="data.book")
    assert response.status == status and text in response.text and "secret" not in response.text
    assert "etag" not in response.headers


def test_without_unwrap_the_result_is_passed_on_as_it_is() -> None:
    response, _ = ask(server=Response(200, '{"data": 1.10}', headers={**JSON, "etag": '"1"'}))
    assert response.text == '{"data": 1.10}' and response.headers["etag"] == '"1"'


def test_an_operation_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "books.graphql"
    file.write_text(OPERATION)
    assert json.loads((ask(operation=f"file:{file}")[1] or pytest.fail()).body)["query"] == OPERATION


@pytest.mark.parametrize(
    "settings",
    [
        {"operation": "{"},
        {"operation": "query A { a } query B { b }"},
        {"operation": "subscription { a }"},
        {"operation": "fragment x on Y { a }"},
        {"operation": "file:/none"},
        {"operation": "{ a }", "fixed": {"x": 1}},
        {"operation": "query($x: ID) { a(x: $x) }", "fixed": {"x": "=request.none"}},
        {"operation": "{ a }", "path": "graphql"},
        {"operation": "{ a }", "path": "/a?b"},
        {"operation": "{ a }", "unwrap": "data..a"},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Gateway().use(Degraphql(**settings))
