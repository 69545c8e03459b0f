"""Whatever hooks make of a request and its response, a strict client of any version reads one message and its end."""

import json
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve
from e2e.kit.client import format_request
from e2e.kit.http2 import Http2Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

GATE = """
import json
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
servers = gate.upstream("servers", ORIGIN, retries=0)

def told(request, what):
    return json.loads(request.headers.get("x-case") or "{}").get(what)

@gate.rewrite
def rewrite(request):
    if method := told(request, "rewritten"):
        request.method = method

def access(request):
    if method := told(request, "method"):
        request.method = method
    if told(request, "made") == "request":
        return made(request)

def made(request):
    body = told(request, "body")
    return Response(told(request, "status") or 200, pieces(body) if told(request, "streamed") else body)

async def pieces(body):
    for at in range(0, len(body), 5):
        yield body[at:at + 5].encode()

def respond(request, response):
    if told(request, "made") == "response":
        return made(request)
    if status := told(request, "status"):
        response.status = status
    if told(request, "trailers"):
        response.trailers["x-sum"] = "7"

plain, filtered = gate.route("/plain/*", to=servers), gate.route("/filtered/*", to=servers)
for route in (plain, filtered):
    route.request(access)
    route.response(respond)

@filtered.response_body
def grow(request, response, chunk, last):
    return bytes(chunk) * told(request, "factor")
"""

CASES = some.fixed_dictionaries(
    {
        "rewritten": some.sampled_from(["", "", "GET", "HEAD", "PUT"]),
        "method": some.sampled_from(["", "", "GET", "HEAD", "OPTIONS"]),
        "made": some.sampled_from(["", "", "", "request", "response"]),
        "status": some.sampled_from([0, 0, 200, 204, 205, 206, 304, 404, 503]),
        "streamed": some.booleans(),
        "trailers": some.booleans(),
        "body": some.sampled_from(["", "made by a hook"]),
        "factor": some.sampled_from([0, 1, 3]),
        "server_status": some.sampled_from([200, 201, 204, 205, 206, 304, 404, 500]),
        "server_framing": some.sampled_from(["length", "chunks", "close"]),
        "server_bytes": some.sampled_from([0, 13, 100_000]),
        "asked": some.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
        "path": some.sampled_from(["/plain/x", "/filtered/x"]),
    }
)

PLAIN = {
    **dict.fromkeys(["rewritten", "method", "made", "body"], ""),
    "status": 0,
    "streamed": False,
    "trailers": False,
    "factor": 1,
    "server_status": 200,
    "server_framing": "length",
    "server_bytes": 4,
}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


@pytest.fixture(autouse=True)
def _behaviours(gateway: RunningGateway, origin: Origin) -> None:
    for path in ("/plain/x", "/filtered/x", "/plain/next"):
        origin.on(path, behave)


def behave(call: Call) -> None:
    """Responds as the case says, framed correctly for the method and the status."""
    call.read_body()
    case = json.loads(call.get("x-case") or "{}")
    status, body = case["server_status"], b"x" * case["server_bytes"]
    framing = case["server_framing"]
    if status in (204, 205):
        framing, body = ("none" if status == 204 else "length"), b""
    fields = {
        "none": "",
        "length": f"Content-Length: {len(body)}\r\n",
        "chunks": "Transfer-Encoding: chunked\r\n",
        "close": "Connection: close\r\n",
    }[framing]
    if call.method == "HEAD" or status == 304:
        content = b""
    elif framing == "chunks":
        content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    else:
        content = body
    call.send(f"HTTP/1.1 {status} Own\r\n{fields}\r\n".encode() + content)
    if framing == "close":
        call.close()


def expected_status(case: dict[str, Any]) -> int:
    if case["made"]:
        return case["status"] or 200
    return case["status"] or case["server_status"]


def check(case: dict[str, Any], status: int, fields: list[tuple[str, str]], body: bytes) -> None:
    """What a strict client holds against a message beside its framing."""
    assert status == expected_status(case)
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    assert len(lengths) <= 1
    assert [name.lower() for name, _ in fields].count("date") == 1
    if status == 204:
        assert lengths == []
    if status == 205:
        assert lengths == ["0"]
    if case["asked"] == "HEAD" or status in (204, 205, 304):
        assert body == b""
    elif lengths:
        assert int(lengths[0]) == len(body)


@given(case=CASES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_hook_leaves_a_message_that_a_strict_client_reads(
    gateway: RunningGateway, case: dict[str, Any]
) -> None:
    fields = [("x-case", json.dumps(case))]
    with gateway.client() as client:
        response = client.request(case["asked"], case["path"], fields)
        check(case, response.status, response.fields, response.body)
        if response.get("connection") == "close":
            assert client.read_to_end() == b""
        else:
            client.send(format_request("GET", "/plain/next", [("x-case", json.dumps(PLAIN))]))
            assert client.response().body == b"xxxx"
    with Http2Client(gateway.address) as http2:
        http2_response = http2.response(http2.request(case["path"], method=case["asked"], fields=fields))
        assert http2_response.is_ended, response
        check(case, http2_response.status, http2_response.fields, http2_response.body)
        assert http2.get("/plain/next", [("x-case", json.dumps(PLAIN))]).body == b"xxxx"
