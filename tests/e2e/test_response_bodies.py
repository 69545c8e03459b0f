"""Phase `response_body`: bodies in chunks and whole, coded and plain, from servers and of the gateway's own."""

import gzip
import hashlib
import threading
import zlib
from collections.abc import Callable

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import chunked, gated, raw, reply, until_close
from e2e.kit.net import eventually

GATE = """
import asyncio, hashlib
from headgate import Gateway, Plugin, Response, body_mode

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
gate.limits(max_buffered_body_bytes="1m", buffered_memory_bytes="64k")
api = gate.upstream("api", ORIGIN)

upper = gate.route("/upper/*", to=api)

@upper.response_body
def to_upper(request, response, chunk, last):
    return chunk.upper()

waiting = gate.route("/async/*", to=api)

@waiting.response_body
async def to_upper_later(request, response, chunk, last):
    await asyncio.sleep(0)
    return chunk.upper()

seen = gate.route("/seen/*", to=api)

@seen.response_body
def looks(request, response, chunk, last):
    request.state.calls = getattr(request.state, "calls", []) + [(len(chunk), last)]

@seen.log
def tells(request, response):
    print("CALLS", request.path, request.state.calls, flush=True)

keeping = gate.route("/keep/*", to=api)

@keeping.response_body
def keeps(request, response, chunk, last):
    assert type(chunk) is bytes
    request.state.kept = [*getattr(request.state, "kept", []), chunk]
    if last:
        response.trailers["x-sum"] = hashlib.sha256(b"".join(request.state.kept)).hexdigest()

dropping = gate.route("/drop/*", to=api)

@dropping.response_body
def drops(request, response, chunk, last):
    return b"" if not last else b"end"

whole = gate.route("/whole/*", to=api)

@whole.response_body(mode="buffer")
def sees_whole(request, response, chunk, last):
    assert last
    response.headers["x-length"] = str(len(chunk))

@whole.response
def not_yet(request, response):
    response.headers["x-early"] = "yes"

bounded = gate.route("/bounded/*", to=api)

@bounded.response_body(mode="buffer", limit="10k")
def reverses(request, response, chunk, last):
    return chunk[::-1]

text = gate.route("/text/*", to=api)

@text.response_body(decode=True)
def adds(request, response, chunk, last):
    return chunk.replace(b"world", b"there") + (b"!" if last else b"")

plain = gate.route("/plain/*", to=api)

@plain.response
def uncoded(request, response):
    del response.headers["content-encoding"]

@plain.response_body(mode="buffer", decode=True)
def counts(request, response, chunk, last):
    return b"%d" % len(chunk)

class Frame(Plugin):
    @body_mode("buffer", limit="1m")
    async def response_body(self, request, response, chunk, last):
        await asyncio.sleep(0)
        return b"[" + chunk + b"]"

gate.use(Frame(), on="/order/*")
order = gate.route("/order/*", to=api)

@order.response_body
def inner(request, response, chunk, last):
    return chunk + b"inner" if last else None

own = gate.route("/own/{kind}")

@own
async def responses(request):
    async def rows():
        for number in range(3):
            await asyncio.sleep(0)
            yield b"row %d " % number
    kind = request.params["kind"]
    if kind == "stream":
        return Response.stream(rows())
    if kind == "empty":
        return Response(200)
    return Response(200, "some text", headers={"etag": '"a"'})

@own.response_body
def own_upper(request, response, chunk, last):
    return chunk.upper() + (b"." if last else b"")

packed = gate.route("/packed")

@packed
def packs_itself(request):
    import gzip
    return Response(200, gzip.compress(b"hello world"), headers={"content-encoding": "gzip"})

@packed.response_body(decode=True)
def adds_to_packed(request, response, chunk, last):
    return chunk.replace(b"world", b"there")

labelled = gate.route("/labelled")

@labelled
def plain_text(request):
    return Response(200, b"hello world")

@labelled.response
def labels(request, response):
    response.headers["content-encoding"] = "gzip"

@labelled.response_body
def packs(request, response, chunk, last):
    import gzip
    return gzip.compress(chunk)

@labelled.response_body(decode=True, mode="buffer")
def replaces(request, response, chunk, last):
    return chunk.replace(b"world", b"there")

gate.route("/moved", redirect="/elsewhere").response_body(lambda request, response, chunk, last: b"go away")
gate.route("/files/*", files=FILES, strip_prefix="/files").response_body(to_upper)

blocking = gate.route("/block/*", to=api)

@blocking.response_body(mode="buffer")
def blocks(request, response, chunk, last):
    if b"secret" in chunk:
        return Response(451, "not for you")
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> RunningGateway:
    files = tmp_path_factory.mktemp("files")
    (files / "page.txt").write_bytes(b"from a file")
    (files / "big.txt").write_bytes(b"abc" * 100_000)
    return serve_module(GATE, names={"ORIGIN": origin.address, "FILES": str(files)})


@pytest.mark.parametrize("kind", ["upper", "async"])
def test_a_short_body_is_changed_and_keeps_a_length(
    gateway: RunningGateway, origin: Origin, kind: str
) -> None:
    origin.on(f"/{kind}/short", reply(b"hello", fields=[("ETag", '"abc"'), ("Content-MD5", "x")]))
    response = gateway.get(f"/{kind}/short")
    assert response.body == b"HELLO"
    assert response.get("content-length") == "5"
    assert response.get("etag") == 'W/"abc"'
    assert response.get("content-md5") is None


@pytest.mark.parametrize("kind", ["upper", "async"])
def test_a_long_body_goes_through_in_chunks(gateway: RunningGateway, origin: Origin, kind: str) -> None:
    body = b"abcdefgh" * 200_000
    origin.on(f"/{kind}/long", reply(body))
    response = gateway.get(f"/{kind}/long")
    assert response.body == body.upper()
    assert response.get("transfer-encoding") == "chunked"


@pytest.mark.parametrize("behaviour", [reply, until_close])
def test_chunks_that_a_hook_keeps_stay_as_they_were(
    gateway: RunningGateway, origin: Origin, behaviour: Callable[[bytes], object]
) -> None:
    body = b"".join(b"%07d\n" % number for number in range(200_000))
    origin.on("/keep/long", behaviour(body))
    response = gateway.get("/keep/long")
    assert response.body == body
    assert response.trailers == [("x-sum", hashlib.sha256(body).hexdigest())]


def test_the_connection_serves_the_next_request(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/upper/next", reply(b"x" * 200_000))
    with gateway.client() as client:
        for _ in range(3):
            assert client.get("/upper/next").body == b"X" * 200_000


def test_an_old_client_gets_the_end_by_the_connections_end(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/upper/old", reply(b"y" * 200_000))
    with gateway.client() as client:
        client.send(b"GET /upper/old HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        response = client.response()
        assert response.get("transfer-encoding") is None
        assert response.body == b"Y" * 200_000


@pytest.mark.parametrize(
    "behaviour",
    [chunked([b"one ", b"two ", b"three"]), until_close(b"one two three")],
    ids=["chunked", "until close"],
)
def test_every_framing_is_read(gateway: RunningGateway, origin: Origin, behaviour: object) -> None:
    origin.on("/upper/framed", behaviour)  # type: ignore[arg-type]
    assert gateway.get("/upper/framed").body == b"ONE TWO THREE"


def test_the_last_call_says_so_exactly_once(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/seen/chunks", chunked([b"one", b"two"]))
    origin.on("/seen/empty", reply(b""))
    gateway.get("/seen/chunks")
    assert gateway.get("/seen/empty").body == b""
    eventually(
        lambda: "CALLS /seen/chunks [(3, False), (3, True)]" in gateway.output(), "calls of the chunks"
    )
    eventually(lambda: "CALLS /seen/empty [(0, True)]" in gateway.output(), "calls of the empty body")


def test_chunks_can_be_dropped(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/drop/a", chunked([b"one", b"two", b"three"]))
    assert gateway.get("/drop/a").body == b"end"


def test_a_slow_stream_is_passed_on_as_it_comes(gateway: RunningGateway, origin: Origin) -> None:
    gate = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.on("/upper/slow", gated(gate, head + b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n"))
    with gateway.client() as client:
        client.send(b"GET /upper/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().status == 200
        assert client.read_until(b"FIRST")
        gate.set()
        assert client.read_until(b"SECOND\r\n0\r\n\r\n")


@pytest.mark.parametrize("size", [0, 1000, 500_000])
def test_a_whole_body_left_alone_keeps_its_head(gateway: RunningGateway, origin: Origin, size: int) -> None:
    body = b"z" * size
    origin.on("/whole/a", chunked([body[:10], body[10:]]) if size else reply(b"", fields=[("ETag", '"1"')]))
    if size:
        origin.on("/whole/a", reply(body, fields=[("ETag", '"1"')]))
    response = gateway.get("/whole/a")
    assert response.body == body
    assert response.get("content-length") == str(size)
    assert response.get("etag") == '"1"'
    assert response.get("x-length") == str(size)
    assert response.get("x-early") == "yes"


def test_a_large_whole_body_lies_in_a_file_meanwhile(gateway: RunningGateway, origin: Origin) -> None:
    before = gateway.counter("bodies_spilled")
    origin.on("/whole/large", reply(b"q" * 300_000))
    assert len(gateway.get("/whole/large").body) == 300_000
    assert gateway.counter("bodies_spilled") == before + 1


def test_a_body_over_the_limit_of_its_hook_is_502(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/bounded/fits", reply(b"ab" * 5000))
    origin.on("/bounded/over", reply(b"ab" * 6000))
    assert gateway.get("/bounded/fits").body == b"ba" * 5000
    before = gateway.counter("limit_buffered_body")
    assert gateway.get("/bounded/over", [("X-Request-Id", "over")]).status == 502
    assert gateway.counter("limit_buffered_body") == before + 1
    record = gateway.access_record(request_id="over")
    assert record["limit"] == "limits.max_buffered_body_bytes"


def deflated(text: bytes) -> bytes:
    return zlib.compress(text)


@pytest.mark.parametrize(("name", "code"), [("gzip", gzip.compress), ("deflate", deflated)])
def test_a_coded_body_is_decoded_and_coded_again(
    gateway: RunningGateway, origin: Origin, name: str, code: object
) -> None:
    coded = code(b"hello world " * 1000)  # type: ignore[operator]
    origin.on("/text/coded", reply(coded, fields=[("Content-Encoding", name)]))
    response = gateway.get("/text/coded", [("Accept-Encoding", name)])
    assert response.get("content-encoding") == name
    plain = gzip.decompress(response.body) if name == "gzip" else zlib.decompress(response.body)
    assert plain == b"hello there " * 1000 + b"!"


def test_text_that_is_not_coded_stays_so(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/text/plain", reply(b"hello world"))
    assert gateway.get("/text/plain").body == b"hello there!"


def test_a_hook_that_drops_the_coding_gets_the_client_plain_text(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/plain/a", reply(gzip.compress(b"x" * 700), fields=[("Content-Encoding", "gzip")]))
    response = gateway.get("/plain/a")
    assert response.get("content-encoding") is None
    assert response.body == b"700"


@pytest.mark.parametrize(
    "body", [b"not gzip at all", gzip.compress(b"cut short" * 999)[:-4]], ids=["nonsense", "cut"]
)
def test_a_body_that_is_not_what_it_says_is_502(gateway: RunningGateway, origin: Origin, body: bytes) -> None:
    origin.on("/plain/bad", reply(body, fields=[("Content-Encoding", "gzip")]))
    assert gateway.get("/plain/bad").status == 502


def test_a_coding_nobody_knows_is_502(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/text/unknown", reply(b"abc", fields=[("Content-Encoding", "compress")]))
    assert gateway.get("/text/unknown").status == 502


def test_a_small_body_that_stands_for_a_huge_one_is_bounded(gateway: RunningGateway, origin: Origin) -> None:
    bomb = gzip.compress(b"\0" * (8 << 20))
    origin.on("/plain/bomb", reply(bomb, fields=[("Content-Encoding", "gzip")]))
    assert gateway.get("/plain/bomb").status == 502


def test_hooks_run_in_reverse_order(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/order/a", reply(b"body "))
    assert gateway.get("/order/a").body == b"[body inner]"


@pytest.mark.parametrize(
    ("kind", "body"), [("text", b"SOME TEXT."), ("stream", b"ROW 0 ROW 1 ROW 2 ."), ("empty", b".")]
)
def test_local_replies_go_through_too(gateway: RunningGateway, kind: str, body: bytes) -> None:
    response = gateway.get(f"/own/{kind}")
    assert response.body == body
    assert response.get("etag") == ('W/"a"' if kind == "text" else None)


def test_redirects_and_files_go_through_too(gateway: RunningGateway) -> None:
    response = gateway.get("/moved")
    assert (response.status, response.body) == (308, b"go away")
    assert gateway.get("/files/page.txt").body == b"FROM A FILE"
    assert gateway.get("/files/big.txt").body == b"ABC" * 100_000


def test_local_replies_are_decoded_as_they_came(gateway: RunningGateway) -> None:
    assert gzip.decompress(gateway.get("/packed").body) == b"hello there"
    assert gzip.decompress(gateway.get("/labelled").body) == b"hello there"


def test_an_old_client_sees_the_end_of_a_stream(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"GET /own/stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        client.head()
        assert client.read_to_end() == b"ROW 0 ROW 1 ROW 2 ."


def test_a_part_of_a_file_is_not_asked_for(gateway: RunningGateway) -> None:
    response = gateway.get("/files/page.txt", [("Range", "bytes=0-3")])
    assert (response.status, response.body) == (200, b"FROM A FILE")
    assert response.get("accept-ranges") is None


def test_a_server_is_not_asked_for_a_part(gateway: RunningGateway, origin: Origin) -> None:
    response = gateway.get("/upper/echo", [("Range", "bytes=0-3"), ("If-Range", '"x"')])
    assert b"RANGE" not in response.body
    assert b"X-FORWARDED-FOR" in response.body


def test_responses_without_body_are_left_alone(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/upper/head", raw(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: "a"\r\n\r\n'))
    origin.on("/upper/304", raw(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'))
    with gateway.client() as client:
        head = client.request("HEAD", "/upper/head")
        assert (head.get("content-length"), head.get("etag")) == (None, 'W/"a"')
        assert client.get("/upper/304").get("etag") == 'W/"a"'
        origin.on("/upper/204", raw(b"HTTP/1.1 204 No Content\r\n\r\n"))
        assert client.get("/upper/204").status == 204
        head = client.request("HEAD", "/own/text")
        assert (head.status, head.get("content-length")) == (200, None)


def test_a_hook_that_has_the_whole_body_can_respond_instead(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/block/a", reply(b"a secret"))
    origin.on("/block/b", reply(b"nothing"))
    with gateway.client() as client:
        assert client.get("/block/a").status == 451
        assert client.get("/block/b").body == b"nothing"


def test_a_server_that_breaks_off_is_an_error_or_a_cut(gateway: RunningGateway, origin: Origin) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"a" * 300_000
    origin.on("/upper/cut", raw(begun, then="close"))
    with gateway.client() as client, pytest.raises((ConnectionError, ValueError)):
        client.get("/upper/cut")
    origin.on("/whole/cut", raw(begun, then="close"))
    assert gateway.get("/whole/cut").status == 502


def test_a_client_that_does_not_read_holds_the_server_back(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/upper/huge", reply(b"h" * (64 << 20)))
    before = gateway.counter("requests")
    with gateway.client() as client:
        client.send(b"GET /upper/huge HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        # the gateway stays responsive and small meanwhile
        assert gateway.get("/own/text").status == 200
    eventually(lambda: gateway.counter("requests") > before, "the request is counted")
    assert gateway.get("/own/text").status == 200
