"""Responses whose framing is broken: an error or a cut connection for the client, and never reuse of the server's."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import raw

OK = b"HTTP/1.1 200 OK\r\n"
EXTRA = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nPOISONED"

HEADS = {
    "length and coding": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "differing lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length with sign": OK + b"Content-Length: +3\r\n\r\nabc",
    "negative length": OK + b"Content-Length: -3\r\n\r\nabc",
    "empty length": OK + b"Content-Length: \r\n\r\n",
    "huge length": OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "space before colon": OK + b"Content-Length : 3\r\n\r\nabc",
    "folded field": OK + b"X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + b"x" * 40 + b"\r\n\r\n",
    "nul in a value": OK + b"X-A: \x00\r\nContent-Length: 0\r\n\r\n",
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


@pytest.mark.parametrize("name", HEADS)
def test_broken_head_gives_502(gateway: RunningGateway, origin: Origin, name: str) -> None:
    origin.on(
        "/broken", raw(HEADS[name] + EXTRA * bool(HEADS[name]), then="close" if not HEADS[name] else "keep")
    )
    with gateway.client() as client:
        response = client.get("/broken")
        assert response.status == 502
        assert b"POISONED" not in response.body
        assert client.get("/next").json()["target"] == "/next"
    assert origin.wait_for("/next").connection_number != origin.at("/broken")[-1].connection_number


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
def test_broken_chunk_cuts_the_client(gateway: RunningGateway, origin: Origin, name: str) -> None:
    behaviour = raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[name], then="close")
    origin.on("/broken-chunk", behaviour)
    with gateway.client() as client:
        client.send(b"GET /broken-chunk HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        data = client.read_to_end()
    assert data.startswith((OK[:12], b"HTTP/1.1 502 "))
    if data.startswith(OK[:12]):
        assert b"abc" in data
        assert not data.endswith(b"0\r\n\r\n")


def test_short_body_cuts_the_client(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/short", raw(OK + b"Content-Length: 10\r\n\r\nabc", then="close"))
    with gateway.client() as client:
        client.send(b"GET /short HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        head = client.head()
        assert head.get("content-length") == "10"
        assert client.read_to_end() == b"abc"


def test_bytes_after_a_body_end_the_server_connection(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/extra", raw(OK + b"Content-Length: 3\r\n\r\nabc" + EXTRA))
    with gateway.client() as client:
        assert client.get("/extra").body == b"abc"
        assert client.get("/next").json()["target"] == "/next"
    assert origin.wait_for("/next").connection_number != origin.at("/extra")[0].connection_number


def test_bytes_after_a_bodiless_response_end_the_server_connection(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/extra-204", raw(b"HTTP/1.1 204 No Content\r\n\r\n" + EXTRA))
    origin.on("/extra-head", raw(OK + b"Content-Length: 8\r\n\r\nPOISONED"))
    with gateway.client() as client:
        assert client.get("/extra-204").status == 204
        assert client.get("/next").json()["target"] == "/next"
        assert client.request("HEAD", "/extra-head").status == 200
        assert client.get("/next").json()["target"] == "/next"


def test_unasked_bytes_of_an_idle_server_are_not_an_answer(gateway: RunningGateway, origin: Origin) -> None:
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


def test_only_the_first_of_several_answers_counts(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/twice", raw(EXTRA.replace(b"POISONED", b"original") + EXTRA))
    with gateway.client() as client:
        assert client.get("/twice").body == b"original"
        assert client.get("/next").json()["target"] == "/next"
        assert client.get("/twice").body == b"original"
