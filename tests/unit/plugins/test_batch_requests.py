"""batch-requests: parts are requests of the same client, and nothing that a client may not say itself."""

import json
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import BatchRequests, IpRestriction, KeyAuth, RateLimit
from headgate.testing import Fault, Received, TestGateway, TestResponse

SERVER = "server.test:80"
JSON = {"content-type": "application/json"}


def gate_with(*others: Any, **settings: Any) -> Gateway:
    gate = Gateway()
    gate.route("/batch", respond="no batch")
    gate.route("/", to=SERVER)
    gate.use(BatchRequests(**settings), on="/batch")
    for one in others:
        gate.use(one)
    return gate


def running(server: Any = "ok", *others: Any, **settings: Any) -> TestGateway:
    return TestGateway(gate_with(*others, **settings), upstreams={SERVER: server})


def send(gateway: TestGateway, *parts: Any, headers: Any = (), **more: Any) -> TestResponse:
    fields = [*JSON.items(), *dict(headers).items()]
    return gateway.post("/batch", json.dumps({"requests": list(parts)}), fields, **more)


def responses(response: TestResponse) -> list[dict[str, Any]]:
    assert response.status == 200, response.text
    found: list[dict[str, Any]] = response.json()["responses"]
    return found


def served(received: Received) -> Response:
    if received.path == "/bytes":
        return Response(200, b"\xff\xfe", headers={"content-type": "image/x"})
    headers = {"etag": '"1"', "set-cookie": "a=b", "x-internal": "1"}
    return Response(201, f"{received.method} {received.target} {received.body.decode()}", headers=headers)


def test_responses_come_in_the_order_of_the_requests() -> None:
    parts = [
        {"path": "/a?x=1"},
        {"method": "POST", "path": "/b", "body": "text ü"},
        {"method": "PUT", "path": "/c", "body": {"n": 12345678901234567890}},
        {"path": "/bytes"},
        {"method": "HEAD", "path": "/d"},
    ]
    with running(served) as gateway:
        found = responses(send(gateway, *parts))
        kinds = {one.path: one.headers.get("content-type") for one in gateway.received}
    assert [one["status"] for one in found] == [201, 201, 201, 200, 201]
    assert [one["body"] for one in found[:3]] == [
        "GET /a?x=1 ",
        "POST /b text ü",
        'PUT /c {"n":12345678901234567890}',
    ]
    assert found[0]["headers"] == {"content-type": "text/plain; charset=utf-8", "etag": '"1"'}
    assert (found[3]["body"], found[3]["encoding"], found[4]["body"]) == ("//4=", "base64", "")
    assert (kinds["/b"], kinds["/c"]) == ("text/plain; charset=utf-8", "application/json")


def test_parts_are_the_clients_and_count_as_such() -> None:
    with running(served, IpRestriction(deny=["192.0.2.1"])) as gateway:
        assert [one["status"] for one in responses(send(gateway, {"path": "/"}))] == [201]
        refused = send(gateway, {"path": "/"}, address="192.0.2.1")
        assert refused.status == 403 or [one["status"] for one in responses(refused)] == [403]
        assert len(gateway.received) == 1
    with running(served, RateLimit(rate="3/h")) as gateway:
        found = responses(send(gateway, *[{"path": "/"}] * 5))
        assert sorted(one["status"] for one in found) == [201] * 3 + [429] * 2
        assert "retry-after" in next(one for one in found if one["status"] == 429)["headers"]


def test_each_part_shows_the_credentials_of_the_batch() -> None:
    with running(served, KeyAuth(keys={"alice": "a"})) as gateway:
        assert [one["status"] for one in responses(send(gateway, {"path": "/"}))] == [401]
        found = responses(send(gateway, {"path": "/"}, {"path": "/x"}, headers={"x-api-key": "a"}))
        assert [one["status"] for one in found] == [201, 201]
        assert {one.headers["x-consumer"] for one in gateway.received} == {"alice"}


@pytest.mark.parametrize(
    "name",
    [
        *("X-Real-IP", "X-Forwarded-For", "x_forwarded_for", "Forwarded", "X-Consumer", "x_consumer", "Host"),
        *(
            "Authorization",
            "Cookie",
            "Connection",
            "Transfer-Encoding",
            "Content-Length",
            "X-Batch",
            "x_batch",
            "",
        ),
    ],
)
def test_a_part_sets_no_field_that_is_not_listed(name: str) -> None:
    with running(served) as gateway:
        assert send(gateway, {"path": "/", "headers": {name: "1"}}).status == 400
        assert gateway.received == []


def test_a_batch_inherits_what_is_listed_only() -> None:
    with running(served) as gateway:
        mine = {
            "cookie": "a=b",
            "x-other": "1",
            "x-real-ip": "10.0.0.1",
            "X_Batch": "1",
            "accept-language": "de",
        }
        responses(send(gateway, {"path": "/", "headers": {"Accept": "x/y"}}, headers=mine))
        headers = gateway.received[0].headers
    assert (headers["cookie"], headers["accept"], headers["accept-language"]) == ("a=b", "x/y", "de")
    assert "x-other" not in headers and headers.get("x-real-ip") != "10.0.0.1" and headers["x-batch"] == "1"


def test_a_batch_in_a_batch_is_refused() -> None:
    with running(served) as gateway:
        inner = {"method": "POST", "path": "/batch", "body": {"requests": [{"path": "/"}]}}
        for path in ("/batch", "/x/../batch", "/%62atch"):
            (found,) = responses(send(gateway, {**inner, "path": path}))
            assert found["status"] == 400
        assert gateway.received == []


@pytest.mark.parametrize(
    "part",
    [
        {},
        5,
        None,
        [],
        {"path": 5},
        {"path": ""},
        {"path": "a"},
        {"path": "//evil.example/"},
        {"path": "/\\evil.example"},
        {"path": "http://evil.example/"},
        {"path": "/a b"},
        {"path": "/a\r\nX-A: 1"},
        {"path": "/ü"},
        {"path": "/a#b"},
        {"path": "/", "method": "get"},
        {"path": "/", "method": "CONNECT"},
        {"path": "/", "method": "TRACE"},
        {"path": "/", "method": "GET / HTTP/1.1\r\nX-A: 1"},
        {"path": "/", "body": "x"},
        {"path": "/", "headers": {"accept": "a\r\nx-b: c"}},
        {"path": "/", "headers": {"accept": 5}},
        {"path": "/", "headers": []},
        {"path": "/", "more": 1},
    ],
)
def test_a_part_that_is_not_valid_refuses_the_batch(part: Any) -> None:
    with running(served) as gateway:
        assert send(gateway, {"path": "/"}, part).status == 400
        assert gateway.received == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{}", "application/json", 400),
        ('{"requests": []}', "application/json", 400),
        ('{"requests": {}}', "application/json", 400),
        ("[]", "application/json", 400),
        ("{", "application/json", 400),
        ("[" * 10_000, "application/json", 400),
        ('{"requests": [{"path": "/"}], "requests": []}', "application/json", 400),
        ('{"requests": [{"path": "/"}]}', "text/plain", 415),
        (json.dumps({"requests": [{"path": "/"}] * 21}), "application/json", 413),
        ('{"requests": [{"path": "/' + "x" * 1_048_576 + '"}]}', "application/json", 413),
    ],
)
def test_a_batch_is_bounded(body: str, kind: str, status: int) -> None:
    with running(served) as gateway:
        assert gateway.post("/batch", body, {"content-type": kind}).status == status
        assert gateway.get("/batch").status == 405 and gateway.received == []


def test_parts_that_fail_are_told_and_harm_no_other() -> None:
    def server(received: Received) -> Any:
        return {"/cut": Fault.CUT, "/hang": Fault.HANG, "/large": "x" * 101}.get(received.path, "ok")

    with running(server, max_response_bytes=100, timeout=3) as gateway:
        parts = [{"path": path} for path in ("/", "/large", "/cut", "/hang")]
        pending = gateway.start("POST", "/batch", JSON, body=json.dumps({"requests": parts}))
        gateway.until(lambda: any(one.path == "/hang" for one in gateway.received))
        gateway.advance(3.2)
        assert [one["status"] for one in responses(pending.result())] == [200, 502, 502, 504]


def test_no_more_run_at_once_than_said() -> None:
    with running(Fault.HANG, concurrency=2, timeout=5) as gateway:
        pending = gateway.start("POST", "/batch", JSON, body=json.dumps({"requests": [{"path": "/"}] * 6}))
        for count in (2, 4, 6):
            gateway.until(lambda wanted=count: len(gateway.received) >= wanted)
            assert len(gateway.received) == count
            gateway.advance(5.2)
        assert [one["status"] for one in responses(pending.result())] == [504] * 6


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": ["x-forwarded-for"]},
        {"headers": ["X_Real_IP"]},
        {"inherit": ["host"]},
        {"inherit": ["transfer-encoding"]},
        {"headers": ["x-batch"]},
        {"methods": ["CONNECT"]},
        {"response_headers": ["a b"]},
        {"max_requests": 0},
        {"concurrency": 1000},
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        BatchRequests(**settings)


def test_what_no_field_can_hold_is_the_clients_fault() -> None:
    with running(served) as gateway:
        for value in ("a\x01", "a\x7f", "a\r\nx: y", "\0"):
            response = send(gateway, {"path": "/", "headers": {"accept": value}})
            assert (response.status, response.json()["error"]) == (
                400,
                "request 0: a header field is not allowed",
            )
        assert gateway.received == []
