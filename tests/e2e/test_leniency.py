"""Strict by the grammar, towards clients and servers; what a named list lets pass arrives well formed."""

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve
from e2e.kit.http2 import Http2Client

REQUESTS = {
    "version_digits": [b"GET /x HTTP/01.01\r\nHost: h\r\n\r\n"],
    "chunk_extensions": [
        b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;\r\na\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;(\r\na\r\n0\r\n\r\n",
    ],
    "control_characters": [b"GET /x HTTP/1.1\r\nHost: h\r\nX-A: a\x01b\r\n\r\n"],
    "non_ascii_targets": [
        "GET /x?ü HTTP/1.1\r\nHost: h\r\n\r\n".encode(),
        b'GET /x?filter={"a":1} HTTP/1.1\r\nHost: h\r\n\r\n',
    ],
    "overlong_utf8": [b"GET /x?%c0%ae HTTP/1.1\r\nHost: h\r\n\r\n"],
    "fragments": [b"GET /x#y HTTP/1.1\r\nHost: h\r\n\r\n"],
}
CASES = [(rule, request) for rule, requests in REQUESTS.items() for request in requests]


def ask(gateway: RunningGateway, request: bytes) -> int:
    with RawClient(gateway.address) as client:
        client.send(request)
        return client.response().status


@pytest.fixture(scope="module")
def strict(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}]})


@pytest.fixture(scope="module")
def lenient(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"limits": {"lenient": list(REQUESTS)}, "routes": [{"to": origin.address}]})


@pytest.mark.parametrize(("rule", "request_bytes"), CASES)
def test_request_against_the_grammar_is_refused(
    strict: RunningGateway, origin: Origin, rule: str, request_bytes: bytes
) -> None:
    assert ask(strict, request_bytes) == 400
    assert [call.target for call in origin.calls if call.is_body_read and call.body] == []


@pytest.mark.parametrize(("rule", "request_bytes"), CASES)
def test_request_passes_where_its_rule_is_named(
    lenient: RunningGateway, origin: Origin, rule: str, request_bytes: bytes
) -> None:
    assert ask(lenient, request_bytes) == 200
    (call,) = origin.calls
    assert call.version == "HTTP/1.1"
    assert call.target in ("/x", "/x?%C3%BC", "/x?filter={%22a%22:1}", "/x?%c0%ae")
    assert call.get("x-a") in (None, "a b")


SERVERS = {
    "bare_lf": b"HTTP/1.1 200 OK\nContent-Length: 2\nX-A: b\n\nok",
    "folded_lines": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n c\r\n\r\nok",
    "duplicate_content_length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok",
    "control_characters": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\x01c\r\n\r\nok",
    "chunk_extensions": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;\r\nok\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("rule", SERVERS)
def test_response_against_the_grammar_passes_only_where_its_rule_is_named(
    serve: Serve, origin: Origin, rule: str
) -> None:
    origin.on("/old", lambda call: call.send(SERVERS[rule]))
    gateway = serve(
        {
            "upstreams": {"old": {"servers": origin.address, "lenient": rule}},
            "routes": [
                {"path": "/old", "to": "old", "host": "lenient.test"},
                {"path": "/old", "to": origin.address},
            ],
        }
    )
    response = gateway.get("/old", host="lenient.test")
    assert (response.status, response.text) == (200, "ok")
    assert response.get("x-a") in (None, "b", "b c")
    with RawClient(gateway.address) as client:
        client.send(b"GET /old HTTP/1.1\r\nHost: h\r\n\r\n")
        if rule == "chunk_extensions":
            # its head is well formed and has gone on before the chunk came
            assert client.head().status in (200, 502)
        else:
            assert client.response().status == 502


def test_white_space_that_servers_may_send_is_removed(serve: Serve, origin: Origin) -> None:
    body = b"2 ;a=b\r\nok\r\n0\t;c\r\n\r\n"
    origin.on(
        "/spaces",
        lambda call: call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nX-A \t: b\r\n\r\n" + body),
    )
    response = serve({"routes": [{"to": origin.address}]}).get("/spaces")
    assert (response.status, response.text, response.get("x-a")) == (200, "ok", "b")


SPELLINGS = [
    "X_Forwarded_For",
    "x_forwarded-for",
    "X_Real_IP",
    "X_Forwarded_Proto",
    "X.Forwarded.Host",
    "X_Request_Id",
    "X_User",
]


@pytest.mark.parametrize("trusted", [None, "127.0.0.0/8", "10.0.0.0/8"])
def test_no_spelling_of_a_forwarding_or_identity_field_reaches_a_server(
    serve: Serve, origin: Origin, trusted: str | None
) -> None:
    gateway = serve(
        {
            "trusted_proxies": trusted,
            "forwarding": {"identity_fields": "x-user"},
            "routes": [{"to": origin.address}],
        }
    )
    gateway.get("/x", [*((name, "6.6.6.6") for name in SPELLINGS), ("X-User", "root"), ("X_Other", "1")])
    (call,) = origin.calls
    assert not [name for name, value in call.fields if value in ("6.6.6.6", "root")]
    assert call.get("x_other") == "1"


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_identity_fields_do_not_come_as_trailers(serve: Serve, origin: Origin, version: str) -> None:
    """RFC 9110 section 6.5.1: a server may merge them into the head."""
    gateway = serve({"forwarding": {"identity_fields": "x-user"}, "routes": [{"to": origin.address}]})
    fields = [("x-user", "root"), ("x_user", "root"), ("x.user", "root"), ("proxy", "evil"), ("x-sum", "1")]
    if version == "HTTP/2":
        with Http2Client(gateway.address) as client:
            stream = client.request("/t", method="POST", body=b"a", ends=False)
            client.send_trailers(stream, fields)
            client.response(stream)
    else:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        with gateway.client() as client:
            client.send(b"POST /t HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            client.send(f"0\r\n{lines}\r\n".encode())
            client.response()
    assert origin.wait_for("/t").trailers == [("x-sum", "1")]


@pytest.mark.parametrize(
    ("mode", "status", "field"), [("keep", 200, "1"), ("drop", 200, None), ("refuse", 400, None)]
)
def test_fields_with_underscores_are_kept_dropped_or_refused(
    serve: Serve, origin: Origin, mode: str, status: int, field: str | None
) -> None:
    gateway = serve({"limits": {"underscore_headers": mode}, "routes": [{"to": origin.address}]})
    assert gateway.get("/x", [("X_Other", "1")]).status == status
    assert [call.get("x_other") for call in origin.calls] == ([field] if status == 200 else [])


def test_each_field_of_a_trusted_hop_is_believed_for_itself(serve: Serve, origin: Origin) -> None:
    gateway = serve({"trusted_proxies": "127.0.0.0/8", "routes": [{"to": origin.address}]})
    gateway.get("/host", [("X-Forwarded-Host", "public.test")])
    gateway.get("/scheme", [("Forwarded", "proto=https")])
    gateway.get("/empty", [("X-Forwarded-For", "192.0.2.1, , 127.0.0.9")])
    host, scheme, empty = origin.calls
    assert host.all("x-forwarded-host") == ["public.test"]
    assert scheme.get("x-forwarded-proto") == "https"
    assert (empty.get("x-forwarded-for") or "").startswith("192.0.2.1")
