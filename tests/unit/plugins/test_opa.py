"""opa: what policies see and say, hostile input, and agents that are away or talk nonsense."""

import json
import logging
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import KeyAuth, Opa
from headgate.testing import Fault, TestGateway

SERVER, AGENT = "server.test:80", "http://agent.test"


def gate_with(**settings: Any) -> Gateway:
    gate = Gateway()
    gate.route("/", to=SERVER, name="all")
    gate.use(Opa(**{"url": AGENT, "policy": "http/allow", **settings}))
    return gate


def running(result: Any, **settings: Any) -> TestGateway:
    agent = result if isinstance(result, Fault | Response) else Response.json({"result": result})
    return TestGateway(gate_with(**settings), upstreams={SERVER: "ok", AGENT: agent})


def asked(gateway: TestGateway) -> Any:
    return gateway.received[0].json()["input"]


def test_the_policy_sees_what_the_server_will_get() -> None:
    gate = gate_with(headers=["Authorization", "x-a"], token="secret-token")
    gate.use(KeyAuth(keys={"alice": "a"}))
    with TestGateway(gate, upstreams={SERVER: "ok", AGENT: Response.json({"result": True})}) as gateway:
        headers = [("X-API-Key", "a"), ("X-A", "1"), ("X-A", "2"), ("Cookie", "c"), ("Host", "site.example")]
        target = "/a/%C3%A4%20b/%FF?x=1&x=2&y"
        assert gateway.request("PUT", target, headers, address="203.0.113.7", body="b").status == 200
        told, sent = gateway.received
    assert (told.method, told.target) == ("POST", "/v1/data/http/allow")
    assert told.headers["authorization"] == "Bearer secret-token"
    seen = told.json()["input"]
    assert seen["request"].pop("id") == sent.headers["x-request-id"]
    assert seen == {
        "request": {
            "method": "PUT",
            "scheme": "http",
            "host": "site.example",
            "path": ["a", "ä b", "\ufffd"],
            "raw_path": sent.path,
            "query": {"x": ["1", "2"], "y": [""]},
            "headers": {"x-a": "1, 2"},
            "body": None,
        },
        "client": {"address": "203.0.113.7"},
        "route": "all",
        "consumer": {"name": "alice", "groups": [], "labels": {}},
    }


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (True, 200),
        (False, 403),
        ({"allow": True}, 200),
        ({"allow": False}, 403),
        ({"allow": False, "status": 429}, 429),
        ({"allow": True, "status": 429, "reason": "extra members are ignored"}, 200),
        (Response.json({}), 403),
        (Response.json({"result": None}), 503),
        ("true", 503),
        (1, 503),
        ([], 503),
        ({}, 503),
        ({"allow": "true"}, 503),
        ({"allow": 1}, 503),
        ({"allow": False, "status": 200}, 503),
        ({"allow": True, "headers": {"x-role": "a\r\nx-b: c"}}, 503),
        ({"allow": False, "headers": {"x role": "a"}}, 503),
        ({"allow": False, "headers": {"Content-Length": "1"}}, 503),
        (Response(200, "{"), 503),
        (Response(200, "[" * 100_000), 503),
        (Response(200, '{"result": true, "result": false}'), 503),
        (Response(200, "x" * 65_537), 503),
        (Response.json({"result": True}, 404), 503),
        (Response.json({"result": True}, 401), 503),
        (Response.json({"result": True}, 500), 503),
        (Fault.REFUSE, 503),
        (Fault.CUT, 503),
    ],
)
def test_nothing_but_true_lets_in(result: Any, status: int) -> None:
    with running(result) as gateway:
        response = gateway.get("/", {"x-b": "1"})
        assert response.status == status
        assert len([one for one in gateway.received if one.upstream]) == (status == 200)


@pytest.mark.parametrize(
    ("agent", "status"),
    [
        (Fault.REFUSE, 200),
        (Fault.CUT, 200),
        (Response(500), 200),
        (Response(404), 503),
        (Response(200, "x"), 503),
    ],
)
def test_open_means_away_and_no_nonsense(agent: Any, status: int) -> None:
    with running(agent, when_away="open", copy=["x-role"]) as gateway:
        assert gateway.get("/", {"X_Role": "admin"}).status == status
        assert all("x-role" not in str(one.headers).lower().replace("_", "-") for one in gateway.received)


def test_a_late_agent_is_away() -> None:
    with running(Fault.HANG, timeout=1) as gateway:
        pending = gateway.start("GET", "/")
        gateway.until(lambda: gateway.received)
        gateway.advance(1.2)
        assert pending.result().status == 503


def test_a_refusal_says_what_the_policy_says() -> None:
    said = {
        "allow": False,
        "status": 302,
        "headers": {"Location": "https://login.example/", "Set-Cookie": ["a=1", "b=2"]},
        "body": {"error": "log in", "ü": 1},
    }
    with running(said) as gateway:
        response = gateway.get("/")
    assert (response.status, response.json()) == (302, said["body"])
    assert response.headers["location"] == "https://login.example/"
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_only_the_policy_sets_what_is_copied() -> None:
    said = {"allow": True, "headers": {"X-Role": ["a", "b"], "X-Other": "no"}}
    with running(said, copy=["x-role", "x-team", "authorization"], headers=["authorization"]) as gateway:
        mine = [("X-Role", "admin"), ("x_team", "root"), ("Authorization", "mine")]
        assert gateway.get("/", mine).status == 200
        sent = gateway.received[1].headers
        assert asked(gateway)["request"]["headers"] == {"authorization": "mine"}
    assert sent.get_all("x-role") == ["a", "b"]
    assert not {"x-other", "x_team", "x-team", "authorization"} & set(sent)


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ('{"n": 12345678901234567890, "f": 1e400, "d": 1.10}', "application/json", 200),
        ("[1]", "application/vnd.a+JSON; charset=UTF-8", 200),
        ("plain", "text/plain", 200),
        ("", "application/json", 200),
        ("{", "application/json", 400),
        ('{"a": 1, "a": 2}', "application/json", 400),
        ('"\\ud800"', "application/json", 400),
        ("[" * 100_000, "application/json", 413),
        ("[" * 1000, "application/json", 400),
        ("[NaN]", "application/json", 400),
        ("[1]", "application/json; charset=utf-7", 415),
    ],
)
def test_bodies_are_seen_as_they_were_written(body: str, kind: str, expected: int) -> None:
    with running(True, body=True) as gateway:
        assert gateway.post("/", body, {"content-type": kind}).status == expected
        if expected == 200:
            assert gateway.received[1].body == body.encode()
            wanted = json.dumps(None) if not body or kind == "text/plain" else body
            assert f'"body": {wanted}, ' in gateway.received[0].body.decode().replace('":', '": ').replace(
                ":  ", ": "
            ).replace(",", ", ").replace(",  ", ", ")
        else:
            assert gateway.received == []


def test_nonsense_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    gate = gate_with()
    agent = [Response.json({"result": one}) for one in ("x", "x", True, "x")]
    with caplog.at_level(logging.ERROR), TestGateway(gate, upstreams={SERVER: "ok", AGENT: agent}) as gateway:
        assert [gateway.get("/").status for _ in range(4)] == [503, 503, 200, 503]
        context = gate._parts.plugins[0].plugin._headgate_context
        assert context and context.counter("invalid_results").value == 3
    assert [one.message for one in caplog.records] == ["the result of the policy is not valid"] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "/http/allow"}, "not a valid path"),
        ({"policy": "http.allow"}, "not a valid path"),
        ({"policy": "a/../b"}, "not a valid path"),
        ({"url": "agent:8181"}, "not a valid URL"),
        ({"copy": ["connection"]}, "cannot be passed on"),
        ({"headers": ["a b"]}, "cannot be passed on"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gate_with(**settings)


@pytest.mark.parametrize(
    "headers", [{"x-role": "a\x01"}, {"x-role": ["a", "b\x7f"]}, {"host": "other.example"}]
)
@pytest.mark.parametrize("allow", [True, False])
def test_fields_that_cannot_be_sent_make_the_result_invalid(headers: Any, allow: bool) -> None:
    with running({"allow": allow, "headers": headers}, copy=["x-role"]) as gateway:
        assert gateway.get("/").status == 503
        assert len(gateway.received) == 1, "only the agent was asked"


def test_a_body_that_is_a_boolean_is_json() -> None:
    with running({"allow": False, "body": True}) as gateway:
        response = gateway.get("/")
    assert (response.status, response.text, response.headers["content-type"]) == (
        403,
        "true",
        "application/json",
    )
