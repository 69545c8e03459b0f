"""Responses made by hooks: every kind of `Response`, streams among them."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually

GATE = """
import asyncio
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
state = {"closed": 0, "sent": 0}

def responding(path):
    return gate.route(path)

@responding("/bytes")
def _(request):
    return Response(200, b"\\x00\\x01", headers={"x-a": "1"})

@responding("/text")
async def _(request):
    return Response(401, "who are you? \\u00fc")

@responding("/json")
def _(request):
    return Response.json({"a": [1, "\\u00fc"]}, 202, headers=[("x-a", "1"), ("x-a", "2")])

@responding("/redirect")
def _(request):
    return Response.redirect("/there", 303)

@responding("/none")
def _(request):
    return Response(204)

@responding("/stream")
async def _(request):
    async def rows():
        for number in range(5):
            yield f"row {number}\\n".encode()
            await asyncio.sleep(0.001)
    return Response.stream(rows(), content_type="text/x-rows")

@responding("/big-stream")
async def _(request):
    async def rows():
        for _ in range(200):
            yield b"x" * 65536
    return Response.stream(rows())

@responding("/endless")
async def _(request):
    async def rows():
        try:
            while True:
                state["sent"] += 1
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            state["closed"] += 1
    return Response.stream(rows())

@responding("/broken-stream")
async def _(request):
    async def rows():
        yield b"first"
        await asyncio.sleep(0.01)
        raise RuntimeError("stream is broken")
    return Response.stream(rows())

@responding("/silence")
def _(request):
    pass

@responding("/nonsense")
def _(request):
    return 42

@responding("/state")
def _(request):
    return Response.json(state)
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(GATE)


def test_bytes_are_sent_as_they_are(gateway: RunningGateway) -> None:
    response = gateway.get("/bytes")
    assert (response.status, response.body) == (200, b"\x00\x01")
    assert response.get("content-type") == "application/octet-stream"
    assert response.get("x-a") == "1"
    assert response.get("content-length") == "2"


def test_text_is_sent_as_utf_8(gateway: RunningGateway) -> None:
    response = gateway.get("/text")
    assert (response.status, response.text) == (401, "who are you? \u00fc")
    assert response.get("content-type") == "text/plain; charset=utf-8"


def test_json_is_sent_with_repeated_headers(gateway: RunningGateway) -> None:
    response = gateway.get("/json")
    assert (response.status, response.json()) == (202, {"a": [1, "\u00fc"]})
    assert response.all("x-a") == ["1", "2"]


def test_redirect_is_the_response(gateway: RunningGateway) -> None:
    response = gateway.get("/redirect")
    assert (response.status, response.get("location")) == (303, "/there")


def test_response_without_body_keeps_the_connection(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        assert client.get("/none").status == 204
        assert client.get("/text").status == 401


def test_response_to_head_has_no_body(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        assert client.request("HEAD", "/bytes").get("content-length") == "2"
        assert client.request("HEAD", "/stream").status == 200
        assert client.get("/text").status == 401


def test_stream_is_sent_in_pieces(gateway: RunningGateway) -> None:
    response = gateway.get("/stream")
    assert response.text == "".join(f"row {number}\n" for number in range(5))
    assert response.get("content-type") == "text/x-rows"
    assert response.get("transfer-encoding") == "chunked"
    assert response.wire_body.count(b"row") == 5


def test_stream_to_an_http_1_0_client_ends_with_the_connection(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"GET /stream HTTP/1.0\r\n\r\n")
        response = client.response()
        assert response.get("transfer-encoding") is None
        assert response.text.endswith("row 4\n")


def test_big_stream_is_whole(gateway: RunningGateway) -> None:
    assert len(gateway.get("/big-stream", timeout=30).body) == 200 * 65536


def test_stream_waits_for_a_slow_client_and_ends_with_it(gateway: RunningGateway) -> None:
    from e2e.kit import RawClient

    with RawClient(gateway.address, receive_buffer=4096) as client:
        client.send(b"GET /endless HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.head().status == 200

        def sent() -> int:
            return int(gateway.get("/state").json()["sent"])

        def has_stopped() -> bool:
            before = sent()
            return client.is_silent(0) or sent() == before

        eventually(has_stopped, "the stream waits")
        assert sent() < 1000, "64 MB were made for a client that reads nothing"
    eventually(
        lambda: gateway.get("/state").json()["closed"] == 1,
        "the generator is closed when the client disconnects",
    )


def test_stream_that_raises_cuts_the_response_and_is_logged(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"GET /broken-stream HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.head().status == 200
        data = client.read_to_end()
    assert b"first" in data
    assert not data.endswith(b"0\r\n\r\n")
    gateway.wait_for_log("RuntimeError: stream is broken")


def test_route_whose_hook_says_nothing_is_404(gateway: RunningGateway) -> None:
    assert gateway.get("/silence").status == 404


def test_nonsense_from_a_hook_is_an_error(gateway: RunningGateway) -> None:
    assert gateway.get("/nonsense").status == 500
    gateway.wait_for_log("(?s)nonsense|int")


def test_body_of_a_request_that_a_hook_responds_to_is_no_request(
    gateway: RunningGateway, origin: Origin
) -> None:
    with gateway.client() as client:
        response = client.request("POST", "/text", body=b"GET /bytes HTTP/1.1\r\nHost: a\r\n\r\n")
        assert response.status == 401
        if response.get("connection") != "close":
            assert client.get("/json").status == 202
