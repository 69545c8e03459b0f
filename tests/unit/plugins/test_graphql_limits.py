"""graphql-limits: what operations come to however they are written, and requests that a server might read otherwise."""

import json
from typing import Any

import pytest

from headgate import ConfigError, Gateway
from headgate.plugins import GraphqlLimits
from headgate.testing import TestGateway, TestResponse

SERVER = "server.test:80"
JSON = {"content-type": "application/json"}


def running(**settings: Any) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(GraphqlLimits(**settings))
    return TestGateway(gate, upstreams={SERVER: "ok"})


def post(gateway: TestGateway, query: Any, variables: Any = None, **more: Any) -> TestResponse:
    return gateway.post("/", json.dumps({"query": query, "variables": variables, **more}), JSON)


def refusal(query: Any, variables: Any = None, **settings: Any) -> str | None:
    with running(**settings) as gateway:
        response = post(gateway, query, variables)
        if response.status == 200:
            assert gateway.received[0].json()["query"] == query
            return None
        assert gateway.received == []
        (error,) = response.json()["errors"]
        return str(error["message"])


DEEP, MANY = "the query is too deep", "the query has too many fields at the root"
ALIASES, COMPLEX = "the query has too many aliases", "the query is too complex"


@pytest.mark.parametrize(
    ("query", "settings", "expected"),
    [
        ("{a{b{c}}}", {"max_depth": 3}, None),
        ("{a{b{c}}}", {"max_depth": 2}, DEEP),
        ("{a{...on X{b{... {c}}}}}", {"max_depth": 2}, DEEP),
        ("{a{...F}} fragment F on X{b{...G}} fragment G on Y{c}", {"max_depth": 2}, DEEP),
        ("{...__schema} fragment __schema on X{a{b{c}}}", {"max_depth": 2}, DEEP),
        ("query A{a} query B{a{b{c}}}", {"max_depth": 2}, DEEP),
        ("mutation{a{b{c}}}", {"max_depth": 2}, DEEP),
        ("subscription{a{b{c}}}", {"max_depth": 2}, DEEP),
        ("{a @include(if:false){b{c}}}", {"max_depth": 2}, DEEP),
        ("{a b c}", {"max_root_fields": 3}, None),
        ("{a b ...F} fragment F on X{c d}", {"max_root_fields": 3}, MANY),
        ("{" + " ".join(f"a{n}:a" for n in range(200)) + "}", {"max_root_fields": 1000}, ALIASES),
        ("{a{x:b y:b}}", {"max_aliases": 2}, None),
        ("{a{x:b y:b}}", {"max_aliases": 1}, ALIASES),
        ("{a{...F} b{...F}} fragment F on X{y:c}", {"max_aliases": 1}, ALIASES),
        ("{a{b c}}", {"max_complexity": 3}, None),
        ("{a{b c}}", {"max_complexity": 2}, COMPLEX),
        ("{a{b c}}", {"max_complexity": 11, "costs": {"b": 10}}, COMPLEX),
        ("{a(first:100){b}}", {"max_complexity": 101}, None),
        ("{a(first:100){b}}", {"max_complexity": 100}, COMPLEX),
        ("{a(page:{last:100}){b}}", {"max_complexity": 100}, COMPLEX),
        ("{a(page:[{x:1},{last:100}]){b}}", {"max_complexity": 100}, COMPLEX),
        ("{a(first:50 last:-100){b}}", {"max_complexity": 100}, COMPLEX),
        ("{a(first:1e2){b}}", {"max_complexity": 100}, COMPLEX),
        ("{a(first:%s){b}}" % ("9" * 500), {}, COMPLEX),
        ("{a(first:true){b}}", {"max_complexity": 2}, None),
        ("{a(first:10){b(first:10){c(first:10){d}}}}", {}, COMPLEX),
        ("query($n:Int=100){a(first:$n){b}}", {"max_complexity": 100}, COMPLEX),
        ("{__schema{types{name}}}", {}, None),
        ('{a:__type(name:"X"){name}}', {"introspection": False}, "introspection is not allowed"),
        ("{...F} fragment F on Query{__schema{x}}", {"introspection": False}, "introspection is not allowed"),
        ("{__typename}", {"introspection": False}, None),
        ("{...F} fragment F on X{a ...F}", {}, "a fragment contains itself"),
        ("{...F} fragment F on X{...G} fragment G on X{...F}", {}, "a fragment contains itself"),
        ("{...F}", {}, "a fragment is not defined"),
        ("{...F} fragment F on X{a} fragment F on X{b}", {}, "a fragment is defined twice"),
        ("fragment F on X{a}", {}, "the query has no operation"),
        ("type X{a:Int}", {}, "the query defines types"),
        (None, {}, "there is no query"),
        (5, {}, "there is no query"),
        (None, {"persisted": True}, None),
    ],
)
def test_operations_come_to_what_they_ask_for(
    query: Any, settings: dict[str, Any], expected: str | None
) -> None:
    assert refusal(query, **settings) == expected


@pytest.mark.parametrize(
    "variables", [{"n": 100}, {"n": 100.0}, {"n": -100}, {"n": {"first": 100}}, {"n": [{"first": 100}]}]
)
def test_variables_count_as_what_they_are(variables: dict[str, Any]) -> None:
    query = "query($n:Page=1){a(first:$n){b}}"
    assert refusal(query, variables, max_complexity=100) == COMPLEX
    assert refusal(query, variables, max_complexity=101) is None


def test_fragments_that_double_each_other_are_quick_to_refuse() -> None:
    chain = " ".join(f"fragment F{n} on X{{a{{...F{n + 1}}} b{{...F{n + 1}}}}}" for n in range(60))
    assert refusal(f"{{...F0}} {chain} fragment F60 on X{{c}}", max_tokens=5000, max_depth=200) == COMPLEX


@pytest.mark.parametrize(
    "query",
    [
        "{" * 50_000,
        "{a" * 20_000,
        "{a(b:" + "[" * 50_000,
        "{a(b:" + "{c:" * 20_000,
        "{" + "a " * 50_000 + "}",
        "\ufeff{",
        "#" * 1000,
        '{a(b:"' + "\\" * 999,
        '"""',
        "{\u0000}",
        "{ä}",
        "",
        "query",
        "}{",
    ],
)
def test_hostile_texts_are_a_400(query: str) -> None:
    with running(max_body_bytes=1_000_000) as gateway:
        assert post(gateway, query).status == 400
    with running(max_body_bytes=1_000_000, max_tokens=100_000) as gateway:
        assert post(gateway, query).status == 400


def test_what_others_have_not_counted_counts() -> None:
    nested = "a{" * 19 + "b" + "}" * 19
    assert refusal(f"{{...__schema}} fragment __schema on X{{{nested}}}") == DEEP
    aliases = " ".join(f"x{n}:b" for n in range(1000))
    assert refusal(f"{{a{{{aliases}}}}}", max_tokens=10_000, max_complexity=10_000) == ALIASES
    assert refusal(f"{{{' '.join(f'f{n}' for n in range(50))}}}") == MANY
    many = [{"query": "{a}"}] * 50
    with running() as gateway:
        assert gateway.post("/", json.dumps(many), JSON).status == 400 and gateway.received == []


def test_a_batch_counts_together() -> None:
    two = json.dumps([{"query": "{a b}"}, {"query": "{c}"}])
    for settings, status in (
        ({}, 400),
        ({"max_batch": 2}, 200),
        ({"max_batch": 2, "max_root_fields": 2}, 400),
    ):
        with running(**settings) as gateway:
            assert gateway.post("/", two, JSON).status == status
    for body in (
        "[1]",
        "[[]]",
        "5",
        '"{a}"',
        "null",
        '{"query": "{a}", "query": "{b}"}',
        '{"query": "{a}", "variables": 5}',
    ):
        with running() as gateway:
            assert gateway.post("/", body, JSON).status == 400


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "status"),
    [
        ("GET", "/?query={a}", {}, None, 200),
        ("GET", "/?query=%7Ba%7Bb%7D%7D", {}, None, 400),
        ("GET", "/?query={a}&query={a{b}}", {}, None, 400),
        ("GET", "/?query=query($n:Int){a(first:$n)}&variables={", {}, None, 400),
        ("GET", "/", {"accept": "text/html"}, None, 200),
        ("GET", "/?extensions={}", {}, None, 400),
        ("GET", "/", JSON, '{"query": "{a{b}}"}', 400),
        ("POST", "/?query={a{b}}", JSON, '{"query": "{a}"}', 400),
        ("POST", "/?variables={}", JSON, '{"query": "{a}"}', 400),
        ("POST", "/?query={a{b}}", {}, None, 400),
        ("POST", "/", {}, None, 415),
        ("POST", "/", {"content-type": "application/json; charset=utf-8"}, '{"query": "{a}"}', 200),
        ("POST", "/", {"content-type": "Application/GraphQL+JSON"}, '{"query": "{a{b}}"}', 400),
        ("POST", "/", {"content-type": "application/json; charset=utf-7"}, '{"query": "{a}"}', 415),
        ("POST", "/", {"content-type": "text/plain"}, '{"query": "{a}"}', 415),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, "query={a{b}}", 415),
        ("POST", "/", {"content-type": "multipart/form-data; boundary=x"}, "--x", 415),
        ("POST", "/", {"content-type": "application/graphql"}, "{a}", 200),
        ("POST", "/", {"content-type": "application/graphql"}, "{a{b}}", 400),
        ("POST", "/", {"content-type": "application/graphql"}, b"{\xff}", 400),
        ("PUT", "/", JSON, '{"query": "{a{b}}"}', 400),
        ("POST", "/", JSON, '{"query": "{a}", "x": "' + "x" * 102_400 + '"}', 413),
    ],
)
def test_every_way_to_ask_is_looked_at(
    method: str, target: str, headers: dict[str, str], body: Any, status: int
) -> None:
    with running(max_depth=1) as gateway:
        assert gateway.request(method, target, headers, body=body).status == status
        assert len(gateway.received) == (status == 200)


def test_what_is_remembered_of_a_text_is_its_grammar_only() -> None:
    query = "query($n:Int){a(first:$n){b}}"
    with running(max_complexity=50) as gateway:
        statuses = [post(gateway, query, {"n": number}).status for number in (10, 100, 10)]
    assert statuses == [200, 400, 200]


@pytest.mark.parametrize(
    "settings",
    [{"max_depth": 0}, {"max_batch": 0}, {"cost": {}}, {"costs": {"a": -1}}, {"max_tokens": 10**9}],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GraphqlLimits(**settings)
