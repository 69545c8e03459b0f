"""Requests whose framing is broken or doubtful: refused with 400 and closed, and the server never hears of them."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually

HOST = b"Host: gate.test\r\n"
CHUNKED = b"POST /refused HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /refused HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


HEADS = {
    "length and coding": post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "coding and length": post(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n"),
    "differing lengths": post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"),
    "differing lengths in one": post(b"Content-Length: 3, 4\r\n", b"abcd"),
    "length with sign": post(b"Content-Length: +3\r\n", b"abc"),
    "negative length": post(b"Content-Length: -3\r\n", b"abc"),
    "hexadecimal length": post(b"Content-Length: 0x3\r\n", b"abc"),
    "empty length": post(b"Content-Length: \r\n"),
    "length with a space": post(b"Content-Length: 1 1\r\n", b"a" * 11),
    "huge length": post(b"Content-Length: 99999999999999999999999\r\n"),
    "coding in HTTP/1.0": b"POST /refused HTTP/1.0\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    "other coding": post(b"Transfer-Encoding: gzip\r\n", b"x"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "chunked in two fields": post(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"
    ),
    "quoted chunked": post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
    "chunked after vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity\r\n"),
    "space before colon": post(b"Content-Length : 3\r\n", b"abc"),
    "tab before colon": post(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n"),
    "folded field": post(b"X-Folded: a\r\n b\r\n"),
    "folded first field": b"GET /refused HTTP/1.1\r\n Host: gate.test\r\n\r\n",
    "bare line feed": b"GET /refused HTTP/1.1\nHost: gate.test\n\n",
    "bare line feed in a field": post(b"X-A: b\nX-C: d\r\n"),
    "bare carriage return": post(b"X-A: b\rc\r\n"),
    "carriage return before the end": b"GET /refused HTTP/1.1\r\n" + HOST + b"X-A: b\r\r\n\r\n",
    "nul in a value": post(b"X-A: b\x00c\r\n"),
    "nul in a name": post(b"X-\x00A: b\r\n"),
    "empty name": post(b": b\r\n"),
    "no colon": post(b"X-A\r\n"),
    "no host": b"GET /refused HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /refused HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two equal hosts": b"GET /refused HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "host with a list": b"GET /refused HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host with a path": b"GET /refused HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with user": b"GET /refused HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "host with bad port": b"GET /refused HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "space in the target": b"GET /refused x HTTP/1.1\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  /refused HTTP/1.1\r\n" + HOST + b"\r\n",
    "tab as separator": b"GET\t/refused\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "control in the target": b"GET /ref\x01used HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad method": b"G(T /refused HTTP/1.1\r\n" + HOST + b"\r\n",
    "lower-case version": b"GET /refused http/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /refused\r\n\r\n",
    "target without slash": b"GET refused HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk with GET": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n",
}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}]})


@pytest.mark.parametrize("name", HEADS)
def test_broken_head_gets_400_and_the_end(gateway: RunningGateway, origin: Origin, name: str) -> None:
    with gateway.client() as client:
        client.send(HEADS[name] + b"GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        response = client.response()
        assert (response.status, response.get("connection")) == (400, "close")
        assert client.read_to_end() == b""
    assert origin.received == b""


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.1"])
def test_other_major_versions_get_505(gateway: RunningGateway, origin: Origin, version: bytes) -> None:
    with gateway.client() as client:
        client.send(b"GET /refused " + version + b"\r\n" + HOST + b"\r\n")
        assert client.response().status == 505
        assert client.read_to_end() == b""
    assert origin.received == b""


BODIES = {
    "no digits": b"\r\nabc\r\n0\r\n\r\n",
    "not hexadecimal": b"g\r\nabc\r\n0\r\n\r\n",
    "sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-1\r\nabc\r\n0\r\n\r\n",
    "prefix 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "leading space": b" 3\r\nabc\r\n0\r\n\r\n",
    "trailing space": b"3 \r\nabc\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "overflow": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "bare line feed after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare line feed after the data": b"3\r\nabc\n0\r\n\r\n",
    "bare carriage return after the size": b"3\rabc\r\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "data shorter than its size": b"5\r\nabc\r\n0\r\n\r\n",
    "line feed in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "nul in an extension": b"3;a\x00b\r\nabc\r\n0\r\n\r\n",
    "bare line feed at the end": b"3\r\nabc\r\n0\n\n",
    "trailer with a space before the colon": b"0\r\nX-A : b\r\n\r\n",
    "folded trailer": b"0\r\nX-A: b\r\n c\r\n\r\n",
    "trailer with a bare line feed": b"0\r\nX-A: b\nX-B: c\r\n\r\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_broken_chunk_ends_the_connection(gateway: RunningGateway, origin: Origin, name: str) -> None:
    with gateway.client() as client:
        client.send(CHUNKED + BODIES[name] + b"GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        data = client.read_to_end()
    # Part of the body may have gone on before the fault: what never happens is success, or a second response.
    assert data.startswith(b"HTTP/1.1 400 "), data[:200]
    assert data.count(b"HTTP/1.1 ") == 1
    assert origin.at("/smuggled") == []
    assert [call for call in origin.at("/refused") if call.wire_body.endswith(b"0\r\n\r\n")] == []


EQUAL_LENGTHS = [b"Content-Length: 3\r\nContent-Length: 3\r\n", b"Content-Length: 3, 3\r\n"]


@pytest.mark.parametrize("fields", EQUAL_LENGTHS)
def test_repeated_length_is_refused(gateway: RunningGateway, origin: Origin, fields: bytes) -> None:
    with gateway.client() as client:
        client.send(post(fields, b"abc"))
        assert client.response("POST").status == 400
    assert origin.received == b""


def test_upper_case_coding_is_chunked(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(post(b"TRANSFER-ENCODING: Chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"))
        assert client.response("POST").json()["body"] == "abc"


def test_coding_under_the_chunks_is_kept_and_named(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        fields = b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"
        client.send(post(fields, b"2\r\n\x1f\x8b\r\n0\r\n\r\n"))
        assert client.response("POST").status == 200
    call = origin.wait_for("/refused")
    assert ", ".join(call.all("transfer-encoding")) == "gzip, chunked"
    assert call.body == b"\x1f\x8b"


def test_body_cut_by_the_client_is_never_whole_for_the_server(
    gateway: RunningGateway, origin: Origin
) -> None:
    with gateway.client() as client:
        client.send(CHUNKED + b"3\r\nabc\r\n")
        origin.wait_for("/refused")

    eventually(lambda: origin.at("/refused")[0].is_failed, "the server sees a cut body")
    assert not origin.at("/refused")[0].wire_body.endswith(b"0\r\n\r\n")
