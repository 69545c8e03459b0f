"""Plugins that work with other services, over real sockets, with several workers and services that come and go."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, services
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import RawClient, RawResponse
from e2e.kit.grpc_server import grpc_server
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from envoy.service.auth.v3.external_auth_pb2_grpc import add_AuthorizationServicer_to_server
from google.protobuf import json_format

from headgate.plugins._sigv4 import canonical_path, canonical_request, signature, signing_key


def document(origin: Origin, *plugins: dict[str, Any]) -> dict[str, Any]:
    return {"routes": [{"path": "/", "to": origin.address}], "plugins": list(plugins)}


def ask(gateway: RunningGateway, path: str, *fields: tuple[str, str], body: bytes = b"") -> RawResponse:
    with RawClient(gateway.address) as client:
        return client.request("POST" if body else "GET", path, fields, body=body or None)


def test_forward_auth_lets_in_refuses_and_closes_without_its_service(serve: Serve, origin: Origin) -> None:
    def verify(call: Call) -> None:
        if call.get("cookie") == "session=good":
            call.respond(fields=[("X-User", "alice")])
        else:
            fields = [("Location", "https://login.example/"), ("Set-Cookie", "a=1")]
            call.respond(b"login", status="302 Found", fields=fields)

    with Origin() as service:
        service.on("/verify", verify)
        config = {"url": f"http://{service.address}/verify", "copy": ["x-user"], "timeout": 1}
        use = {"plugin": "forward-auth", "on": "/private/*", "config": config}
        gateway = serve(document(origin, use), workers=2)
        refused = ask(gateway, "/private/x", ("X-User", "admin"))
        assert (refused.status, refused.get("location"), refused.get("set-cookie"), refused.body) == (
            302,
            "https://login.example/",
            "a=1",
            b"login",
        )
        good = ("Cookie", "session=good")
        with ThreadPoolExecutor(10) as pool:
            many = list(
                pool.map(lambda n: ask(gateway, f"/private/{n}", good, body=b"x" * 9000).status, range(40))
            )
        assert many == [200] * 40
        assert {call.get("x-user") for call in origin.calls} == {"alice"}
        assert {call.read_body() for call in origin.at("/private/3")} == {b"x" * 9000}
        asked = [call for call in service.calls if call.get("x-forwarded-uri") == "/private/3"]
        assert [
            (call.method, call.get("x-forwarded-method"), call.get("content-length")) for call in asked
        ] == [("GET", "POST", None)]
        service.on("/verify", hang)
        assert ask(gateway, "/private/x", good).status == 503
        service.on("/verify", reply(status="500 Internal Server Error"))
        assert ask(gateway, "/private/x", good).status == 503
    assert ask(gateway, "/private/x", good).status == 503
    assert ask(gateway, "/open").status == 200
    gateway.wait_for_log("the service is unavailable")


def test_what_is_signed_is_what_arrives(serve: Serve, origin: Origin) -> None:
    keys = {"access_key": "AK", "secret_key": "secret", "region": "eu-central-1"}
    host = "files.s3.eu-central-1.amazonaws.com"
    stream = {**keys, "service": "s3", "host": host, "unsigned_body": True}
    gateway = serve(
        document(
            origin,
            {"plugin": "aws-sigv4", "on": "/files/*", "config": stream},
            {"plugin": "aws-sigv4", "name": "call", "on": "/call/*", "config": {**keys, "service": "lambda"}},
        ),
        workers=2,
    )
    hostile = [("Authorization", "mine"), ("X-Amz-Acl", "public-read"), ("X_Amz_Date", "mine")]
    for path in ("/files/a%20%C3%A4+b?x=a+b&acl&=1", "/call/%41rn%3aaws?b=2&a=1"):
        assert ask(gateway, path, *hostile, body=b"x" * 50_000).status == 200
    for call, service, digest in zip(
        origin.calls,
        ("s3", "lambda"),
        ("UNSIGNED-PAYLOAD", hashlib.sha256(b"x" * 50_000).hexdigest()),
        strict=True,
    ):
        path, _, query = call.target.partition("?")
        names = ("host", "x-amz-content-sha256", "x-amz-date")
        fields = [(name, call.get(name) or "") for name in names]
        moment = fields[2][1]
        canonical = canonical_request(
            "POST", canonical_path(path, is_s3=service == "s3"), query, fields, digest
        )
        key = signing_key("secret", moment[:8], "eu-central-1", service)
        scope = f"{moment[:8]}/eu-central-1/{service}/aws4_request"
        mac = signature(key, moment, scope, canonical.text)
        said = f"Credential=AK/{scope}, SignedHeaders={';'.join(names)}, Signature={mac}"
        assert call.all("authorization") == [f"AWS4-HMAC-SHA256 {said}"]
        assert call.get("x-amz-acl") is None and call.read_body() == b"x" * 50_000


def test_a_webhook_is_taken_once_by_all_workers(serve: Serve, origin: Origin) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    check = {"plugin": "webhooks", "on": "/in/*", "config": {"verify": {"secrets": [secret]}}}
    sign = {"plugin": "webhooks", "name": "out", "on": "/out/*", "config": {"sign": {"secrets": [secret]}}}
    gateway = serve(document(origin, check, sign), workers=2)
    assert ask(gateway, "/out/x", body=b"{}" * 20_000).status == 200
    (call,) = origin.calls
    fields = [
        (name, call.get(name) or "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ]
    with ThreadPoolExecutor(10) as pool:
        many = list(pool.map(lambda _: ask(gateway, "/in/x", *fields, body=b"{}" * 20_000).status, range(20)))
    assert sorted(many) == [200] + [409] * 19
    assert ask(gateway, "/in/x", *fields, body=b"{} ").status == 403
    (taken,) = origin.at("/in/x")
    assert taken.read_body() == b"{}" * 20_000


POLICY = """
package http

import rego.v1

default allow := false

allow if input.request.path == ["public"]

allow if {
    input.consumer.groups[_] == "staff"
    input.request.method == "GET"
}

default decide := {"allow": false, "status": 429, "headers": {"Retry-After": "7"}, "body": {"error": "no"}}

decide := {"allow": true, "headers": {"x-role": "editor"}} if input.request.body.title
"""


@pytest.mark.skipif(services.opa_program() is None, reason="no opa here")
def test_a_real_agent_decides_and_nobody_comes_in_without_it(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    with services.opa(tmp_path, POLICY, token="the-token-of-the-gateway") as url:
        shared = {"url": url, "token": "the-token-of-the-gateway"}
        decide = {**shared, "policy": "http/decide", "body": True, "copy": ["x-role"]}
        gateway = serve(
            {
                **document(
                    origin,
                    {"plugin": "key-auth", "config": {"anonymous": "guest"}},
                    {
                        "plugin": "opa",
                        "when": 'request.method == "GET"',
                        "config": {**shared, "policy": "http/allow"},
                    },
                    {"plugin": "opa", "name": "bodies", "on": "/posts/*", "config": decide},
                    {
                        "plugin": "opa",
                        "name": "undefined",
                        "on": "/nobody/*",
                        "config": {**shared, "policy": "no/such"},
                    },
                    {
                        "plugin": "opa",
                        "name": "stranger",
                        "on": "/stranger/*",
                        "config": {"url": url, "policy": "http/allow", "when_away": "open"},
                    },
                ),
                "consumers": {"alice": {"keys": "a", "groups": ["staff"]}, "bob": "b"},
            },
            workers=2,
        )
        kind = ("Content-Type", "application/json")
        alice, bob, role = ("X-API-Key", "a"), ("X-API-Key", "b"), ("X-Role", "admin")
        assert [ask(gateway, "/x", *one).status for one in ((), (alice,), (bob,))] == [403, 200, 403]
        assert [ask(gateway, path).status for path in ("/public", "/%70ublic", "/public/")] == [200, 200, 403]
        refused = ask(gateway, "/posts/1", alice, kind, role, body=b"{}")
        assert (refused.status, refused.get("retry-after"), refused.body) == (429, "7", b'{"error":"no"}')
        assert ask(gateway, "/posts/2", alice, kind, role, body=b'{"title": "x"}').status == 200
        assert origin.at("/posts/2")[0].all("x-role") == ["editor"] and not origin.at("/posts/1")
        assert ask(gateway, "/nobody/x", body=b"x").status == 403
        assert ask(gateway, "/stranger/x", alice, body=b"x").status == 503
        gateway.wait_for_log("the status is 401")
    assert ask(gateway, "/public").status == 503
    gateway.wait_for_log("the service is unavailable")


def test_ext_authz_survives_its_service(serve: Serve, origin: Origin) -> None:
    def check(request: Any, context: Any) -> Any:
        is_known = request.attributes.request.http.headers["x-who"] == "alice"
        said = {"okResponse": {"headers": [{"header": {"key": "x-user", "value": "alice"}}]}}
        return json_format.ParseDict(said if is_known else {"status": {"code": 7}}, CheckResponse())

    add = partial(add_AuthorizationServicer_to_server, SimpleNamespace(Check=check))
    with grpc_server(add) as url:
        use = {"plugin": "ext-authz", "config": {"grpc": url, "copy": ["x-user"], "timeout": 2}}
        gateway = serve(document(origin, use), workers=2)
        with ThreadPoolExecutor(10) as pool:
            statuses = list(pool.map(lambda n: ask(gateway, f"/{n}", ("X-Who", "alice")).status, range(40)))
        assert statuses == [200] * 40
        assert {call.get("x-user") for call in origin.calls} == {"alice"}
        assert ask(gateway, "/", ("X-Who", "bob"), ("X-User", "alice")).status == 403
    assert ask(gateway, "/", ("X-Who", "alice")).status == 503
    gateway.wait_for_log("the service is unavailable")
    with grpc_server(add, url.removeprefix("grpc://")):
        eventually(lambda: ask(gateway, "/", ("X-Who", "alice")).status == 200, "it is asked again")
