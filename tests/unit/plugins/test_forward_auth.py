"""forward-auth: what the service is told, what its word changes, and what happens without it."""

import logging
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import ForwardAuth, KeyAuth
from headgate.testing import Fault, Received, TestGateway

SERVER, AUTH = "server.test:80", "http://auth.test"


def gate_with(use: dict[str, Any] | None = None, **settings: Any) -> Gateway:
    gate = Gateway()
    gate.route("/open", to=SERVER)
    gate.route("/", to=SERVER)
    gate.use(ForwardAuth(**{"url": f"{AUTH}/verify", **settings}), **{"on": "/private/*", **(use or {})})
    return gate


def running(service: Any, use: dict[str, Any] | None = None, **settings: Any) -> TestGateway:
    return TestGateway(gate_with(use, **settings), upstreams={SERVER: "ok", AUTH: service})


def folded(received: Received) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in received.headers.raw:
        found.setdefault(name.lower().replace("_", "-"), []).append(value)
    return found


def test_the_service_is_told_what_is_asked_by_the_gateway_alone() -> None:
    hostile = [
        *(("X-Forwarded-Uri", "/open"), ("X_Forwarded_Uri", "/open"), ("X-Forwarded-Method", "GET")),
        *(("X-Forwarded-Host", "evil.example"), ("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Port", "1")),
        *(("Forwarded", "proto=https;host=evil.example"), ("X-Original-URI", "/open"), ("X-Real-IP", "::1")),
        *(("If-None-Match", "*"), ("Range", "bytes=0-1"), ("Accept-Encoding", "gzip"), ("Te", "trailers")),
        *(("X-Request-Id", "mine"), ("Proxy-Authorization", "x"), ("Host", "site.example")),
        *(("Cookie", "a=b"), ("X-A", "1")),
    ]
    with running("ok") as gateway:
        target = "/private/a%20b;x?a=/open&b=%00"
        response = gateway.request("DELETE", target, hostile, address="203.0.113.7", scheme="https", body="b")
        told, sent = gateway.received
    assert (response.status, told.method, told.target, told.body) == (200, "GET", "/verify", b"")
    fields = folded(told)
    assert {name: fields.pop(name) for name in list(fields) if name.startswith("x-forwarded-")} == {
        "x-forwarded-method": ["DELETE"],
        "x-forwarded-proto": ["https"],
        "x-forwarded-host": ["site.example"],
        "x-forwarded-uri": [sent.target],
        "x-forwarded-for": ["203.0.113.7"],
    }
    assert fields.pop("x-request-id") == folded(sent)["x-request-id"] and fields.pop("cookie") == ["a=b"]
    assert fields.pop("x-a") == ["1"] and fields["host"] == ["auth.test"]
    assert set(fields) <= {"host", "user-agent", "accept", "connection", "via", "accept-encoding"}
    assert "gzip" not in str(fields.get("accept-encoding"))


def test_only_the_named_fields_are_sent() -> None:
    with running("ok", request_headers=["Authorization"]) as gateway:
        gateway.get("/private/x", {"authorization": "Bearer x", "cookie": "a=b"})
        fields = folded(gateway.received[0])
    assert fields["authorization"] == ["Bearer x"] and "cookie" not in fields


USER = {"copy": ["X-User", "x-groups", "authorization"], "consumer": "x-user"}


def test_what_it_says_replaces_what_the_client_says() -> None:
    told = [("X-User", "jörg"), ("X-Groups", "a"), ("X-Groups", "b"), ("X-Other", "no")]
    mine = [("x-user", "admin"), ("X_User", "admin"), ("X-Groups", "root"), ("Authorization", "mine")]
    with running(Response(204, headers=told), **USER) as gateway:
        response = gateway.get("/private/x", mine)
        asked, sent = (folded(one) for one in gateway.received)
    assert "x-user" not in asked and asked["authorization"] == ["mine"]
    assert (sent["x-user"], sent["x-groups"]) == (["jörg"], ["a", "b"])
    assert "authorization" not in sent and "x-other" not in sent
    assert response.record.state["consumer"] == "jörg"


@pytest.mark.parametrize(
    ("service", "path", "more"),
    [
        ("ok", "/private/x", {}),
        ("ok", "/open", {}),
        (500, "/private/x", {"when_away": "open"}),
        (403, "/private/x", {"use": {"mode": "report"}}),
    ],
)
def test_a_client_never_says_who_it_is(service: Any, path: str, more: dict[str, Any]) -> None:
    with running(service, **{**USER, **more}) as gateway:
        assert gateway.get(path, [("X-User", "admin"), ("x_groups", "root")]).status == 200
        assert not {"x-user", "x-groups"} & set(folded(gateway.received[-1]))


def test_a_refusal_is_the_services_own() -> None:
    fields = [
        *(("Location", "https://login.example/?next=%2F"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")),
        *(("WWW-Authenticate", "Bearer"), ("Content-Type", "text/html"), ("X-Internal", "10.0.0.1")),
    ]
    with running(Response(302, "<p>login", headers=fields)) as gateway:
        response = gateway.get("/private/x")
        assert len(gateway.received) == 1
    assert (response.status, response.text) == (302, "<p>login")
    assert response.headers["location"] == "https://login.example/?next=%2F"
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "text/html" and "x-internal" not in response.headers


@pytest.mark.parametrize("status", [300, 401, 403, 404, 418, 429, 499])
def test_every_other_status_refuses(status: int) -> None:
    with running(status) as gateway:
        assert gateway.get("/private/x").status == status
        assert gateway.get("/open").status == 200


def test_a_large_body_of_a_refusal_is_left_out() -> None:
    with running(Response(403, "x" * 100), max_body_bytes=99) as gateway:
        response = gateway.get("/private/x")
    assert (response.status, response.text, response.headers.get("content-type")) == (403, "", None)


@pytest.mark.parametrize("service", [500, 503, 304, Fault.CUT, Fault.REFUSE, Fault.HANG])
@pytest.mark.parametrize(("when_away", "status"), [("closed", 503), ("open", 200)])
def test_without_the_service_nobody_comes_in_unless_that_is_asked_for(
    service: Any, when_away: str, status: int
) -> None:
    with running(service, when_away=when_away, timeout=2) as gateway:
        pending = gateway.start("GET", "/private/x")
        if service is Fault.HANG:
            gateway.until(lambda: gateway.received)
            gateway.advance(2.2)
        assert pending.result().status == status


def test_a_service_that_is_away_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    gate = gate_with()
    (use,) = gate._parts.plugins
    with (
        caplog.at_level(logging.WARNING),
        TestGateway(gate, upstreams={SERVER: "ok", AUTH: [500, 500, 200, 500, 200]}) as gateway,
    ):
        statuses = [gateway.get("/private/x").status for _ in range(5)]
        assert use.plugin._headgate_context
        assert use.plugin._headgate_context.counter("service_failures").value == 3
    assert statuses == [503, 503, 200, 503, 200]
    told = [one.message for one in caplog.records if "the service" in one.message]
    assert told == ["the service is unavailable", "the service is available again"] * 2


def test_what_the_service_says_to_clients_reaches_them() -> None:
    service = Response(200, headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Other", "no")])
    with running(service, to_client=["set-cookie"]) as gateway:
        response = gateway.get("/private/x")
        assert response.headers.get_all("set-cookie") == ["a=1", "b=2"] and "x-other" not in response.headers


def test_who_has_no_key_is_not_asked_about() -> None:
    gate = gate_with()
    gate.use(KeyAuth(keys={"alice": "a"}))
    with TestGateway(gate, upstreams={SERVER: "ok", AUTH: "ok"}) as gateway:
        assert gateway.get("/private/x").status == 401 and gateway.received == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "auth.test/verify"}, "not a valid URL"),
        ({"url": "http://user:pass@auth.test/"}, "not a valid URL"),
        ({"url": "http://auth.test/#x"}, "not a valid URL"),
        ({"url": "http://auth.test:99999/"}, "not a valid URL"),
        ({"url": "http://auth.test:0/"}, "not a valid URL"),
        ({"url": "http://[::1/"}, "not a valid URL"),
        ({"url": "http://:80/"}, "not a valid URL"),
        ({"copy": ["x user"]}, "cannot be passed on"),
        ({"copy": ["Host"]}, "cannot be passed on"),
        ({"refusal_headers": ["transfer-encoding"]}, "cannot be passed on"),
        ({"consumer": "x-user"}, "is not in `copy`"),
        ({"timeout": 0}, "timeout"),
        ({"when_away": "maybe"}, "when_away"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gate_with(**settings)
