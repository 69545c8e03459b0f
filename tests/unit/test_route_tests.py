"""Which route takes a request, and why not the others: in the words of the command line and of the API."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headgate.cli.app import app
from headgate.compile.loading import load
from headgate.compile.order import compile_gateway
from headgate.compile.route_tests import RouteTest, route_test
from headgate.config.errors import ConfigError

FILE = """
listeners: ":8080"
path: {encoded_slashes: refuse}
routes:
  - {name: item, host: api.example.com, path: "/items/{id}", methods: [GET], respond: ok}
  - {name: version, host: api.example.com, path: "/items/*", headers: {x-version: "2"}, respond: ok}
  - {name: asked, host: api.example.com, path: "/items/*", query: {preview: null}, respond: ok}
  - {name: rest, host: "*.example.com", path: "/items/*", priority: -1, respond: ok}
  - {name: other, host: other.example.com, path: /, respond: ok}
  - {name: static, path: /static/x, respond: ok}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gate.yaml"
    path.write_text(FILE)
    return path


def asked(file: Path, method: str, url: str, **headers: str) -> RouteTest:
    return route_test(compile_gateway(load(file)).snapshot, method, url, headers.items())


def kinds(found: RouteTest) -> dict[str, str]:
    return {one.route: one.kind for one in found.verdicts}


def test_each_route_has_a_verdict_in_the_order_of_choice(file: Path) -> None:
    found = asked(file, "GET", "https://API.example.com:443/items/7?x=1")
    assert (found.status, found.route, found.path) == (None, "item", "/items/7")
    assert [(one.route, one.kind) for one in found.verdicts] == [
        ("item", "takes"), ("version", "header"), ("asked", "query"), ("rest", "later"),
        ("other", "host"), ("static", "path"),
    ]  # fmt: skip
    reasons = {one.route: one.reason for one in found.verdicts}
    assert reasons["version"] == "the condition on the header field `x-version` does not hold"
    assert reasons["asked"] == "the condition on the query parameter `preview` does not hold"


@pytest.mark.parametrize(
    ("method", "url", "headers", "route", "status"),
    [
        ("GET", "http://api.example.com/items/7", {}, "item", None),
        ("HEAD", "http://api.example.com/items/7", {}, "item", None),
        ("POST", "http://api.example.com/items/7", {"X-Version": "2"}, "version", None),
        ("POST", "http://api.example.com/items/7", {}, "rest", None),
        ("GET", "http://x.example.com/items/7", {}, "rest", None),
        ("GET", "http://api.example.com/a/../items/7", {}, "item", None),
        ("GET", "http://api.example.com/a%2Fb", {}, None, 400),
        ("GET", "http://nobody.example.org/", {}, None, 404),
        ("GET", "http://other.example.com", {}, "other", None),
    ],
)
def test_what_the_gateway_would_do(
    file: Path, method: str, url: str, headers: dict[str, str], route: str | None, status: int | None
) -> None:
    found = asked(file, method, url, **headers)
    assert (found.route, found.status) == (route, status)


def test_a_method_alone_is_405_and_says_which_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text('listeners: ":8080"\nroutes: [{name: only, path: /, methods: [PUT, GET], respond: ok}]\n')
    found = asked(path, "POST", "http://a/")
    assert (found.status, found.route) == (405, None)
    assert found.verdicts[0].reason == "only PUT, GET allowed"


def test_a_function_is_not_called(tmp_path: Path) -> None:
    path = tmp_path / "gate.py"
    path.write_text("""
from headgate import Gateway
gate = Gateway()
gate.listen(":8080")
def never(request):
    raise SystemExit("it was called")
gate.route("/", name="some", when=never, respond="ok")
gate.route("/*", name="rest", respond="ok")
""")
    found = asked(path, "GET", "http://a/")
    assert kinds(found) == {"some": "function", "rest": "takes"} and found.status is None


@pytest.mark.parametrize(
    ("method", "url", "said"),
    [
        ("GET", "/x", "is not a valid URL"),
        ("GET", "ftp://a/", "is not a valid URL"),
        ("GET", "http://u:p@a/", "is not a valid URL"),
        ("GET", "http://a:x/", "is not a valid URL"),
        ("GET", "http://a/ b", "the URL is not valid"),
        ("G T", "http://a/", "is not a valid method"),
    ],
)
def test_what_is_not_a_request_is_refused(file: Path, method: str, url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(file, method, url)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--test", "GET https://api.example.com/items/7"], 0, "item takes /items/7"),
        (["--test", "https://api.example.com/items/7"], 0, "item takes /items/7"),
        (["--test", "POST http://api.example.com/items/7", "--header", "x-version: 2"], 0, "version takes"),
        (["--test", "GET http://nobody/"], 1, "the request gets 404"),
        (["--test", "GET http://api.example.com/%2f"], 1, "the request gets 400"),
        (["--test", "GET nowhere"], 2, "is not a valid URL"),
    ],
)
def test_the_command_says_it_and_ends_accordingly(
    file: Path, arguments: list[str], code: int, said: str
) -> None:
    result: Any = CliRunner().invoke(app, ["routes", str(file), *arguments])
    assert (result.exit_code, said in result.output) == (code, True), result.output
