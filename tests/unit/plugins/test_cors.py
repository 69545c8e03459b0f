"""cors: which origins may read, what preflights get, and what is never allowed by mistake."""

from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import Cors, KeyAuth
from headgate.testing import Fault, TestGateway, TestResponse

APP = "https://app.example"
PREFLIGHT = {"access-control-request-method": "PUT"}


def ask(
    settings: dict[str, Any], origin: str | None, method: str = "GET", server: Any = "ok", **more: Any
) -> TestResponse:
    gate = Gateway()
    gate.route("/", to="server.test:80", methods=more.pop("methods", ()), max_body_bytes=10)
    if more.pop("auth", False):
        gate.use(KeyAuth(keys={"a": "k"}))
    gate.use(Cors(**settings))
    headers = {**({"origin": origin} if origin is not None else {}), **more.pop("headers", {})}
    with TestGateway(gate, upstreams={"server.test:80": server}) as gateway:
        return gateway.request(method, more.pop("target", "/"), headers, **more)


def fields(response: TestResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize(
    "asking",
    [
        "https://app.example.evil.example",
        "https://evil-app.example",
        "https://appXexample",
        "https://app.example:8443",
        "http://app.example",
        "https://APP.example",
        "null",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("allowed", [APP, r"~https://app\.example"])
def test_only_the_whole_origin_is_allowed(asking: str, allowed: str) -> None:
    assert fields(ask({"origins": [allowed]}, APP)) == {"access-control-allow-origin": APP}
    assert fields(ask({"origins": [allowed]}, asking)) == {}


@pytest.mark.parametrize("origins", [["~.*"], ["~https?://.*"], ["~null|https://a"], [r"~.+\.invalid"]])
def test_a_pattern_for_everybody_is_refused(origins: list[str]) -> None:
    with pytest.raises(ConfigError, match="matches any origin"):
        Cors(origins=origins)


@pytest.mark.parametrize(
    "asking", ["app.example", "https://app.example/", "HTTPS://app.example", "https://", ""]
)
def test_what_is_no_origin_is_refused(asking: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid origin"):
        Cors(origins=[asking])


def test_everybody_with_credentials_is_refused() -> None:
    with pytest.raises(ConfigError, match="list the origins"):
        Cors(origins=["*"], credentials=True)


def test_null_is_allowed_only_when_it_is_listed() -> None:
    assert fields(ask({"origins": ["null"]}, "null")) == {"access-control-allow-origin": "null"}
    assert fields(ask({"origins": ["null"]}, APP)) == {}


@pytest.mark.parametrize("server", ["ok", Response(304), Response(404), Fault.REFUSE])
@pytest.mark.parametrize("asking", [None, "https://other.example", APP])
def test_vary_stands_on_every_response(asking: str | None, server: Any) -> None:
    assert "Origin" in ask({"origins": [APP]}, asking, server=server).headers["vary"]


def test_vary_joins_the_servers_and_is_left_out_where_all_may_ask() -> None:
    coded = Response(200, headers={"vary": "accept-encoding"})
    assert ask({"origins": [APP]}, APP, server=coded).headers["vary"] == "accept-encoding, Origin"
    assert ask({"origins": ["*"]}, APP, server=coded).headers["vary"] == "accept-encoding"
    assert ask({"origins": ["*"]}, APP, server=coded).headers["access-control-allow-origin"] == "*"


def test_what_the_server_says_of_cors_is_replaced() -> None:
    loose = Response(
        200, headers={"access-control-allow-origin": "*", "access-control-allow-credentials": "true"}
    )
    assert fields(ask({"origins": [APP]}, "https://other.example", server=loose)) == {}
    assert fields(
        ask({"origins": [APP], "credentials": True, "expose": ["x-a", "x-b"]}, APP, server=loose)
    ) == {
        "access-control-allow-origin": APP,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-a, x-b",
    }


@pytest.mark.parametrize("case", ["plain", "auth", "method without a route"])
def test_a_preflight_gets_its_response_here(case: str) -> None:
    more: dict[str, Any] = {"headers": PREFLIGHT, "auth": case == "auth"}
    if case == "method without a route":
        more["methods"] = ["PUT"]
    settings = {"origins": [APP], "methods": ["PUT"], "headers": ["x-token"], "max_age": 60}
    response = ask(settings, APP, "OPTIONS", Response(500), **more)
    assert (response.status, fields(response)) == (
        204,
        {
            "access-control-allow-origin": APP,
            "access-control-allow-methods": "PUT",
            "access-control-allow-headers": "x-token",
            "access-control-max-age": "60",
        },
    )


def test_preflight_of_an_unknown_origin_gets_no_permission() -> None:
    response = ask({"origins": [APP]}, "https://other.example", "OPTIONS", Response(500), headers=PREFLIGHT)
    assert (response.status, fields(response)) == (204, {})


@pytest.mark.parametrize("headers", [{}, PREFLIGHT])
def test_other_options_requests_go_on(headers: dict[str, str]) -> None:
    origin = None if headers else APP
    assert (
        ask({"origins": [APP]}, origin, "OPTIONS", "from the server", headers=headers).text
        == "from the server"
    )
    assert ask({"origins": [APP]}, APP, "OPTIONS", auth=True).status == 401


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (401, {"auth": True}),
        (413, {"method": "POST", "body": "more than ten bytes"}),
        (502, {"server": Fault.REFUSE}),
        (404, {"target": "/nowhere/at/all?x"}),
        (405, {"methods": ["PUT"]}),
    ],
)
def test_errors_of_the_gateway_carry_the_fields(status: int, more: dict[str, Any]) -> None:
    if status == 404:
        gate = Gateway()
        gate.route("=/only", respond="x")
        gate.use(Cors(origins=[APP]))
        with TestGateway(gate) as gateway:
            response = gateway.get("/nowhere", {"origin": APP})
    else:
        response = ask({"origins": [APP]}, APP, **more)
    assert response.status == status
    assert fields(response) == {"access-control-allow-origin": APP}
