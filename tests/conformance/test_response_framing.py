"""Responses whose framing is broken: an error or a cut connection for the client, and never reuse of the server's.

The verdict is the same for clients of HTTP/1 and HTTP/2, and for servers of both.
"""

import json
from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import raw
from e2e.kit.client import Fields
from e2e.kit.http2 import Http2Client
from e2e.kit.http2_server import Http2Server, Stream

OK = b"HTTP/1.1 200 OK\r\n"
EXTRA = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nPOISONED"

HEADS = {
    "length and coding": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "differing lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length with sign": OK + b"Content-Length: +3\r\n\r\nabc",
    "negative length": OK + b"Content-Length: -3\r\n\r\nabc",
    "empty length": OK + b"Content-Length: \r\n\r\n",
    "huge length": OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a coding nobody asked for": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two lines of codings": OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "control character": OK + b"X-A: b\x01c\r\nContent-Length: 3\r\n\r\nabc",
    "folded field": OK + b"X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + b"x" * 40 + b"\r\n\r\n",
    "nul in a value": OK + b"X-A: \x00\r\nContent-Length: 0\r\n\r\n",
    "control byte in a value": OK + b"X-A: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "bare carriage return": OK + b"X-A: b\rc\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"X-A\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status not a number": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "version 2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no version": b"200 OK\r\nContent-Length: 0\r\n\r\n",
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "nothing": b"",
}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    upstream = {"servers": f"{origin.address} max_fails=0", "retries": 0}
    return serve_module({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]})


VERSIONS = ["HTTP/1.1", "HTTP/2"]


def ask(
    gateway: RunningGateway, version: str, target: str, *, method: str = "GET"
) -> tuple[int, bytes, bool]:
    """The status, the content, and whether it came to its end."""
    if version == "HTTP/2":
        with Http2Client(gateway.address) as client:
            http2_response = client.response(client.request(target, method=method))
        return http2_response.status, http2_response.body, http2_response.is_ended
    with gateway.client() as client:
        client.send(f"{method} {target} HTTP/1.1\r\nHost: gate.test\r\n\r\n".encode())
        try:
            response = client.response(method)
        except ConnectionError:
            return 0, b"", False
    return response.status, response.body, True


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", HEADS)
def test_broken_head_gives_502(gateway: RunningGateway, origin: Origin, name: str, version: str) -> None:
    origin.on(
        "/broken", raw(HEADS[name] + EXTRA * bool(HEADS[name]), then="close" if not HEADS[name] else "keep")
    )
    status, body, is_whole = ask(gateway, version, "/broken")
    assert (status, is_whole) == (502, True)
    assert b"POISONED" not in body
    assert json.loads(ask(gateway, version, "/next")[1])["target"] == "/next"
    assert origin.wait_for("/next").connection_number != origin.at("/broken")[-1].connection_number


WIDE = {
    "zeros before a chunk size": b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 40 + b"3\r\nabc\r\n0\r\n\r\n",
    "empty member before chunked": b"Transfer-Encoding: , chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "empty member behind chunked": b"Transfer-Encoding: chunked,\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", WIDE)
def test_what_the_grammar_has_is_read(
    gateway: RunningGateway, origin: Origin, name: str, version: str
) -> None:
    """RFC 9112 section 7.1, RFC 9110 section 5.6.1.2."""
    origin.on("/wide", raw(OK + WIDE[name]))
    assert ask(gateway, version, "/wide") == (200, b"abc", True)


CHUNKS = {
    "not hexadecimal": b"3\r\nabc\r\nzz\r\n",
    "sign": b"3\r\nabc\r\n+3\r\nabc\r\n0\r\n\r\n",
    "prefix 0x": b"3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "bare line feed": b"3\r\nabc\r\n3\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabc\r\n3\r\nabcd\r\n0\r\n\r\n",
    "cut in a chunk": b"3\r\nabc\r\n9\r\nab",
    "cut between chunks": b"3\r\nabc\r\n",
    "cut before the last line": b"3\r\nabc\r\n0\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_broken_chunk_resets_the_stream(gateway: RunningGateway, origin: Origin, name: str) -> None:
    behaviour = raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[name], then="close")
    origin.on("/broken-chunk", behaviour)
    status, _, is_whole = ask(gateway, "HTTP/2", "/broken-chunk")
    # the reset may overtake the head
    assert (status == 502) == is_whole


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chunk_that_is_broken_at_once_gives_502(
    gateway: RunningGateway, origin: Origin, version: str
) -> None:
    origin.on("/first-chunk", raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"))
    status, _, is_whole = ask(gateway, version, "/first-chunk")
    assert (status, is_whole) == (502, True)


@pytest.mark.parametrize("name", CHUNKS)
def test_broken_chunk_cuts_the_client(gateway: RunningGateway, origin: Origin, name: str) -> None:
    behaviour = raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[name], then="close")
    origin.on("/broken-chunk", behaviour)
    with gateway.client() as client:
        client.send(b"GET /broken-chunk HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
        data = client.read_to_end()
    assert data.startswith((OK[:12], b"HTTP/1.1 502 "))
    if data.startswith(OK[:12]):
        assert b"abc" in data
        assert not data.endswith(b"0\r\n\r\n")


def test_short_body_resets_the_stream(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/short-2", raw(OK + b"Content-Length: 10\r\n\r\nabc", then="close"))
    _, body, is_whole = ask(gateway, "HTTP/2", "/short-2")
    assert (b"abc".startswith(body), is_whole) == (True, False)


def test_short_body_cuts_the_client(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/short", raw(OK + b"Content-Length: 10\r\n\r\nabc", then="close"))
    with gateway.client() as client:
        client.send(b"GET /short HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        head = client.head()
        assert head.get("content-length") == "10"
        assert client.read_to_end() == b"abc"


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_after_a_body_end_the_server_connection(
    gateway: RunningGateway, origin: Origin, version: str
) -> None:
    origin.on("/extra", raw(OK + b"Content-Length: 3\r\n\r\nabc" + EXTRA))
    assert ask(gateway, version, "/extra") == (200, b"abc", True)
    assert json.loads(ask(gateway, version, "/next")[1])["target"] == "/next"
    assert origin.wait_for("/next").connection_number != origin.at("/extra")[0].connection_number


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_after_a_bodiless_response_end_the_server_connection(
    gateway: RunningGateway, origin: Origin, version: str
) -> None:
    origin.on("/extra-204", raw(b"HTTP/1.1 204 No Content\r\n\r\n" + EXTRA))
    origin.on("/extra-head", raw(OK + b"Content-Length: 8\r\n\r\nPOISONED"))
    assert ask(gateway, version, "/extra-204") == (204, b"", True)
    assert json.loads(ask(gateway, version, "/next")[1])["target"] == "/next"
    assert ask(gateway, version, "/extra-head", method="HEAD") == (200, b"", True)
    assert json.loads(ask(gateway, version, "/next")[1])["target"] == "/next"


def test_unasked_bytes_of_an_idle_server_are_not_a_response(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/unasked", raw(OK + b"Content-Length: 2\r\n\r\nok"))
    assert gateway.get("/unasked").body == b"ok"
    calls = origin.at("/unasked")
    calls[-1].send(EXTRA)
    for _ in range(5):
        assert gateway.get("/next").json()["target"] == "/next"


@pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints"])
def test_endless_interim_responses_are_an_error(gateway: RunningGateway, origin: Origin, status: str) -> None:
    origin.on("/endless", raw(f"HTTP/1.1 {status}\r\n\r\n".encode() * 5000, then="close"))
    with gateway.client() as client:
        client.send(b"GET /endless HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
        data = client.read_to_end()
    assert data.count(b"HTTP/1.1 1") < 100
    assert b" 200 " not in data
    assert gateway.get("/next").status == 200


def test_only_the_first_of_several_responses_counts(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/twice", raw(EXTRA.replace(b"POISONED", b"original") + EXTRA))
    with gateway.client() as client:
        assert client.get("/twice").body == b"original"
        assert client.get("/next").json()["target"] == "/next"
        assert client.get("/twice").body == b"original"


@pytest.fixture(scope="module")
def http2_server() -> Iterator[Http2Server]:
    with Http2Server(respond_as_told) as server:
        yield server


@pytest.fixture(scope="module")
def to_http2(serve_module: Serve, http2_server: Http2Server) -> RunningGateway:
    upstream = {"servers": f"{http2_server.address} max_fails=0", "retries": 0, "protocol": "h2"}
    return serve_module({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]})


HTTP2_HEADS: dict[str, Fields] = {
    "differing lengths": [("content-length", "2"), ("content-length", "3")],
    "length with sign": [("content-length", "+2")],
    "negative length": [("content-length", "-2")],
    "empty length": [("content-length", "")],
    "length beyond the content": [("content-length", "5")],
    "length short of the content": [("content-length", "1")],
    "control byte in a value": [("x-a", "a\x01b")],
    "nul in a value": [("x-a", "a\x00b")],
    "line feed in a value": [("x-a", "a\nb")],
}


def respond_as_told(stream: Stream) -> None:
    """Responds with the fields of the case that the path names."""
    name = (stream.get(":path") or "").removeprefix("/").replace("-", " ")
    stream.respond(b"ok", fields=HTTP2_HEADS.get(name, ()))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", HTTP2_HEADS)
def test_a_broken_response_of_http2_gets_the_same_verdict(
    to_http2: RunningGateway, name: str, version: str
) -> None:
    status, _, is_whole = ask(to_http2, version, "/" + name.replace(" ", "-"))
    assert status == 502 or not is_whole
    assert ask(to_http2, version, "/fine") == (200, b"ok", True)
