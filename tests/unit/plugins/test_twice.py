"""A plugin used twice, on the gateway and on a route, with different settings: each use does what it does alone.

How it works: the same requests go to four gateways, with neither use, with each alone, and with both. What only one use
changes, both together change in the same way; where each changes the same thing, the case says who has the last word.
"""

import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import headgate.plugins
from headgate import Gateway, Plugin, Response
from headgate.plugins import BUILT_IN, Cors, KeyAuth, RequestId, SecurityHeaders, SignedUrls, WaitingRoom
from headgate.plugins.signed_urls import signature
from headgate.testing import Received, TestGateway
from headgate.testing.wire import Broken

SERVER = "server.test:80"
SHOP = Path(__file__).parents[3] / "examples" / "plugins" / "shop.pb"
SHOP_OPENAPI = SHOP.with_name("shop.json")
ACCOUNT = SHOP.with_name("service-account.json")
RULES = Path(__file__).parent / "rules"
SECRETS = ("0123456789abcdef", "fedcba9876543210")
VOLATILE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|/\d{8}/|\d{8}T\d{6}Z|^1\d{9}$|v1,\S+|;t=\d+|;w=\d+|[\w-]{22}(?=')"
)
UNSEEN = {"date", "x-request-id", "via", "content-length", "transfer-encoding", "connection", "host"}
Fields = dict[str, str]


class Ask(NamedTuple):
    """A request of a case."""

    target: str = "/api/x"
    headers: Fields | Callable[[], Fields] = {}
    method: str = "GET"
    body: str | None = None
    address: str = "192.0.2.1"


class Twice(NamedTuple):
    """A plugin's two settings, and what shows that both count."""

    first: dict[str, Any]
    second: dict[str, Any]
    asks: list[Ask]
    both: dict[tuple[int, str], Any] = {}
    """What neither use alone would do."""


def agent(name: str) -> Ask:
    return Ask(headers={"user-agent": name})


def nonce(name: str, text: str) -> Callable[[], Fields]:
    return lambda: {f"{name}-nonce": text, f"{name}-time": str(int(time.time()))}


def page(text: str) -> dict[str, Any]:
    return {"text": text}


TRANSFORMED = ({"template": '{"outer": {{ body.inner }}}'}, {"template": '{"inner": {{ body.n }}}'})
KEYS = ({"keys": {"alice": "a", "bob": "b"}}, {"keys": {"bob": "b", "carol": "c"}})
CASES: dict[str, Twice] = {
    "api-discovery": Twice({"file": "/tmp/api-1.json"}, {"file": "/tmp/api-2.json"}, [Ask()]),
    "azure-functions": Twice(
        {"key": "outer"}, {"key": "inner"}, [Ask()], {(0, "to x-functions-key"): ["inner"]}
    ),
    "aws-sigv4": Twice(
        {"access_key": "A", "secret_key": "a", "region": "eu", "service": "s3", "unsigned_body": True},
        {"access_key": "B", "secret_key": "b", "region": "us", "service": "lambda"},
        [Ask()],
        {
            (0, "to authorization"): [
                "AWS4-HMAC-SHA256 Credential=B*us/lambda/aws4_request, "
                "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=*"
            ],
            (0, "to x-amz-content-sha256"): ["*"],
        },
    ),
    "batch-requests": Twice(
        {"max_requests": 1},
        {"max_requests": 2},
        [
            Ask(
                headers={"content-type": "application/json"},
                method="POST",
                body=json.dumps({"requests": [{"path": "/api/y"}] * count}),
            )
            for count in (1, 2, 3)
        ],
    ),
    "body-transformer": Twice(
        {"response": TRANSFORMED[0]},
        {"response": TRANSFORMED[1]},
        [Ask()],
        {(0, "status"): 200, (0, "body"): '{"outer": 7}'},
    ),
    "bot-detection": Twice(
        {"crawlers": {"abot": ["a.example"]}},
        {"crawlers": {"bbot": ["b.example"]}},
        [Ask(headers={"user-agent": "abot"}, address="unix:"), Ask(headers={"user-agent": "bbot"})],
    ),
    "canary": Twice(
        {"to": "a", "steps": [100], "header": "x-a"},
        {"to": "b", "steps": [100], "header": "x-b"},
        [Ask()],
        {(0, "to upstream"): "b"},
    ),
    "circuit-breaker": Twice({"requests": 2}, {"requests": 4}, [Ask("/api/500")] * 6),
    "compression": Twice(
        {"types": ["*"], "min_length": 99999},
        {"types": ["image/png"]},
        [Ask(headers={"accept-encoding": "gzip"})],
    ),
    "concurrency-limit": Twice({"limit": 1}, {"limit": 2}, [Ask()] * 3),
    "cors": Twice(
        {"origins": ["https://a.example"]},
        {"origins": ["https://b.example"]},
        [Ask(headers={"origin": "https://a.example"})],
    ),
    "csrf": Twice(
        {"secret": SECRETS[0], "session_cookie": "s", "cookie": "csrf-a", "header": "x-a"},
        {"secret": SECRETS[1], "session_cookie": "s", "cookie": "csrf-b", "header": "x-b"},
        [Ask(headers={"cookie": "s=1"}), Ask(method="POST")],
    ),
    "decompression": Twice(
        {"other_codings": "pass"}, {}, [Ask(headers={"content-encoding": "x"}, method="POST", body="x")]
    ),
    "degraphql": Twice(
        {"operation": "{ outer }", "path": "/a"},
        {"operation": "{ inner }", "path": "/b"},
        [Ask()],
        {(0, "to target"): "/b"},
    ),
    "edge-side-includes": Twice({"types": ["text/html"]}, {"types": ["text/plain"]}, [Ask()]),
    "error-pages": Twice(
        {"pages": {"502": page("outer"), "413": page("outer")}},
        {"pages": {"413": page("inner")}},
        [Ask("/api/dead"), Ask(method="POST", body="x" * 200)],
        {(1, "body"): "inner"},
    ),
    "ext-authz": Twice(
        {"http": "http://a.test", "copy": ["x-a"]}, {"http": "http://b.test", "copy": ["x-b"]}, [Ask()]
    ),
    "ext-proc": Twice(
        {"grpc": "grpc://127.0.0.1:1", "when_away": "open", "owned": ["x-a"]},
        {"grpc": "grpc://127.0.0.1:2", "when_away": "open", "owned": ["x-b"]},
        [Ask(headers={"x-a": "1", "x-b": "1"})],
    ),
    "fault-injection": Twice(
        {"abort": {"status": 501, "percent": 100}}, {"abort": {"status": 504}}, [Ask()], {(0, "status"): 501}
    ),
    "follow-redirects": Twice({"methods": ["POST"]}, {}, [Ask("/api/moved")]),
    "forward-auth": Twice(
        {"url": "http://a.test", "copy": ["x-a"]}, {"url": "http://b.test", "copy": ["x-b"]}, [Ask()]
    ),
    "google-functions": Twice(
        {"credentials": ACCOUNT, "audience": "https://a.example"},
        {"credentials": ACCOUNT, "audience": "https://b.example"},
        [Ask()],
    ),
    "graphql-limits": Twice(
        {"max_depth": 1},
        {"max_root_fields": 1},
        [Ask("/api/x?query={a{b}}"), Ask("/api/x?query={a,b}"), Ask("/api/x?query={a}")],
    ),
    "grpc-transcode": Twice(
        {"url": "grpc://127.0.0.1:1", "descriptors": str(SHOP), "timeout": 1},
        {"url": "grpc://127.0.0.1:2", "descriptors": str(SHOP), "timeout": 1},
        [Ask("/shop.Shop/Buy", method="POST")],
    ),
    "har-capture": Twice(
        {"folder": "/tmp", "percent": 1e-9},
        {"folder": "/tmp", "percent": 1e-9},
        [Ask(headers={"range": "bytes=0-1"})],
    ),
    "headers": Twice(
        {"request": {"set": {"x-a": "outer", "x-c": "outer"}}, "response": {"set": {"x-a": "outer"}}},
        {"request": {"set": {"x-b": "inner", "x-c": "inner"}}, "response": {"set": {"x-b": "inner"}}},
        [Ask()],
        {(0, "to x-c"): ["inner"]},
    ),
    "honeypot": Twice(
        {"traps": ["/api/a"]}, {"traps": ["/api/b"]}, [Ask("/api/b"), Ask("/api/x"), Ask("/api/a")]
    ),
    "html-rewrite": Twice(
        {"rules": [{"select": "i", "set": {"title": "outer"}}]},
        {"rules": [{"select": "b", "text": "inner"}]},
        [Ask("/api/page")],
        {(0, "body"): '<i title="outer">1</i><b>inner</b>'},
    ),
    "image-resize": Twice(
        {"workers": "a", "sizes": [1]}, {"workers": "b", "sizes": [1, 2]}, [Ask("/api/x?w=2")]
    ),
    "ip-restriction": Twice(
        {"deny": ["192.0.2.1"]},
        {"deny": ["192.0.2.2"]},
        [Ask(), Ask(address="192.0.2.2"), Ask(address="192.0.2.3")],
    ),
    "isolated": Twice(
        {"plugin": "unit.plugins.foreign:Mark", "config": {"name": "x-a"}},
        {"plugin": "unit.plugins.foreign:Mark", "config": {"name": "x-b"}},
        [Ask()],
    ),
    "jq": Twice(
        {"response": {"program": "{outer: .inner}"}},
        {"response": {"program": "{inner: .n}"}},
        [Ask()],
        {(0, "body"): '{"outer":7}'},
    ),
    "json-patch": Twice(
        {"response": {"merge": {"a": 1}}},
        {"response": {"merge": {"b": 1}}},
        [Ask()],
        {(0, "body"): '{"n":7,"b":1,"a":1}'},
    ),
    "json-threat-protection": Twice(
        {"max_depth": 3},
        {"max_items": 2},
        [
            Ask(headers={"content-type": "application/json"}, method="POST", body=body)
            for body in ("[[[[1]]]]", "[1,2,3]", "[1]")
        ],
    ),
    "jsonpath": Twice(
        {"response": {"members": {"outer": "$.inner"}}},
        {"response": {"members": {"inner": "$.n"}}},
        [Ask()],
        {(0, "body"): '{"outer":7}'},
    ),
    "kafka-rest": Twice(
        {"servers": ["127.0.0.1:1"], "produce": ["x"], "prefix": "/api"},
        {"servers": ["127.0.0.1:1"], "produce": ["y"], "prefix": "/api"},
        [Ask("/api/x", method="POST"), Ask("/api/y", method="POST")],
        {(1, "status"): 404},
    ),
    "key-auth": Twice(
        *KEYS,
        [Ask(headers={"x-api-key": key}) for key in "abcd"],
        {(1, "status"): 200, (1, "to x-consumer"): ["bob"], (0, "status"): 401, (2, "status"): 401},
    ),
    "load-shedding": Twice({}, {}, [Ask()]),
    "maintenance": Twice({"enabled": False}, {"status": 599}, [Ask()]),
    "mirror": Twice({"to": "http://a.test"}, {"to": "http://b.test"}, [Ask()]),
    "mocking": Twice(
        {"openapi": str(SHOP_OPENAPI), "unknown": "pass"}, {"openapi": str(SHOP_OPENAPI)}, [Ask()]
    ),
    "opa": Twice(
        {"url": "http://a.test", "policy": "allow"}, {"url": "http://b.test", "policy": "deny"}, [Ask()]
    ),
    "precompressed": Twice(
        {"root": str(SHOP.parent), "strip_prefix": "/other"},
        {"root": str(SHOP.parent), "strip_prefix": "/api"},
        [Ask("/api/shop.json")],
    ),
    "proxy-rewrite": Twice(
        {"path": [{"match": "/api/(.*)", "to": r"/a/\1"}]},
        {"path": [{"match": "/(.*)", "to": r"/b/\1"}]},
        [Ask()],
        {(0, "to target"): "/b/a/x"},
    ),
    "quota": Twice(
        {"amount": 3, "period": "year", "by": "address"},
        {"amount": 2, "period": "year", "by": "header:x-a"},
        [Ask(headers={"x-a": "1"}), Ask(headers={"x-a": "2"}), Ask(headers={"x-a": "1"}), Ask()],
    ),
    "rate-limit": Twice(
        {"rate": "3/h"},
        {"rate": "2/h", "by": "header:x-a"},
        [Ask(headers={"x-a": "1"}), Ask(headers={"x-a": "2"}), Ask(headers={"x-a": "1"}), Ask()],
    ),
    "redirect": Twice(
        {"rules": [{"match": "/api/a", "to": "/moved"}]},
        {"rules": [{"match": "/api/b", "to": "/gone"}]},
        [Ask("/api/a"), Ask("/api/b"), Ask()],
    ),
    "referer-restriction": Twice(
        {"deny": ["a.example"]},
        {"deny": ["b.example"]},
        [Ask(headers={"referer": f"https://{one}.example/"}) for one in "abc"],
    ),
    "replay-protection": Twice(
        {"nonce_header": "a-nonce", "time_header": "a-time"},
        {"nonce_header": "a-nonce", "time_header": "a-time"},
        [Ask(headers=nonce("a", "12345678")), Ask(headers=nonce("a", "12345678")), Ask()],
    ),
    "request-coalescing": Twice({}, {"vary": ["x-a"]}, [Ask(headers={"x-a": "1"})]),
    "request-id": Twice({"header": "x-a-id"}, {"header": "x-b-id"}, [Ask()]),
    "request-size": Twice(
        {"target": 20}, {"body": 5}, [Ask("/api/" + "x" * 30), Ask(method="POST", body="123456"), Ask()]
    ),
    "request-validation": Twice(
        {"body_schema": {"type": "object", "required": ["a"]}},
        {"body_schema": {"type": "object", "required": ["b"]}},
        [
            Ask(headers={"content-type": "application/json"}, method="POST", body=body)
            for body in ('{"a": 1}', '{"b": 1}', '{"a": 1, "b": 1}')
        ],
    ),
    "response-faults": Twice({"truncate": {"after_bytes": 1}}, {"truncate": {"after_bytes": 2}}, [Ask()]),
    "response-rewrite": Twice(
        {"headers": {"set": {"x-a": "outer"}}},
        {"body": "inner", "headers": {"set": {"x-b": "inner"}}},
        [Ask()],
    ),
    "response-size": Twice({"body": 1000}, {"body": 3}, [Ask()]),
    "response-validation": Twice(
        {"openapi": str(RULES / "outer.json")},
        {"openapi": str(RULES / "inner.json")},
        [Ask("/api/outer"), Ask("/api/inner"), Ask()],
    ),
    "security-headers": Twice(
        {"content_security_policy": "script-src 'nonce-{nonce}'", "permissions_policy": "camera=()"},
        {"content_security_policy": "default-src 'none'", "frame_options": "DENY"},
        [Ask()],
        {
            (0, "from content-security-policy"): ["default-src 'none'"],
            (0, "from x-frame-options"): ["DENY"],
            (0, "from cache-control"): ["no-store"],
        },
    ),
    "shadow": Twice({"to": "http://a.test"}, {"to": "http://b.test"}, [Ask()]),
    "signed-urls": Twice(
        {"keys": [SECRETS[0]]},
        {"keys": [SECRETS[1], SECRETS[0]], "status": 410},
        [Ask(), Ask("/api/x?expires=1&signature=1")],
        {(0, "status"): 403, (1, "status"): 403},
    ),
    "slo-alert": Twice(
        {"name": "a", "objective": 99, "url": "http://a.test"},
        {"name": "b", "objective": 99, "url": "http://b.test"},
        [Ask()],
    ),
    "sub-filter": Twice(
        {"types": ["*"], "replace": [{"find": "n", "by": "name"}]},
        {"types": ["*"], "replace": [{"find": "7", "by": "n8"}]},
        [Ask()],
        {(0, "body"): '{"name": name8}'},
    ),
    "tarpit": Twice(
        {"traps": ["/api/a"], "duration": 0.01, "status": 404},
        {"traps": ["/api/b"], "duration": 0.01, "status": 410},
        [Ask("/api/a"), Ask("/api/b"), Ask()],
    ),
    "traffic-split": Twice(
        {"parts": [{"upstream": "a"}], "header": "x-a"},
        {"parts": [{"upstream": "b"}], "header": "x-b"},
        [Ask()],
        {(0, "to upstream"): "b"},
    ),
    "ua-restriction": Twice(
        {"deny": ["abot"]}, {"deny": ["bbot"]}, [agent("abot"), agent("bbot"), agent("c")]
    ),
    "upload-scan": Twice(
        {"command": ["grep", "-qv", "worm"], "status": 422},
        {"command": ["grep", "-qv", "bomb"], "status": 451},
        [Ask(method="POST", body=body) for body in ("worm", "bomb", "fine")],
    ),
    "uri-blocker": Twice({"block": ["/api/a"]}, {"block": ["/api/b"]}, [Ask("/api/a"), Ask("/api/b"), Ask()]),
    "waf": Twice(
        {"rules": [str(RULES / "outer.conf")]},
        {"rules": [str(RULES / "inner.conf")]},
        [Ask("/api/x?a=outer"), Ask("/api/x?a=inner"), Ask()],
    ),
    "waiting-room": Twice(
        {"seats": 1, "secret": SECRETS[0]}, {"seats": 2, "secret": SECRETS[0], "status": 599}, [Ask(), Ask()]
    ),
    "webhooks": Twice(
        {"sign": {"secrets": [f"whsec_{'a' * 32}"]}, "prefix": "a"},
        {"sign": {"secrets": [f"whsec_{'b' * 32}"]}, "prefix": "b"},
        [Ask(headers={"a-id": "msg_1", "b-id": "msg_2"})],
    ),
    "xml-threat-protection": Twice(
        {"max_depth": 3},
        {"max_attributes": 1},
        [
            Ask(headers={"content-type": "application/xml"}, method="POST", body=body)
            for body in ("<a><b><c><d/></c></b></a>", "<a b='1' c='2'/>", "<a/>")
        ],
    ),
}


def served(received: Received) -> Response:
    if received.path == "/api/500":
        return Response(500)
    if received.path == "/api/moved":
        return Response(302, headers={"location": "/api/x"})
    if received.path == "/api/page":
        return Response.html("<i>1</i><b>2</b>")
    return Response(200, '{"n": 7}', headers=[("content-type", "application/json"), ("x-powered-by", "x")])


def decided(field: str, received: Received) -> Response:
    return Response(200, json.dumps({"result": "deny" not in received.path}), headers={field: "said"})


def arrived(gateway: TestGateway, count: int) -> bool:
    return len(gateway.received) >= count


def facts(name: str, case: Twice, *, first: bool, second: bool) -> dict[tuple[int, str], Any]:
    """What is seen of each request: at the client, at the server, and by other plugins."""
    kind: type[Plugin] = getattr(headgate.plugins, BUILT_IN[name].rpartition(":")[2])
    gate = Gateway()
    for upstream in ("a", "b", "app", "dead"):
        gate.upstream(upstream, SERVER if upstream == "app" else f"{upstream}.test:80")
    gate.route("/api/dead", to="dead", name="dead")
    gate.route("/api/*", to="app", name="api", max_body_bytes=100)
    if first:
        gate.use(kind(**case.first))
    if second:
        gate.use(kind(**case.second), on="/api/*")
    upstreams: dict[str, Any] = {
        "app": served,
        "a": served,
        "b": served,
        "http://a.test": partial(decided, "x-a"),
        "http://b.test": partial(decided, "x-b"),
    }
    found: dict[tuple[int, str], Any] = {}
    with TestGateway(gate, upstreams=upstreams, raise_errors=False) as gateway:
        for number, ask in enumerate(case.asks):
            fields = ask.headers() if callable(ask.headers) else ask.headers
            before = len(gateway.received)
            try:
                response = gateway.request(ask.method, ask.target, fields, body=ask.body, address=ask.address)
            except Broken:
                found[number, "status"] = "cut off"
                continue
            found[number, "status"], found[number, "body"] = response.status, response.text
            for field in set(response.headers) - UNSEEN:
                found[number, f"from {field}"] = seen(response.headers.get_all(field))
            copies = (
                2
                if name in ("mirror", "shadow") and first and second
                else int(name in ("mirror", "shadow") and (first or second))
            )
            if response.status == 200 and name != "maintenance":
                gateway.until(partial(arrived, gateway, before + copies))
            for received in gateway.received[before:]:
                if not received.upstream:
                    found[number, f"to {received.server}"] = received.method
                    continue
                found[number, "to upstream"] = received.upstream
                found[number, "to target"] = received.target
                for field in set(received.headers) - UNSEEN - {"x-shadow"}:
                    found[number, f"to {field}"] = seen(received.headers.get_all(field))
    return found


def seen(values: list[str]) -> list[str]:
    return [VOLATILE.sub("*", value) for value in values]


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"mqtt-routing"}))
def test_both_uses_count(name: str) -> None:
    case = CASES[name]
    neither, outer, inner, both = (
        facts(name, case, first=first, second=second)
        for first, second in ((False, False), (True, False), (False, True), (True, True))
    )
    assert (
        outer != neither
        or inner != neither
        or name in ("api-discovery", "concurrency-limit", "load-shedding", "request-coalescing", "slo-alert")
    )
    for number in range(len(case.asks)):
        for what in sorted(
            {key[1] for one in (neither, outer, inner, both) for key in one if key[0] == number}
        ):
            key = (number, what)
            base, one, other = neither.get(key), outer.get(key), inner.get(key)
            if key in case.both:
                wanted = [case.both[key]]
            elif one == base:
                wanted = [other]
            elif other == base:
                wanted = [one]
            else:
                wanted = [one, [*(other or []), *(one or [])]] if isinstance(one, list) else [one]
            if both.get((number, "status")) == base or what == "status" or key in case.both:
                assert both.get(key) in wanted, (key, base, one, other)


def twice(first: Plugin, second: Plugin) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(first)
    gate.use(second, on="/api/*")
    return TestGateway(gate, upstreams={SERVER: "ok"})


def test_two_ids_are_told_each_in_its_field() -> None:
    with twice(RequestId(header="x-a"), RequestId(header="x-b", accept=True)) as gateway:
        response = gateway.get("/api/x", {"x-b": "given-by-the-client"})
        sent = gateway.received[0].headers
    assert sent["x-b"] == response.headers["x-b"] == "given-by-the-client"
    assert sent["x-a"] == response.headers["x-a"] == response.record.state["request_id"] != sent["x-b"]


@pytest.mark.parametrize(
    ("first", "second", "keeps"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_field_has_one_id_which_a_client_chooses_only_if_both_uses_accept_it(
    first: bool, second: bool, keeps: bool
) -> None:
    given = "given-by-the-client"
    with twice(RequestId(accept=first), RequestId(header="X-Correlation-ID", accept=second)) as gateway:
        response = gateway.get("/api/x", {"x-correlation-id": given})
        sent = gateway.received[0].headers["x-correlation-id"]
    assert response.headers.get_all("x-correlation-id") == [sent] == [response.record.state["request_id"]]
    assert (sent == given) == keeps


def test_a_key_is_seen_by_the_use_on_the_route_although_the_gateway_took_it_out() -> None:
    outer, inner = KeyAuth(keys={"alice": "a", "bob": "b"}, anonymous="guest"), KeyAuth(keys={"bob": "b"})
    with twice(outer, inner) as gateway:
        asks = [("/x", {}), ("/x", {"x-api-key": "a"}), ("/api/x", {}), ("/api/x", {"x-api-key": "a"})]
        assert [gateway.get(*ask).status for ask in asks] == [200, 200, 401, 401]
        response = gateway.get("/api/x", {"x-api-key": "b"})
        assert (response.status, response.record.state["consumer"]) == (200, "bob")
        assert "x-api-key" not in gateway.received[-1].headers


def test_a_key_of_one_place_is_no_key_of_another() -> None:
    with twice(KeyAuth(keys={"bob": "b"}), KeyAuth(keys={"bob": "b"}, header="x-other")) as gateway:
        assert gateway.get("/api/x", {"x-api-key": "b"}).status == 401
        assert gateway.get("/api/x", {"x-api-key": "b", "x-other": "b"}).status == 200


def signed(target: str, key: str, name: str = "signature", end: str = "expires") -> str:
    target += f"{'&' if '?' in target else '?'}{end}={int(time.time()) + 60}"
    return f"{target}&{name}={signature(key.encode(), 'GET', target)}"


def test_one_signature_is_checked_by_both_uses() -> None:
    with twice(SignedUrls(keys=[*SECRETS]), SignedUrls(keys=[SECRETS[1]], status=410)) as gateway:
        statuses = [gateway.get(signed(path, key)).status for path in ("/x", "/api/x?a=1") for key in SECRETS]
        assert statuses == [200, 200, 410, 200]
        assert [one.target for one in gateway.received] == ["/x", "/x", "/api/x?a=1"]


def test_two_signatures_are_checked_each_by_its_use() -> None:
    inner = SignedUrls(keys=[SECRETS[1]], signature="s", expires="e", status=410)
    with twice(SignedUrls(keys=[SECRETS[0]]), inner) as gateway:
        both = signed(signed("/api/x?a=1", SECRETS[1], "s", "e"), SECRETS[0])
        assert [gateway.get(both).status, gateway.get(signed("/api/x", SECRETS[0])).status] == [200, 410]
        assert gateway.received[0].target == "/api/x?a=1"


def test_rooms_do_not_take_each_others_tickets() -> None:
    rooms = WaitingRoom(seats=1, secret=SECRETS[0]), WaitingRoom(seats=1, secret=SECRETS[0], status=599)
    with twice(*rooms) as gateway:
        tickets = {one.partition("=")[0]: one for one in gateway.get("/api/x").headers.get_all("set-cookie")}
        assert set(tickets) == {"ticket", "ticket-waiting-room-2"}
        cookies = "; ".join(one.partition(";")[0] for one in tickets.values())
        assert gateway.get("/api/x", {"cookie": cookies}).status == 200
        stolen = tickets["ticket"].partition("=")[2].partition(";")[0]
        own = tickets["ticket"].partition(";")[0]
        assert gateway.get("/api/x", {"cookie": f"{own}; ticket-waiting-room-2={stolen}"}).status == 599


def test_the_policy_that_is_sent_has_the_nonce_that_the_server_got() -> None:
    policy = "script-src 'nonce-{nonce}'"
    uses = SecurityHeaders(content_security_policy=policy), SecurityHeaders(content_security_policy=policy)
    with twice(*uses) as gateway:
        for path in ("/x", "/api/x"):
            told = gateway.get(path).headers.get_all("content-security-policy")
            assert told == [policy.replace("{nonce}", gateway.received[-1].headers["x-csp-nonce"])]


def test_of_two_rules_for_origins_that_of_lower_order_decides_alone() -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(Cors(origins=["https://a.example"]))
    gate.use(Cors(origins=["https://b.example"]), on="/api/*", order=-301)
    asking = {"access-control-request-method": "PUT"}
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        for path, allowed in (("/x", "https://a.example"), ("/api/x", "https://b.example")):
            for origin in ("https://a.example", "https://b.example"):
                for method, more in (("GET", {}), ("OPTIONS", asking)):
                    told = gateway.request(method, path, {"origin": origin, **more}).headers
                    wanted = [allowed] if origin == allowed else []
                    assert told.get_all("access-control-allow-origin") == wanted
