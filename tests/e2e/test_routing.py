"""Routing: hosts, paths, methods, headers, queries, functions, and which route wins."""

from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve


def route(name: str, **conditions: Any) -> dict[str, Any]:
    return {"respond": {"body": name}, **conditions}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(
        {
            "routes": [
                route("host exact", host="shop.test", path="/host"),
                route("host suffix", host="*.shop.test", path="/host"),
                route("host longer suffix", host="*.eu.shop.test", path="/host"),
                route("host prefix", host="www.*", path="/host"),
                route("host regex", host=r"~^api\d+\.test$", path="/host"),
                route("host any", path="/host"),
                route("exact", path="/exact"),
                route("marked exact", path="=/marked/*"),
                route("prefix", path="/p/*"),
                route("longer prefix", path="/p/long/*"),
                route("exact below prefix", path="/p/long/exact"),
                route("parameter", path="/users/{id}"),
                route("parameter and rest", path="/users/{id}/files/{rest:path}"),
                route("literal beside parameter", path="/users/me"),
                route("regex", path=r"~^/r/\d+$"),
                route("regex without case", path=r"~*^/CASE/\w+$"),
                route("first regex", path=r"~^/two"),
                route("second regex", path=r"~^/two/b"),
                route("get", path="/method", methods="GET"),
                route("post", path="/method", methods=["POST", "put"]),
                route("header value", path="/header", headers={"x-kind": "a"}),
                route("header regex", path="/header", headers={"x-kind": "~^b+$"}),
                route("header absent", path="/header", headers={"x-kind": False}),
                route("header any", path="/header", headers={"x-kind": True}),
                route("query value", path="/query", query={"v": "1"}),
                route("query regex", path="/query", query={"v": r"~^\d\d$"}),
                route("query any", path="/query", query="v"),
                route("query none", path="/query"),
                route("plain before", path="/weight/exact"),
                route("priority", path="/weight/*", priority=10),
                route("two conditions", path="/more", headers={"a": True}, query={"b": True}),
                route("one condition", path="/more", headers={"a": True}),
                route("first of equals", path="/equal"),
                route("second of equals", path="/equal"),
            ]
        }
    )


HOSTS = [
    ("shop.test", "host exact"),
    ("SHOP.test", "host exact"),
    ("shop.test:8080", "host exact"),
    ("shop.test.", "host exact"),
    ("de.shop.test", "host suffix"),
    ("a.b.shop.test", "host suffix"),
    ("x.eu.shop.test", "host longer suffix"),
    ("www.other.test", "host prefix"),
    ("api42.test", "host regex"),
    ("apix.test", "host any"),
    ("notshop.test", "host any"),
    ("[::1]:80", "host any"),
]


@pytest.mark.parametrize(("host", "expected"), HOSTS)
def test_host_decides(gateway: RunningGateway, host: str, expected: str) -> None:
    assert gateway.get("/host", host=host).text == expected


PATHS = [
    ("/exact", "exact"),
    ("/exact?q=/other", "exact"),
    ("/exact/", None),
    ("/exac", None),
    ("/marked/*", "marked exact"),
    ("/marked/a", None),
    ("/p", "prefix"),
    ("/p/", "prefix"),
    ("/p/x/y", "prefix"),
    ("/pp", None),
    ("/p/long/x", "longer prefix"),
    ("/p/long/exact", "exact below prefix"),
    ("/p/%6Cong/x", "longer prefix"),
    ("/p/other/../long/x", "longer prefix"),
    ("/p/./long/./x", "longer prefix"),
    ("/users/7", "parameter"),
    ("/users/7/", None),
    ("/users/7/files/a/b", "parameter and rest"),
    ("/users/me", "literal beside parameter"),
    ("/r/12", "regex"),
    ("/r/x", None),
    ("/case/abc", "regex without case"),
    ("/two/b", "first regex"),
    ("/weight/exact", "priority"),
    ("/more?b=1", None),
    ("/equal", "first of equals"),
    ("/", None),
]


@pytest.mark.parametrize(("target", "expected"), PATHS)
def test_path_decides(gateway: RunningGateway, target: str, expected: str | None) -> None:
    response = gateway.get(target)
    assert (response.text if response.status == 200 else None) == expected
    assert response.status in (200, 404)


METHODS = [("GET", "get"), ("POST", "post"), ("PUT", "post")]


@pytest.mark.parametrize(("method", "expected"), METHODS)
def test_method_decides(gateway: RunningGateway, method: str, expected: str) -> None:
    with gateway.client() as client:
        assert client.request(method, "/method", body=b"").text == expected


def test_other_methods_get_405_and_the_allowed_ones(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.request("DELETE", "/method")
    assert response.status == 405
    assert {one.strip() for one in (response.get("allow") or "").split(",")} >= {"GET", "POST", "PUT"}


HEADERS = [("a", "header value"), ("bbb", "header regex"), ("zzz", "header any"), (None, "header absent")]


@pytest.mark.parametrize(("value", "expected"), HEADERS)
def test_header_decides(gateway: RunningGateway, value: str | None, expected: str) -> None:
    fields = [] if value is None else [("X-Kind", value)]
    assert gateway.get("/header", fields).text == expected


QUERIES = [
    ("?v=1", "query value"),
    ("?a=2&v=1&b=3", "query value"),
    ("?v=42", "query regex"),
    ("?v=%31", "query value"),
    ("?v", "query any"),
    ("?w=1", "query none"),
    ("", "query none"),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_query_decides(gateway: RunningGateway, query: str, expected: str) -> None:
    assert gateway.get("/query" + query).text == expected


def test_route_with_more_conditions_wins(gateway: RunningGateway) -> None:
    assert gateway.get("/more?b=1", [("A", "1")]).text == "two conditions"
    assert gateway.get("/more", [("A", "1")]).text == "one condition"


def test_path_that_climbs_out_or_holds_nul_is_refused(gateway: RunningGateway) -> None:
    assert gateway.get("/p/%00").status == 400
    assert gateway.get("/../p/x").status in (200, 400)


FUNCTION_GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)

def is_beta(request):
    return request.headers.get("x-user", "").endswith("7")

def broken(request):
    raise RuntimeError("matcher is broken")

@gate.route("/who/{name}", when=lambda request: request.query == "json")
def shown(request):
    from headgate import Response
    return Response.json({"params": dict(request.params), "route": request.route_name})

gate.route("/f", when=is_beta, respond="beta")
gate.route("/f", respond="plain")
gate.route("/broken", when=broken, respond="never")
gate.route("/broken", respond="fallback")
gate.route("/open", when=broken, respond="never", on_error="open")
gate.route("/open", respond="fallback")
"""


@pytest.fixture(scope="module")
def function_gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(FUNCTION_GATE)


@pytest.mark.parametrize(("user", "expected"), [("user7", "beta"), ("user8", "plain")])
def test_function_decides(function_gateway: RunningGateway, user: str, expected: str) -> None:
    assert function_gateway.get("/f", [("X-User", user)]).text == expected


def test_matcher_that_raises_gives_500_and_no_other_route_is_taken(function_gateway: RunningGateway) -> None:
    before = function_gateway.counter("hook_failures")
    response = function_gateway.get("/broken")
    assert response.status == 500 and "fallback" not in response.text
    function_gateway.wait_for_log("matcher is broken")
    assert function_gateway.counter("hook_failures") == before + 1


def test_matcher_that_fails_open_counts_as_no(function_gateway: RunningGateway) -> None:
    assert function_gateway.get("/open").text == "fallback"


def test_parameters_are_given_decoded(function_gateway: RunningGateway) -> None:
    assert function_gateway.get("/who/J%C3%B6rg?json").json()["params"] == {"name": "Jörg"}


def test_lambda_may_be_a_matcher(function_gateway: RunningGateway) -> None:
    assert function_gateway.get("/who/x?html").status == 404


PREFIXES = [
    ("/strip/a/b?q=1", "/a/b?q=1"),
    ("/strip", "/"),
    ("/strip/", "/"),
    ("/replace/a", "/v2/a"),
    ("/add/a", "/base/add/a"),
    ("/strip/%2Fa", "/%2Fa"),
]


@pytest.mark.parametrize(("target", "expected"), PREFIXES)
def test_prefix_is_changed_on_the_way(prefix_gateway: RunningGateway, target: str, expected: str) -> None:
    assert prefix_gateway.get(target).json()["target"] == expected


@pytest.fixture(scope="module")
def prefix_gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    routes = [
        {"path": "/strip/*", "to": origin.address, "strip_prefix": "/strip"},
        {"path": "/replace/*", "to": origin.address, "strip_prefix": "/replace", "replace_prefix": "/v2"},
        {"path": "/add/*", "to": origin.address, "replace_prefix": "/base"},
    ]
    return serve_module({"routes": routes})


def test_ten_thousand_routes_are_told_apart(serve: Serve) -> None:
    routes = [
        route(f"{host}-{path}", host=f"h{host}.test", path=f"/p{path}/*")
        for host in range(1000)
        for path in range(10)
    ]
    gateway = serve({"routes": routes})
    with gateway.client() as client:
        for host, path in ((0, 0), (999, 9), (500, 5)):
            assert client.get(f"/p{path}/x", host=f"h{host}.test").text == f"{host}-{path}"
        assert client.get("/p1/x", host="h1000.test").status == 404
