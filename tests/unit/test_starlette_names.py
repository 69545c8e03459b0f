"""`request.query_params`, `request.cookies` and `response.set_cookie` do what Starlette's of the same names do."""

import http.cookies
import inspect
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.datastructures import QueryParams as TheirQueryParams
from starlette.requests import Request as TheirRequest
from starlette.responses import Response as TheirResponse

from headgate import QueryParams, Request, Response, ResponseView
from headgate._cookies import read
from headgate.testing import run_hook

QUERIES = ["", "a=1", "a=1&a=2&b=", "a", "a=%C3%A4+x&%20=1", "&&=&a==b", "a=1;b=2", "q=%zz", "A=1&a=2"]
COOKIES = [
    [],
    ["a=1"],
    ["a=1; b=2; a=3"],
    ['a="quo\\054ted"; b='],
    ["lonely; =empty; x = y ;;"],
    ["a=1", "b=2; a=4"],
    ["a=b=c"],
]
SET: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a",), {}),
    (("a", 'b c;"d'), {}),
    (("a", "b", 60), {"secure": True, "httponly": True}),
    (("a", "b"), {"expires": datetime(2030, 1, 2, tzinfo=UTC), "domain": "example.com"}),
    (("a", "b"), {"expires": "Thu, 01 Jan 1970 00:00:00 GMT", "path": None}),
    (("a", "b"), {"samesite": None, "path": "/x"}),
    (("a", "b"), {"samesite": "strict", "max_age": 0}),
]


@pytest.mark.parametrize("query", QUERIES)
def test_query_params(query: str) -> None:
    ours, theirs = QueryParams(query), TheirQueryParams(query)
    assert dict(ours) == dict(theirs) and list(ours) == list(theirs) and len(ours) == len(theirs)
    assert ours.multi_items() == theirs.multi_items()
    assert str(ours) == str(theirs) and repr(ours) == repr(theirs)
    for name in [*theirs, "missing"]:
        assert ours.getlist(name) == theirs.getlist(name)
        assert ours.get(name, "none") == theirs.get(name, "none") and (name in ours) == (name in theirs)
    assert ours == QueryParams(theirs.multi_items()) and hash(ours) == hash(QueryParams(query))


@pytest.mark.parametrize("query", QUERIES)
def test_query_params_of_a_request(query: str) -> None:
    seen: list[QueryParams] = []

    def look(request: Request) -> None:
        seen.append(request.query_params)

    run_hook(look, target=f"/?{query}")
    assert seen == [QueryParams(query)]


@pytest.mark.parametrize("fields", COOKIES)
def test_cookies_of_a_request(fields: list[str]) -> None:
    scope = {"type": "http", "headers": [(b"cookie", field.encode()) for field in fields]}
    seen: list[dict[str, str]] = []

    def look(request: Request) -> None:
        seen.append(request.cookies)

    run_hook(look, headers=[("cookie", field) for field in fields])
    assert seen == [TheirRequest(scope).cookies]


def fields(response: TheirResponse) -> list[str]:
    return [value.decode() for name, value in response.raw_headers if name == b"set-cookie"]


@pytest.mark.parametrize(("positional", "named"), SET)
@pytest.mark.parametrize("kind", ["made", "view"])
def test_set_cookie(positional: tuple[Any, ...], named: dict[str, Any], kind: str) -> None:
    theirs = TheirResponse()
    theirs.set_cookie(*positional, **named)

    def made(request: Request) -> Response:
        response = Response(200)
        response.set_cookie(*positional, **named)
        return response

    def view(request: Request, response: ResponseView) -> None:
        response.set_cookie(*positional, **named)

    response = run_hook(made)[0] if kind == "made" else run_hook(view, phase="response")[0]
    assert response.headers.get_all("set-cookie") == fields(theirs)


def test_a_cookie_is_added_to_those_that_are_there() -> None:
    def view(request: Request, response: ResponseView) -> None:
        response.set_cookie("ours", "1")
        response.delete_cookie("theirs", path="/x", domain="example.com", secure=True)

    response = run_hook(view, phase="response", server=Response(200, headers={"set-cookie": "theirs=1"}))[0]
    theirs = TheirResponse()
    theirs.set_cookie("ours", "1")
    theirs.delete_cookie("theirs", path="/x", domain="example.com", secure=True)
    # the date of deletion is a moment; all else is compared
    assert [f.partition("expires=")[0] for f in response.headers.get_all("set-cookie")] == [
        f.partition("expires=")[0] for f in ["theirs=1", *fields(theirs)]
    ]


def test_delete_cookie_of_a_response() -> None:
    ours, theirs = Response(200), TheirResponse()
    ours.delete_cookie("a", path="/x", httponly=True, samesite="none")
    theirs.delete_cookie("a", path="/x", httponly=True, samesite="none")
    assert _without_date(ours.headers["set-cookie"]) == _without_date(fields(theirs)[0])


def _without_date(field: str) -> list[str]:
    return [part for part in field.split("; ") if not part.startswith("expires=")]


def test_partitioned_cookies_are_written_on_every_python() -> None:
    response = Response(200)
    response.set_cookie("a", "1", secure=True, partitioned=True)
    assert response.headers["set-cookie"].endswith("; Partitioned")


@pytest.mark.parametrize("kind", [Response, ResponseView])
@pytest.mark.parametrize("name", ["set_cookie", "delete_cookie"])
def test_signatures_and_defaults_are_those_of_starlette(kind: type, name: str) -> None:
    ours = inspect.signature(getattr(kind, name)).parameters
    theirs = inspect.signature(getattr(TheirResponse, name)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("a b", {}),
        ("a;b", {}),
        ("", {}),
        ("a", {"samesite": "sometimes"}),
        ("a", {"path": "/; Domain=x"}),
        ("a", {"domain": "a\nb"}),
        ("a", {"expires": "0;x"}),
    ],
)
def test_what_no_cookie_can_say_is_refused(key: str, named: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        Response(200).set_cookie(key, "1", **named)


def test_quoted_cookies_are_read_in_one_pass() -> None:
    """`http.cookies` of older Pythons takes minutes for it (CVE-2024-7592)."""
    for quoted in ['"a\\"b"', '"\\377\\012"', '"a\\\\"', '"', '""', '"\\0"', '"\\400"', "x"]:
        assert read([f"a={quoted}"])["a"] == http.cookies._unquote(quoted)
    assert read(['a="' + '\\"' * 500_000 + '"']) == {"a": '"' * 500_000}


@pytest.mark.parametrize(
    "body", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "{", "", "NaN", "[-Infinity]"]
)
def test_json_that_cannot_be_read_is_a_value_error(body: str) -> None:
    seen: list[str] = []

    async def read(request: Request) -> None:
        try:
            await request.json()
        except ValueError as error:
            seen.append(str(error))

    run_hook(read, method="POST", body=body)
    assert len(seen) == 1
