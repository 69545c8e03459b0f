"""Bodies of every framing go through the gateway unchanged, in both directions."""

import hashlib
import threading

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import chunked, digest, gated, raw, reply, until_close

LARGE = 50 * 1024 * 1024


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}]})


def test_response_with_length_arrives_with_that_length(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/length", reply(b"x" * 5000, fields=[("Content-Type", "text/x-test")]))
    response = gateway.get("/length")
    assert (response.status, response.body) == (200, b"x" * 5000)
    assert response.get("content-length") == "5000"
    assert response.get("content-type") == "text/x-test"
    assert response.get("transfer-encoding") is None


def test_chunked_response_arrives_chunked(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/chunked", chunked([b"one", b"twotwo", b"x" * 70000]))
    response = gateway.get("/chunked")
    assert response.body == b"onetwotwo" + b"x" * 70000
    assert response.get("transfer-encoding") == "chunked"
    assert response.get("content-length") is None


def test_empty_chunked_response_is_empty(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/chunked-empty", chunked([]))
    response = gateway.get("/chunked-empty")
    assert (response.status, response.body) == (200, b"")


def test_trailers_of_a_response_arrive(gateway: RunningGateway, origin: Origin) -> None:
    trailers = [("X-Checksum", "abc"), ("X-Second", "2")]
    origin.on("/trailers", chunked([b"body"], trailers, fields=[("Trailer", "X-Checksum, X-Second")]))
    response = gateway.get("/trailers", [("TE", "trailers"), ("Connection", "te")])
    assert response.body == b"body"
    assert [(name.lower(), value) for name, value in response.trailers] == [
        ("x-checksum", "abc"),
        ("x-second", "2"),
    ]


def test_trailers_that_could_change_the_message_are_dropped(gateway: RunningGateway, origin: Origin) -> None:
    origin.on(
        "/bad-trailers", chunked([b"body"], [("Content-Length", "9"), ("Set-Cookie", "a=b"), ("X-Fine", "1")])
    )
    response = gateway.get("/bad-trailers", [("TE", "trailers"), ("Connection", "te")])
    names = [name.lower() for name, _ in response.trailers]
    assert "x-fine" in names
    assert "content-length" not in names


def test_body_until_close_keeps_the_client_connection(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/until-close", until_close(b"y" * 3000))
    with gateway.client() as client:
        response = client.get("/until-close")
        assert response.body == b"y" * 3000
        assert response.get("transfer-encoding") == "chunked"
        assert client.get("/after").status == 200


def test_body_until_close_ends_an_http_1_0_client_connection(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/until-close-10", until_close(b"z" * 3000))
    with gateway.client() as client:
        client.send(b"GET /until-close-10 HTTP/1.0\r\nHost: gate.test\r\n\r\n")
        head = client.head()
        assert head.get("transfer-encoding") is None
        assert client.read_to_end() == b"z" * 3000


def test_chunked_response_is_unchunked_for_an_http_1_0_client(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/chunked-10", chunked([b"ab", b"cd"]))
    with gateway.client() as client:
        client.send(b"GET /chunked-10 HTTP/1.0\r\nHost: gate.test\r\n\r\n")
        head = client.head()
        assert head.get("transfer-encoding") is None
        assert client.read_to_end() == b"abcd"


def test_request_with_length_arrives_with_that_length(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.post("/post", b"b" * 20000).status == 200
    call = origin.wait_for("/post")
    assert call.body == b"b" * 20000
    assert call.all("content-length") == ["20000"]
    assert call.get("transfer-encoding") is None


def test_chunked_request_arrives_whole(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"POST /post-chunked HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"4;ext=1\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n")
        assert client.response("POST").status == 200
        assert client.get("/after").status == 200
    call = origin.wait_for("/post-chunked")
    assert call.body == b"wikipedia"
    assert b"ext" not in call.wire_body


def test_trailers_of_a_request_arrive(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"POST /post-trailers HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\na\r\n0\r\nX-Sum: 9\r\nHost: evil\r\n\r\n")
        assert client.response("POST").status == 200
    call = origin.wait_for("/post-trailers")
    assert [(name.lower(), value) for name, value in call.trailers] == [("x-sum", "9")]


def test_post_without_body_sends_length_zero(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.post("/post-empty", b"").status == 200
    assert origin.wait_for("/post-empty").get("content-length") == "0"


def test_get_with_body_is_framed_anew(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        assert client.request("GET", "/get-body", body=b"abc").status == 200
        assert client.get("/after").status == 200
    call = origin.wait_for("/get-body")
    assert (call.body, call.all("content-length")) == (b"abc", ["3"])


def test_head_has_the_length_and_no_body(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/head", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"))
    with gateway.client() as client:
        response = client.request("HEAD", "/head")
        assert (response.status, response.get("content-length")) == (200, "1234")
        assert client.get("/after").status == 200


def test_head_of_a_chunked_resource_has_no_body(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/head-chunked", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
    with gateway.client() as client:
        assert client.request("HEAD", "/head-chunked").status == 200
        assert client.get("/after").status == 200


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_status_without_body_ends_at_the_head(gateway: RunningGateway, origin: Origin, status: str) -> None:
    path = f"/bodiless-{status[:3]}"
    origin.on(path, raw(f'HTTP/1.1 {status}\r\nETag: "v1"\r\n\r\n'.encode()))
    with gateway.client() as client:
        response = client.get(path)
        assert (response.status, response.get("etag")) == (int(status[:3]), '"v1"')
        assert response.get("transfer-encoding") is None
        assert client.get("/after").status == 200


def test_304_keeps_the_length_it_declares(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/304", raw(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n"))
    with gateway.client() as client:
        assert client.get("/304").get("content-length") == "77"
        assert client.get("/after").status == 200


def test_response_is_streamed_as_it_comes(gateway: RunningGateway, origin: Origin) -> None:
    release = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.on("/stream", gated(release, head + b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n"))
    with gateway.client() as client:
        client.send(b"GET /stream HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.head().status == 200
        assert client.read_until(b"first") == b"5\r\nfirst"
        release.set()
        assert client.read_until(b"0\r\n\r\n") == b"\r\n6\r\nsecond\r\n0\r\n\r\n"


def test_request_is_streamed_as_it_comes(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"POST /stream-up HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 10\r\n\r\nfirst")
        call = origin.wait_for("/stream-up")
        assert not call.body
        client.send(b"-last")
        assert client.response("POST").status == 200
    assert origin.wait_for("/stream-up").body == b"first-last"


def test_large_download_is_intact(gateway: RunningGateway, origin: Origin) -> None:
    body = hashlib.sha256(b"seed").digest() * (LARGE // 32)
    origin.on("/large", reply(body))
    response = gateway.get("/large", timeout=60)
    assert hashlib.sha256(response.body).digest() == hashlib.sha256(body).digest()


def test_large_chunked_download_is_intact(gateway: RunningGateway, origin: Origin) -> None:
    piece = bytes(range(256)) * 4096
    origin.on("/large-chunked", chunked([piece] * 20))
    response = gateway.get("/large-chunked", timeout=60)
    assert hashlib.sha256(response.body).digest() == hashlib.sha256(piece * 20).digest()


def test_large_upload_is_intact(gateway: RunningGateway, origin: Origin) -> None:
    body = hashlib.sha256(b"other seed").digest() * (LARGE // 32)
    origin.on("/large-up", digest)
    response = gateway.post("/large-up", body, timeout=60)
    assert response.text == hashlib.sha256(body).hexdigest()


def test_connection_to_the_origin_is_free_again_after_a_body(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/free", chunked([b"data"] * 10))
    with gateway.client() as client:
        client.get("/free")
        client.get("/free")
    first, second = origin.at("/free")
    assert first.connection_number == second.connection_number
