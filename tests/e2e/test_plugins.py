"""The plugins that come with the gateway, named in a file, in several workers, over real sockets."""

import json
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import gated
from e2e.kit.client import RawClient, RawResponse

APP = "https://app.example"


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(
        {
            "routes": [{"path": "/", "to": origin.address}],
            "plugins": [
                {"plugin": "key-auth", "on": "/private/*", "config": {"keys": {"alice": "a-key"}}},
                {"plugin": "rate-limit", "on": "/limited/*", "config": {"rate": "10/h"}},
                {"plugin": "cors", "config": {"origins": [APP]}},
            ],
        },
        workers=2,
    )


def ask(gateway: RunningGateway, path: str, *headers: tuple[str, str], method: str = "GET") -> RawResponse:
    with RawClient(gateway.address) as client:
        return client.request(method, path, headers)


def test_ten_of_many_at_once_pass_and_the_rest_are_told_when(gateway: RunningGateway) -> None:
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: ask(gateway, "/limited/x"), range(60)))
    assert sorted(response.status for response in responses) == [200] * 10 + [429] * 50
    late = [int(response.get("retry-after") or 0) for response in responses if response.status == 429]
    assert all(1 <= seconds <= 360 for seconds in late)


def test_key_is_asked_for_and_never_reaches_the_server(gateway: RunningGateway, origin: Origin) -> None:
    assert ask(gateway, "/private/x", ("X-Consumer", "admin")).status == 401
    assert ask(gateway, "/private/x", ("X-API-Key", "a-key"), ("X_Consumer", "admin")).status == 200
    assert ask(gateway, "/open", ("X-Consumer", "admin")).status == 200
    told = [
        [value for name, value in seen.fields if name.lower().replace("_", "-") == "x-consumer"]
        for seen in origin.calls
    ]
    assert told == [["alice"], []]
    assert "x-api-key" not in {name.lower() for seen in origin.calls for name, _ in seen.fields}


def test_preflight_needs_no_key_and_errors_may_be_read(gateway: RunningGateway) -> None:
    origin = ("Origin", APP)
    preflight = ask(gateway, "/private/x", origin, ("Access-Control-Request-Method", "PUT"), method="OPTIONS")
    assert (preflight.status, preflight.get("access-control-allow-origin")) == (204, APP)
    refused = ask(gateway, "/private/x", origin)
    assert (refused.status, refused.get("access-control-allow-origin")) == (401, APP)


@pytest.mark.parametrize(
    "when",
    ["request.cookies['c'] == 'x'", "request.consumer == 'alice'", "request.query_params['c'] == 'x'"],
)
def test_a_condition_is_decided_on_the_first_request_too(serve: Serve, when: str) -> None:
    """What a condition reads may be imported only then."""
    uri_blocker = {"plugin": "uri-blocker", "when": f"!({when})", "config": {"block": ["/closed"]}}
    gateway = serve({"routes": [{"path": "/", "respond": "ok"}], "plugins": [uri_blocker]})
    assert (ask(gateway, "/closed").status, ask(gateway, "/open").status) == (403, 200)


def test_texts_are_replaced_in_a_stream_that_goes_on(serve: Serve, origin: Origin) -> None:
    gate = threading.Event()
    fields = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.on("/stream", gated(gate, fields + b"9\r\nfirst olo\r\n", b"6\r\nld end\r\n0\r\n\r\n"))
    use = {"plugin": "sub-filter", "config": {"replace": [{"find": "old", "by": "new"}]}}
    gateway = serve({"routes": [{"path": "/", "to": origin.address}], "plugins": [use]}, workers=2)
    with RawClient(gateway.address) as client:
        client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        received = client.read_until(b"first ol")  # before the server has sent the rest
        gate.set()
        received += client.read_until(b"0\r\n\r\n")
    body = received.partition(b"\r\n\r\n")[2]
    assert b"".join(body.split(b"\r\n")[1::2]) == b"first olnew end"


def test_graphql_is_measured_before_a_server_sees_it(serve: Serve, origin: Origin) -> None:
    use = {"plugin": "graphql-limits", "on": "/graphql", "config": {"max_depth": 2}}
    gateway = serve({"routes": [{"path": "/", "to": origin.address}], "plugins": [use]}, workers=2)
    kind = ("Content-Type", "application/json")
    upgrade = [("Upgrade", "WebSocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]
    with RawClient(gateway.address) as client:
        for query, status in (("{a{b}}", 200), ("{a{b{c}}}", 400), ("{a{...F}} fragment F on X{b{c}}", 400)):
            body = json.dumps({"query": query}).encode()
            assert client.request("POST", "/graphql", [kind], body=body).status == status
        key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        assert client.request("GET", "/graphql", [*upgrade, key]).status == 403
    (call,) = origin.calls
    assert json.loads(call.read_body()) == {"query": "{a{b}}"}


def test_a_batch_goes_through_the_routes_as_the_client(serve: Serve, origin: Origin) -> None:
    plugins = [
        {"plugin": "batch-requests", "on": "/batch"},
        {"plugin": "key-auth", "on": "/private/*", "config": {"keys": {"alice": "a"}}},
        {"plugin": "ip-restriction", "on": "/internal/*", "config": {"allow": ["10.0.0.0/8"]}},
    ]
    routes = [{"path": "/batch", "respond": {"status": 404}}, {"path": "/", "to": origin.address}]
    gateway = serve({"routes": routes, "plugins": plugins, "trusted_proxies": ["10.0.0.0/8"]}, workers=2)
    parts = [{"path": path} for path in ("/open", "/private/x", "/internal/x", "/batch")]
    body = json.dumps({"requests": parts}).encode()
    hostile = [("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1"), ("Forwarded", "for=10.0.0.1")]
    fields = [("Content-Type", "application/json"), ("X-Consumer", "admin"), *hostile]
    with RawClient(gateway.address) as client:
        for key, expected in ((), [200, 401, 403, 400]), ((("X-API-Key", "a"),), [200, 200, 403, 400]):
            response = client.request("POST", "/batch", [*fields, *key], body=body)
            assert [one["status"] for one in response.json()["responses"]] == expected
    assert [call.get("x-consumer") for call in origin.calls if call.path == "/private/x"] == ["alice"]
    assert not any("10.0.0.1" in value for call in origin.calls for _, value in call.fields)


def test_a_plugin_that_is_not_trusted_runs_in_processes_of_its_own(serve: Serve, origin: Origin) -> None:
    text = (
        "from headgate import *\nclass Mark(Plugin):\n    def request(self, request):\n"
        "        request.headers['x-by'] = 'one'\n"
    )
    document = {
        "routes": [{"path": "/", "to": origin.address}],
        "plugins": [{"plugin": "foreign:Mark", "isolate": True}],
    }
    gateway = serve(document, workers=2, files={"foreign.py": text})
    assert [gateway.get("/").status for _ in range(10)] == [200] * 10
    assert {call.get("x-by") for call in origin.calls} == {"one"}
    (gateway.folder / "foreign.py").write_text(text.replace("one", "two"))
    assert gateway.ask("reload")["ok"]
    gateway.get("/")
    assert origin.calls[-1].get("x-by") == "two"
    (gateway.folder / "foreign.py").write_text(text.replace("request.headers", "1 +"))
    refusal = gateway.ask("reload")
    assert not refusal["ok"]
    assert "is not valid Python" in refusal["error"]


def chunk(client: RawClient) -> bytes:
    """A chunk; the line break of the one before it may come with it."""
    line = client.read_until(b"\r\n").strip() or client.read_until(b"\r\n")
    return client.read_exactly(int(line, 16))


def test_an_event_arrives_compressed_when_it_is_sent(serve: Serve, origin: Origin) -> None:
    use = {"plugin": "compression", "config": {"codings": ["gzip"]}}
    gateway = serve({"routes": [{"path": "/", "to": origin.address}], "plugins": [use]})
    is_seen = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.on("/events", gated(is_seen, head + b"b\r\ndata: one\n\n\r\n", b"b\r\ndata: two\n\n\r\n0\r\n\r\n"))
    inflate = zlib.decompressobj(wbits=31)
    with RawClient(gateway.address) as client:
        client.send(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        assert b"content-encoding: gzip" in client.read_until(b"\r\n\r\n").lower()
        found = b""
        while b"one" not in found:  # the server sends no more until this has arrived
            found += inflate.decompress(chunk(client))
        is_seen.set()
        while not inflate.eof:
            found += inflate.decompress(chunk(client))
    assert found == b"data: one\n\ndata: two\n\n"
