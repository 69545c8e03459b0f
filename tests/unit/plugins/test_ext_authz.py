"""ext-authz: what services see and say, over gRPC from a real server and over HTTP, and services that are away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from e2e.kit.grpc_server import grpc_server
from envoy.service.auth.v3 import external_auth_pb2 as messages
from envoy.service.auth.v3 import external_auth_pb2_grpc as services
from google.protobuf import json_format

from headgate import ConfigError, Gateway, Response
from headgate.plugins import ExtAuthz
from headgate.testing import Fault, TestGateway

SERVER, HTTP = "server.test:80", "http://authz.test/auth"
Check = Callable[[Any, Any], Any]


class Authorizer(services.AuthorizationServicer):
    def __init__(self, check: Check) -> None:
        self.check = check
        self.seen: list[Any] = []

    def Check(self, request: Any, context: Any) -> Any:
        self.seen.append(request)
        return self.check(request, context)


def reply(document: dict[str, Any]) -> Any:
    return json_format.ParseDict(document, messages.CheckResponse())


@contextmanager
def running(said: Any, **settings: Any) -> Iterator[tuple[TestGateway, Authorizer]]:
    authorizer = Authorizer(said if callable(said) else lambda *_: reply(said))
    with grpc_server(lambda one: services.add_AuthorizationServicer_to_server(authorizer, one)) as url:
        gate = Gateway()
        gate.route("/", to=SERVER)
        gate.use(ExtAuthz(grpc=url, **{"copy": ["x-user", "x-role"], "timeout": 5, **settings}))
        with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
            yield gateway, authorizer


def option(key: str, value: str, **more: Any) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, **more}


def test_the_service_sees_the_request_as_envoy_tells_it() -> None:
    with running({}, context_extensions={"area": "api"}, max_body_bytes=100) as (gateway, authorizer):
        headers = [("X-A", "1"), ("X-A", "2"), ("Host", "site.example"), ("X-Forwarded-Proto", "https")]
        assert (
            gateway.request("PUT", "/a%20b?x=1", headers, address="203.0.113.7", body="b\xff").status == 200
        )
    (seen,) = authorizer.seen
    http = seen.attributes.request.http
    assert (http.method, http.path, http.host, http.scheme) == ("PUT", "/a%20b?x=1", "site.example", "http")
    assert dict(http.headers) == {"x-a": "1,2"}
    assert (http.raw_body, http.size, http.protocol) == ("b\xff".encode(), 3, "HTTP/1.1")
    assert seen.attributes.source.address.socket_address.address == "203.0.113.7"
    assert dict(seen.attributes.context_extensions) == {"area": "api"}
    assert seen.attributes.request.time.seconds > 0


def test_what_it_sets_replaces_what_clients_send() -> None:
    ok = {
        "headers": [
            option("X-User", "alice"),
            option("x-role", "a"),
            option("x-role", "b", append=True),
            option("x-else", "not in copy"),
        ],
        "headersToRemove": ["X-Gone", "host", ":path"],
        "responseHeadersToAdd": [option("x-for-client", "1"), option("x-for-client", "2")],
        "queryParametersToSet": [{"key": "q", "value": "a&b"}],
        "queryParametersToRemove": ["gone"],
    }
    with running({"okResponse": ok}) as (gateway, _):
        headers = {"x-user": "admin", "X_Role": "admin", "x-gone": "1", "x-else": "mine"}
        response = gateway.get("/a?q=1&gone=2&kept=%20", headers)
        received = gateway.received[0]
    assert response.headers.get_all("x-for-client") == ["1", "2"]
    assert received.target == "/a?kept=+&q=a%26b"
    assert received.headers.get_all("x-user") == ["alice"]
    assert received.headers.get_all("x-role") == ["a", "b"]
    assert received.headers["x-else"] == "mine"
    assert "x-gone" not in received.headers


def test_a_client_cannot_say_what_the_service_leaves_out() -> None:
    with running({}) as (gateway, _):
        gateway.get("/", {"X-User": "admin", "x_role": "admin"})
        assert not {"x-user", "x_role", "x-role"} & set(gateway.received[0].headers)


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        ({"status": {"code": 7}}, 403, ""),
        ({"status": {"code": 16}, "deniedResponse": {"status": {"code": 401}, "body": "who?"}}, 401, "who?"),
        ({"status": {"code": 7}, "deniedResponse": {"status": {"code": 302}, "body": "x"}}, 302, "x"),
        ({"status": {"code": 7}, "deniedResponse": {"headers": [option("a b", "c")]}}, 503, None),
        ({"status": {"code": 7}, "deniedResponse": {"headers": [option("content-length", "5")]}}, 503, None),
        ({"status": {"code": 7}, "okResponse": {}}, 403, ""),
        ({"okResponse": {"headers": [option("x-user", "a\r\nx-b: c")]}}, 503, None),
        ({"errorResponse": {"status": {"code": 500}}}, 503, None),
    ],
)
def test_only_status_zero_lets_in(said: dict[str, Any], status: int, body: str | None) -> None:
    with running(said) as (gateway, _):
        response = gateway.get("/")
        assert response.status == status
        assert body is None or response.text == body
        assert gateway.received == []


def test_a_refusal_has_the_fields_of_the_service() -> None:
    denied = {
        "status": {"code": 401},
        "headers": [option("WWW-Authenticate", "Bearer"), option("set-cookie", "a=1")],
    }
    with running({"status": {"code": 16}, "deniedResponse": denied}) as (gateway, _):
        response = gateway.get("/")
        assert (response.headers["www-authenticate"], response.headers["set-cookie"]) == ("Bearer", "a=1")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
@pytest.mark.parametrize(("when_away", "status"), [("closed", 503), ("open", 200)])
def test_a_service_that_fails_is_away(code: Any, when_away: str, status: int) -> None:
    with running(lambda _, context: context.abort(code, "no"), when_away=when_away) as (gateway, _):
        assert gateway.get("/", {"x-user": "admin"}).status == status
        assert all("x-user" not in one.headers for one in gateway.received)


def test_a_service_that_is_late_or_too_loud_is_away() -> None:
    big = {"okResponse": {"headers": [option("x-user", "a" * 300_000)]}}
    with running(big) as (gateway, _):
        assert gateway.get("/").status == 503
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(ExtAuthz(grpc="grpc://127.0.0.1:1", timeout=0.5))
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/").status == 503


def test_bodies_are_bounded() -> None:
    with running({}, max_body_bytes=10) as (gateway, authorizer):
        assert gateway.request("POST", "/", body="x" * 11).status == 413
        assert gateway.request("POST", "/", {"content-encoding": "gzip"}, body="x").status == 415
        assert authorizer.seen == []


def over_http(result: Any, **settings: Any) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(ExtAuthz(http=HTTP, **{"copy": ["x-user"], **settings}))
    return TestGateway(gate, upstreams={SERVER: "ok", "http://authz.test": result})


def test_over_http_it_gets_method_and_target() -> None:
    allowed = Response(200, headers=[("x-user", "alice"), ("x-else", "1")])
    with over_http(allowed) as gateway:
        assert gateway.request("DELETE", "/a%2Fb?c", {"x-user": "admin", "x-a": "1"}).status == 200
        asked, sent = gateway.received
    assert (asked.method, asked.target, asked.headers["x-a"]) == ("DELETE", "/auth/a%2Fb?c", "1")
    assert (sent.headers.get_all("x-user"), "x-else" in sent.headers) == (["alice"], False)


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Response(201), 201),
        (Response(401, "who?"), 401),
        (Response.redirect("https://login.example/"), 307),
        (Response(500), 503),
        (Fault.REFUSE, 503),
    ],
)
def test_over_http_nothing_but_200_lets_in(result: Any, status: int) -> None:
    with over_http(result) as gateway:
        assert gateway.get("/").status == status
        assert [one for one in gateway.received if one.upstream] == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"grpc": "grpc://a:1", "http": "http://a"},
        {"grpc": "http://a:1"},
        {"grpc": "grpc://a"},
        {"grpc": "grpc://a:99999"},
        {"grpc": "grpc://a:1/path"},
        {"http": "grpc://a:1"},
        {"grpc": "grpc://a:1", "copy": ["host"]},
        {"grpc": "grpc://a:1", "copy": ["a b"]},
        {"grpc": "grpc://a:1", "timeout": 0},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Gateway().use(ExtAuthz(**settings))
