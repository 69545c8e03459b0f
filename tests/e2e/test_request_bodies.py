"""Bodies of requests: read and replaced in phase `request`, filtered in phase `request_body`."""

import gzip
import hashlib

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import digest
from e2e.kit.client import RawClient, format_request
from e2e.kit.net import eventually

GATE = """
import asyncio, hashlib
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
gate.limits(max_body_bytes="4m", max_buffered_body_bytes="1m", buffered_memory_bytes="64k")
gate.timeouts(client_body="1s")
api = gate.upstream("api", ORIGIN)
FIRST = gate.upstream("flaky", "127.0.0.1:1", ORIGIN, balance="round_robin")

@gate.route("/read/*", to=api)
async def read(request):
    request.headers["x-size"] = str(len(await request.body()))
    request.headers["x-again"] = str(len(await request.body()))

@gate.route("/at-once/*", to=api)
async def at_once(request):
    reading = request.body()
    try:
        reading.send(None)  # the first step of a coroutine that does not wait is its last
    except StopIteration as end:
        request.headers["x-size"] = str(len(end.value))
    request.headers["x-pieces"] = str([piece async for piece in request.stream()])

@at_once.log
async def at_once_later(request, response):
    print("LATER", await request.body())

@gate.route("/retried", to=FIRST)
async def retried(request):
    await request.body()

@gate.route("/json", to=api)
async def as_json(request):
    try:
        value = await request.json()
    except ValueError as error:
        return Response(422, str(error))
    request.set_body(str(value["n"] + 1), content_type="text/plain")

@gate.route("/text", to=api)
async def as_text(request):
    return Response(200, (await request.text()).upper())

@gate.route("/form", to=api)
async def as_form(request):
    try:
        form = await request.form()
    except ValueError as error:
        return Response(422, str(error))
    shown = {}
    for name, value in form.multi_items():
        is_text = isinstance(value, str)
        shown[name] = value if is_text else [value.filename, value.content_type, len(value.data)]
    return Response.json(shown)

@gate.route("/hash/*", to=api)
async def hashed(request):
    total = hashlib.sha256()
    async for chunk in request.stream():
        total.update(chunk)
    request.headers["x-sha"] = total.hexdigest()

@gate.route("/begin/*", to=api)
async def begins(request):
    async for chunk in request.stream():
        request.headers["x-first"] = str(len(chunk))
        break

@gate.route("/away/responded", to=api)
async def away(request):
    size = 0
    async for chunk in request.stream(keep=False):
        size += len(chunk)
    return Response(200, str(size))

@gate.route("/away/sent", to=api)
async def away_sent(request):
    async for chunk in request.stream(keep=False):
        pass

@gate.route("/away/replaced", to=api)
async def away_replaced(request):
    async for chunk in request.stream(keep=False):
        pass
    request.set_body("other")

async def echo(request):
    async def pieces():
        yield b"begun "
        async for chunk in request.stream():
            yield chunk.upper()
    return Response(200, pieces())

gate.route("/echo/*", to=api).request(echo)
whole_echo = gate.route("/echo/whole", to=api)
whole_echo.request(echo)

@whole_echo.response_body(mode="buffer")
def counts(request, response, chunk, last):
    return b"%d bytes" % len(chunk)

@gate.route("/generated", to=api)
async def generated(request):
    async def rows():
        for number in range(3):
            await asyncio.sleep(0)
            yield b"row %d " % number
    request.set_body(rows())

@gate.route("/endless", to=api)
async def endless(request):
    async def rows():
        while True:
            yield b"x" * 65536
    request.set_body(rows())

@gate.route("/unread", to=api)
def unread(request):
    request.set_body(b"mine")

late = gate.route("/late", to=api)

@late.upstream_request
async def too_late(request, attempt):
    await request.body()

@gate.route("/log/*", to=api)
async def for_log(request):
    await request.body()

@for_log.log
async def logs(request, response):
    print("LOGGED", await request.body(), flush=True)

upper = gate.route("/upper/*", to=api)

@upper.request_body
def to_upper(request, chunk, last):
    return bytearray(chunk.upper())

slow = gate.route("/slow/*", to=api)

@slow.request_body
async def to_upper_later(request, chunk, last):
    await asyncio.sleep(0)
    return memoryview(chunk.upper() + (b"!" if last else b""))

checked = gate.route("/checked", to=api)

@checked.request_body(mode="buffer", limit="100k")
def checks(request, chunk, last):
    if b"bad" in chunk:
        return Response(422, "bad")

coded = gate.route("/coded", to=api)

@coded.request_body(decode=True)
def adds(request, chunk, last):
    return chunk.replace(b"world", b"there")

both = gate.route("/both", to=api)

@both
async def first(request):
    request.set_body((await request.body()) + b" set")

@both.request_body(mode="buffer")
def then(request, chunk, last):
    return chunk + b" filtered"
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


def chunks(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


@pytest.mark.parametrize("size", [0, 5, 50_000, 900_000])
def test_a_body_is_read_and_still_sent(gateway: RunningGateway, origin: Origin, size: int) -> None:
    body = b"x" * size
    response = gateway.post("/read/a", body).json()
    fields = {name.lower(): value for name, value in response["fields"]}
    assert fields["x-size"] == fields["x-again"] == str(size)
    assert fields["content-length"] == str(size)
    assert origin.at("/read/a")[-1].body == body


def test_a_request_without_a_body_has_an_empty_one(gateway: RunningGateway, origin: Origin) -> None:
    fields = dict(gateway.get("/read/none").json()["fields"])
    assert fields["x-size"] == "0"
    assert "Content-Length" not in fields


@pytest.mark.parametrize("fields", [[], [("Content-Length", "0")]])
def test_a_body_that_there_is_none_of_is_not_waited_for(
    gateway: RunningGateway, fields: list[tuple[str, str]]
) -> None:
    with gateway.client() as client:
        for _ in range(2):
            sent = dict(client.request("POST", "/at-once/none", fields).json()["fields"])
            assert (sent["x-size"], sent["x-pieces"]) == ("0", "[]")
    eventually(lambda: gateway.output().count("LATER b''") >= 2, "the body in phase log")


def test_a_chunked_body_that_was_read_gets_a_length(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"POST /read/chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(chunks(b"one", b"two"))
        response = client.response().json()
        assert response["body"] == "onetwo"
        assert dict(response["fields"])["Content-Length"] == "6"
        assert client.get("/read/next").status == 200


def test_a_body_that_comes_slowly_is_waited_for(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"POST /read/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        assert client.is_silent(0.2)
        client.send(b"def")
        assert client.response().json()["body"] == "abcdef"


def test_a_client_that_expects_it_is_told_to_continue(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(
            b"POST /read/expect HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.head().status == 100
        client.send(b"abc")
        response = client.response().json()
        assert response["body"] == "abc"
        assert "Expect" not in dict(response["fields"])


def test_a_body_that_stops_is_408(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"POST /read/stops HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        response = client.response()
    assert response.status == 408


def test_a_client_that_leaves_within_its_body_is_gone(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(
            b"POST /read/left HTTP/1.1\r\nHost: a\r\nX-Request-Id: left\r\nContent-Length: 6\r\n\r\nabc"
        )
    assert gateway.access_record(request_id="left")["status"] == 499
    assert not origin.at("/read/left")


def test_a_body_too_large_to_hold_is_413(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.post("/read/large", b"x" * 1_200_000, [("X-Request-Id", "large")]).status == 413
    assert gateway.access_record(request_id="large")["limit"] == "limits.max_buffered_body_bytes"
    assert not origin.at("/read/large")


def test_a_kept_body_is_sent_again_to_another_server(gateway: RunningGateway, origin: Origin) -> None:
    body = b"y" * 300_000
    origin.on("/retried", digest)
    for _ in range(2):
        response = gateway.post("/retried", body)
        assert response.text == hashlib.sha256(body).hexdigest()


def test_json_is_read_and_replaced(gateway: RunningGateway) -> None:
    response = gateway.post("/json", b'{"n": 41}', [("Content-MD5", "x")]).json()
    fields = {name.lower(): value for name, value in response["fields"]}
    assert (response["body"], fields["content-type"], fields["content-length"]) == ("42", "text/plain", "2")
    assert "content-md5" not in fields
    assert gateway.post("/json", b"{").status == 422


def test_a_coded_body_is_read_as_text(gateway: RunningGateway) -> None:
    body = gzip.compress("grüße".encode())
    response = gateway.post("/text", body, [("Content-Encoding", "gzip")])
    assert response.text == "GRÜSSE"
    latin = gateway.post("/text", "grüße".encode("latin-1"), [("Content-Type", "a/b; charset=latin-1")])
    assert latin.text == "GRÜSSE"


def test_forms_are_read(gateway: RunningGateway) -> None:
    urlencoded = ("Content-Type", "application/x-www-form-urlencoded")
    assert gateway.post("/form", b"a=1&b=two+words&c=", [urlencoded]).json() == {
        "a": "1",
        "b": "two words",
        "c": "",
    }
    body = (
        b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--X\r\nContent-Disposition: form-data; name="f"; filename="p.png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x00\xff\r\n--X--\r\n"
    )
    multipart = ("Content-Type", "multipart/form-data; boundary=X")
    assert gateway.post("/form", body, [multipart]).json() == {"a": "1", "f": ["p.png", "image/png", 2]}
    assert gateway.post("/form", body[:80], [multipart]).status == 422
    assert gateway.post("/form", b"a=1", [("Content-Type", "text/plain")]).status == 422


@pytest.mark.parametrize("size", [0, 10, 700_000])
def test_a_stream_is_read_and_still_sent(gateway: RunningGateway, origin: Origin, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    gateway.post("/hash/a", body)
    call = origin.at("/hash/a")[-1]
    assert call.get("x-sha") == hashlib.sha256(body).hexdigest()
    assert call.body == body


def test_a_stream_left_early_is_sent_whole(gateway: RunningGateway, origin: Origin) -> None:
    body = b"abcd" * 200_000
    gateway.post("/begin/a", body)
    assert origin.at("/begin/a")[-1].body == body


def test_a_stream_that_is_not_kept(gateway: RunningGateway, origin: Origin) -> None:
    body = b"x" * 3_000_000
    assert gateway.post("/away/responded", body).text == str(len(body))
    assert gateway.post("/away/sent", b"abc").status == 500
    assert gateway.post("/away/replaced", b"abc").json()["body"] == "other"
    assert not origin.at("/away/sent")


def test_a_generator_becomes_the_body(gateway: RunningGateway, origin: Origin) -> None:
    response = gateway.post("/generated", b"old").json()
    assert response["body"] == "row 0 row 1 row 2 "
    assert dict(response["fields"])["transfer-encoding"] == "chunked"
    assert gateway.get("/generated").json()["body"] == "row 0 row 1 row 2 "


def test_a_streamed_response_is_made_of_the_body_that_still_arrives(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("POST", "/echo/x", [("Content-Length", "6")]))
        assert client.head().status == 200
        client.read_until(b"begun \r\n")
        client.send(b"one")
        client.read_until(b"ONE\r\n")
        client.send(b"two")
        assert client.read_to_end() == b"3\r\nTWO\r\n0\r\n\r\n"


def test_a_client_is_not_told_to_continue_within_a_response(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        fields = [("Content-Length", "3"), ("Expect", "100-continue")]
        client.send(format_request("POST", "/echo/expected", fields))
        assert client.head().status == 200
        client.read_until(b"begun \r\n")
        client.send(b"one")
        assert client.read_to_end() == b"3\r\nONE\r\n0\r\n\r\n"


def test_a_streamed_response_to_a_complete_body_keeps_the_connection(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for body in (b"", b"abc", b"x" * 20_000):
            assert client.request("POST", "/echo/x", body=body).body == b"begun " + body.upper()


def test_a_hook_that_buffers_the_response_waits_for_the_body_too(gateway: RunningGateway) -> None:
    assert gateway.post("/echo/whole", b"x" * 300_000).text == "300006 bytes"


def test_a_body_that_stops_while_the_response_goes_out_cuts_it(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("POST", "/echo/stops", [("Content-Length", "6")]) + b"one")
        assert not client.read_to_end().endswith(b"0\r\n\r\n")
    assert "client_body" in gateway.access_record(target="/echo/stops")["limit"]


def test_a_body_that_grows_without_end_is_given_up(gateway: RunningGateway) -> None:
    assert gateway.post("/endless", b"", [("X-Request-Id", "endless")]).status == 500
    assert gateway.access_record(request_id="endless")["error"] == "hook_body_too_large"


def test_a_body_replaced_unread_leaves_the_connection_usable(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for _ in range(2):
            assert client.request("POST", "/unread", body=b"theirs").json()["body"] == "mine"


def test_a_body_asked_for_too_late_says_where_to_ask(gateway: RunningGateway) -> None:
    assert gateway.post("/late", b"abc", [("X-Request-Id", "late")]).status == 500
    gateway.wait_for_log("the request's body can be read in phase `request` only")


def test_a_body_that_was_read_is_there_in_later_phases(gateway: RunningGateway) -> None:
    gateway.post("/log/a", b"for the log")
    eventually(lambda: "LOGGED b'for the log'" in gateway.output(), "the body in phase log")


@pytest.mark.parametrize("size", [1, 1000, 2_000_000])
def test_a_filtered_body_goes_on(gateway: RunningGateway, origin: Origin, size: int) -> None:
    body = b"a" * size
    with gateway.client() as client:
        assert client.request("POST", "/upper/a", body=body).status == 200
        assert client.get("/upper/b").status == 200
    call = origin.at("/upper/a")[-1]
    assert call.body == b"A" * size
    if size <= 1000:
        assert call.get("content-length") == str(size)


def test_an_async_filter_may_lengthen_the_body(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"POST /slow/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"3\r\none\r\n")
        origin.wait_for("/slow/a")
        client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert client.response().json()["body"] == "ONETWO!"


def test_a_filter_is_not_called_without_a_body(gateway: RunningGateway, origin: Origin) -> None:
    fields = dict(gateway.get("/slow/none").json()["fields"])
    assert "Content-Length" not in fields and "transfer-encoding" not in fields


def test_a_whole_body_is_checked_before_a_server_sees_it(gateway: RunningGateway, origin: Origin) -> None:
    origin.clear()
    with gateway.client() as client:
        assert client.request("POST", "/checked", body=b"a bad one").status == 422
        assert client.request("POST", "/checked", body=b"a good one").json()["body"] == "a good one"
    assert len(origin.at("/checked")) == 1
    assert gateway.post("/checked", b"x" * 200_000).status == 413


def test_a_checked_body_is_asked_for(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"POST /checked HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.head().status == 100
        client.send(b"bad")
        assert client.response().status == 422


def test_a_coded_body_is_decoded_and_coded_again(gateway: RunningGateway, origin: Origin) -> None:
    body = gzip.compress(b"hello world " * 100)
    gateway.post("/coded", body, [("Content-Encoding", "gzip")])
    assert gzip.decompress(origin.at("/coded")[-1].body) == b"hello there " * 100
    assert gateway.post("/coded", b"no gzip", [("Content-Encoding", "gzip")]).status == 400
    assert gateway.post("/coded", b"?", [("Content-Encoding", "pack200")]).status == 415


def test_a_replaced_body_is_filtered(gateway: RunningGateway) -> None:
    assert gateway.post("/both", b"given").json()["body"] == "given set filtered"


def test_a_body_over_its_limit_is_413_however_it_is_read(gateway: RunningGateway) -> None:
    for path in ("/hash/over", "/upper/over", "/checked"):
        with RawClient(gateway.address) as client:
            client.send(
                f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {8 << 20}\r\n\r\n".encode() + b"x" * 1000
            )
            assert client.response().status == 413


def test_a_badly_framed_body_is_400_however_it_is_read(gateway: RunningGateway) -> None:
    for path in ("/read/bad", "/upper/bad", "/hash/bad"):
        with gateway.client() as client:
            head = format_request("POST", path, [("Transfer-Encoding", "chunked")])
            client.send(head + b"zz\r\n")
            assert client.response().status == 400
