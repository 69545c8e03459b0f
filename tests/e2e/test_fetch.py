"""Requests that hooks and tasks make: `headgate.fetch`, an upstream's `fetch`, `request.fetch`."""

import hashlib
import threading

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import chunked, digest, gated, hang, raw, reply, until_close
from e2e.kit.client import format_request
from e2e.kit.net import free_port
from e2e.kit.origin import Call

GATE = """
import asyncio, hashlib, json, time
import headgate
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json", flush="50ms")
gate.limits(max_fetch_body_bytes="100k")
api = gate.upstream("api", ORIGIN)
dead = gate.upstream("pair", {"address": f"127.0.0.1:{DEAD}"}, {"address": ORIGIN}, retries=1)
URL = f"http://{ORIGIN}"

async def shown(response):
    return {"status": response.status, "url": response.url, "redirected": response.redirected,
            "headers": response.headers.items(), "body": await response.text()}

@gate.route("/once/{path}")
async def once(request):
    return Response.json(await shown(await headgate.fetch(f"{URL}/{request.params['path']}", timeout=1)))

@gate.route("/call")
async def call(request):
    options = json.loads(request.headers["x-options"])
    try:
        return Response.json(await shown(await headgate.fetch(URL + options.pop("path"), **options)))
    except headgate.FetchError as error:
        return Response.json({"error": type(error).__name__, "text": str(error), "safe": error.retry_safe}, 502)

@gate.route("/url")
async def url(request):
    try:
        response = await headgate.fetch(request.headers["x-url"], public_only="x-public" in request.headers)
        return Response.json(await shown(response))
    except headgate.FetchError as error:
        return Response.json({"error": type(error).__name__, "text": str(error)}, 502)

@gate.route("/named")
async def named(request):
    return Response.json(await shown(await api.fetch("/named?q=1", headers={"x-a": "b"})))

@gate.route("/pair")
async def pair(request):
    return Response.json(await shown(await dead.fetch("/alive")))

@gate.route("/gather")
async def gather(request):
    responses = await asyncio.gather(*(headgate.fetch(f"{URL}/slow{n}") for n in range(3)), api.fetch("/d"))
    return Response.json([(await response.json())["target"] for response in responses])

@gate.route("/task")
async def task(request):
    made = asyncio.create_task(headgate.fetch(URL + "/task"))
    grouped = []
    async with asyncio.TaskGroup() as group:
        grouped.append(group.create_task(headgate.fetch(URL + "/group")))
    await asyncio.sleep(0)  # asyncio's from here on
    third = await headgate.fetch(URL + "/after")
    return Response.json([r.status for r in (await made, grouped[0].result(), third)])

@gate.route("/stream/*")
async def stream(request):
    response = await headgate.fetch(URL + request.path.removeprefix("/stream"))
    return Response.stream(response.stream(), response.status)

@gate.route("/digest/*")
async def digest_of(request):
    response = await headgate.fetch(URL + request.path.removeprefix("/digest"))
    seen = hashlib.sha256()
    async for piece in response.stream():
        seen.update(piece)
    return Response(200, seen.hexdigest())

async def pieces(count):
    for n in range(count):
        yield b"x" * 50000
        await asyncio.sleep(0)

@gate.route("/upload")
async def upload(request):
    response = await headgate.fetch(URL + "/sink", method="PUT", body=pieces(40))
    return Response(response.status, await response.text())

async def broken():
    for _ in range(40):
        yield b"o" * 100_000  # so much that the request is on its way
    raise LookupError("no more")

@gate.route("/broken-upload")
async def broken_upload(request):
    try:
        await headgate.fetch(URL + "/sink2", body=broken())
    except LookupError as error:
        return Response(200, f"raised {error}")

async def endless():
    while True:
        yield b"y" * 1000
        await asyncio.sleep(0)

@gate.route("/early")
async def early(request):
    response = await headgate.fetch(URL + "/early", body=endless())
    return Response(200, await response.text())

@gate.route("/timeout")
async def timeout(request):
    try:
        async with asyncio.timeout(0.2):
            await headgate.fetch(URL + "/hang")
    except TimeoutError as error:
        return Response(200, f"{type(error).__name__} {asyncio.current_task().cancelling()}")

@gate.route("/left")
async def left(request):
    try:
        await headgate.fetch(URL + "/hang")
    except asyncio.CancelledError:
        print(f"cancelled {request.id != ''}", flush=True)
        raise

@gate.route("/late", deadline="200ms")
async def late(request):
    await headgate.fetch(URL + "/hang")

@gate.route("/context")
async def context(request):
    async with await headgate.fetch(URL + "/big") as response:
        status = response.status
    try:
        await response.body()
    except RuntimeError as error:
        return Response(200, f"{status} {error}")

@gate.route("/again")
async def again(request):
    response = await headgate.fetch(URL + "/plain")
    return Response(200, (await response.body()) + (await response.body()))

@gate.route("/own/{path}")
async def own(request):
    response = await request.fetch("/inner/" + request.params["path"], headers={"x-a": "b"})
    return Response.json(await shown(response))

@gate.route("/inner/{path}", to=api)
def inner(request):
    request.headers["x-inner"] = request.client.address + " " + request.host

@gate.route("/own-upload")
async def own_upload(request):
    response = await request.fetch("/inner/digest", method="POST", body=b"z" * 1_000_000)
    return Response(response.status, await response.text())

@gate.route("/loop")
async def loop(request):
    try:
        response = await request.fetch("/loop")
    except headgate.FetchRefused as error:
        return Response(508, str(error))
    return Response(response.status, await response.text())

@gate.route("/own-left")
async def own_left(request):
    await request.fetch("/left")

@gate.route("/to-api", to=api)
async def before(request):
    request.headers["x-user"] = (await (await api.fetch("/user")).json())["target"]

@gate.route("/filtered", to=api)
def filtered(request):
    pass

@filtered.response
async def fetched_in_response(request, response):
    response.headers["x-fetched"] = str((await api.fetch("/r")).status)

state = {}

@gate.startup
async def begin():
    state["startup"] = (await headgate.fetch(URL + "/at-startup")).status
    state["task"] = asyncio.ensure_future(ticking())

async def ticking():
    await asyncio.sleep(0.01)
    state["tick"] = (await headgate.fetch(URL + "/in-task")).status

@gate.route("/state")
async def show_state(request):
    await state["task"]
    return Response.json({"startup": state["startup"], "tick": state["tick"]})
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    origin.on("/hang", hang)
    started = serve_module(GATE, names={"ORIGIN": origin.address, "DEAD": free_port()})
    started.get("/state")  # its task is done
    return started


def call(gateway: RunningGateway, path: str, **options: object) -> dict[str, object]:
    import json

    shown: dict[str, object] = gateway.get(
        "/call", [("x-options", json.dumps({"path": path, **options}))]
    ).json()
    return shown


def test_response_shows_status_headers_and_body(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/plain", reply(b"hello", status="201 Made", fields=[("X-One", "1"), ("X-One", "2")]))
    shown = gateway.get("/once/plain").json()
    assert (shown["status"], shown["body"]) == (201, "hello")
    assert [field for field in shown["headers"] if field[0] == "x-one"] == [["x-one", "1"], ["x-one", "2"]]
    assert shown["url"] == f"http://{origin.address}/plain"


def test_connections_are_used_again(gateway: RunningGateway, origin: Origin) -> None:
    for _ in range(5):
        gateway.get("/once/reused")
    assert len({call.connection_number for call in origin.at("/reused")}) == 1


def test_stale_connection_is_replaced(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/once/stale")
    origin.drop_connections()
    assert gateway.get("/once/stale").status == 200


@pytest.mark.parametrize(
    "behaviour",
    [chunked([b"ab", b"cde"]), until_close(b"abcde"), reply(b"abcde")],
    ids=["chunks", "close", "length"],
)
def test_every_framing_gives_the_body(gateway: RunningGateway, origin: Origin, behaviour: object) -> None:
    origin.on("/framed", behaviour)  # type: ignore[arg-type]
    assert gateway.get("/once/framed").json()["body"] == "abcde"


def test_interim_responses_are_passed_over(gateway: RunningGateway, origin: Origin) -> None:
    origin.on(
        "/interim",
        raw(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    )
    assert gateway.get("/once/interim").json()["body"] == "ok"


def test_request_goes_out_as_asked(gateway: RunningGateway, origin: Origin) -> None:
    call(gateway, "/asked?a=%20b", method="PATCH", headers={"X-One": "é", "Host": "other"}, body="text")
    got = origin.wait_for("/asked")
    assert (got.method, got.target, got.body) == ("PATCH", "/asked?a=%20b", b"text")
    assert (got.get("host"), got.get("user-agent")) == ("other", "headgate")
    assert got.get("content-type") == "text/plain; charset=utf-8"


def test_json_is_posted(gateway: RunningGateway, origin: Origin) -> None:
    call(gateway, "/json", json={"a": [1]})
    got = origin.wait_for("/json")
    assert (got.method, got.body, got.get("content-type")) == ("POST", b'{"a": [1]}', "application/json")
    assert got.get("host") == origin.address


def test_framing_fields_are_refused(gateway: RunningGateway) -> None:
    assert (
        gateway.get("/call", [("x-options", '{"path": "/", "headers": {"Content-Length": "5"}}')]).status
        == 500
    )
    assert (
        gateway.get("/call", [("x-options", '{"path": "/", "headers": {"a": "b\\r\\nc: d"}}')]).status == 500
    )
    gateway.wait_for_log("ValueError: `Content-Length` cannot be set")
    gateway.wait_for_log("ValueError: the value of `a` has CR, LF, NUL or another control character")


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", then="close"), "FetchClosed"),
        (raw(b"", then="close"), "FetchClosed"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "FetchProtocolError"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "FetchProtocolError"),
        (raw(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "FetchProtocolError"),
        (raw(b"HTTP/1.1 103 Hint\r\n\r\n" * 30), "FetchProtocolError"),
        (reply(b"x" * 200_000), "FetchTooLarge"),
        (hang, "FetchTimeout"),
    ],
    ids=[
        "cut body",
        "no response",
        "two lengths",
        "bad chunk",
        "unasked 101",
        "endless interim",
        "too large",
        "silent",
    ],
)
def test_bad_servers_raise(gateway: RunningGateway, origin: Origin, behaviour: object, error: str) -> None:
    origin.on("/bad", behaviour)  # type: ignore[arg-type]
    assert call(gateway, "/bad", timeout=0.1)["error"] == error


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("nonsense", "FetchRefused"),
        ("file:///etc/passwd", "FetchRefused"),
        ("http://me:secret@127.0.0.1/", "FetchRefused"),
        ("http://127.0.0.1:1/", "FetchConnectError"),
    ],
)
def test_urls_that_cannot_be_fetched_raise(gateway: RunningGateway, url: str, error: str) -> None:
    shown = gateway.get("/url", [("x-url", url)]).json()
    assert shown["error"] == error
    assert "secret" not in shown["text"]


@pytest.mark.parametrize("host", ["{origin}", "localhost", "0x7f.1", "[::ffff:127.0.0.1]", "169.254.169.254"])
def test_public_only_refuses_the_inside(gateway: RunningGateway, origin: Origin, host: str) -> None:
    url = f"http://{host.format(origin=origin.address)}/inside"
    assert gateway.get("/url", [("x-url", url), ("x-public", "1")]).json()["error"] == "FetchRefused"
    assert origin.at("/inside") == []


def test_redirects_are_responses_unless_followed(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/from", reply(status="302 Found", fields=[("Location", "/to?x")]))
    assert call(gateway, "/from")["status"] == 302
    shown = call(gateway, "/from", redirects=3)
    assert (shown["status"], shown["redirected"], shown["url"]) == (200, 1, f"http://{origin.address}/to?x")


def test_endless_redirects_raise(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/round", reply(status="307 Again", fields=[("Location", "/round")]))
    assert call(gateway, "/round", redirects=2)["error"] == "FetchRedirectError"
    assert len(origin.at("/round")) == 3


def test_secrets_do_not_go_to_another_origin(gateway: RunningGateway, origin: Origin) -> None:
    with Origin() as other:
        origin.on("/leave", reply(status="307 Away", fields=[("Location", f"http://{other.address}/secret")]))
        call(gateway, "/leave", redirects=1, headers={"Authorization": "s", "Cookie": "c", "X-Kept": "k"})
        got = other.wait_for("/secret")
    assert (got.get("authorization"), got.get("cookie"), got.get("x-kept")) == (None, None, "k")


def test_upstream_is_asked_with_its_balancing(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/named").json()["status"] == 200
    got = origin.wait_for("/named")
    assert (got.target, got.get("x-a"), got.get("host")) == ("/named?q=1", "b", origin.address)


def test_dead_server_of_an_upstream_is_passed_over(gateway: RunningGateway, origin: Origin) -> None:
    assert [gateway.get("/pair").json()["status"] for _ in range(3)] == [200] * 3


def test_gather_asks_side_by_side(gateway: RunningGateway, origin: Origin) -> None:
    meeting = threading.Barrier(3, timeout=10)

    def meet(call: Call) -> None:
        meeting.wait()
        call.respond(b'{"target": "%s"}' % call.target.encode())

    for number in range(3):
        origin.on(f"/slow{number}", meet)
    assert gateway.get("/gather").json() == ["/slow0", "/slow1", "/slow2", "/d"]


def test_tasks_and_groups_take_a_fetch(gateway: RunningGateway) -> None:
    assert gateway.get("/task").json() == [200, 200, 200]


def test_body_streams_through(gateway: RunningGateway, origin: Origin) -> None:
    gate = threading.Event()
    origin.on("/slow-body", gated(gate, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none", b"two"))
    with gateway.client() as client:
        client.send(format_request("GET", "/stream/slow-body"))
        client.head()
        assert client.read_until(b"one").endswith(b"one")
        gate.set()
        assert client.read_until(b"two").endswith(b"two")


def test_large_body_arrives_whole(gateway: RunningGateway, origin: Origin) -> None:
    body = bytes(range(256)) * 8192
    origin.on("/large", reply(body))
    origin.on("/large-chunks", chunked([body[:100_000], body[100_000:]]))
    for path in ("large", "large-chunks"):
        assert gateway.get(f"/digest/{path}").text == hashlib.sha256(body).hexdigest()


def test_slow_reader_holds_the_server_back(gateway: RunningGateway, origin: Origin) -> None:
    sent = []

    def flood(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n")
        call.socket.settimeout(0.5)
        try:
            for _ in range(400):
                call.send(b"f" * 1_000_000)
                sent.append(1)
        except TimeoutError:
            sent.append(-1)
        call.close()

    origin.on("/flood", flood)
    with gateway.client() as client:
        client.send(format_request("GET", "/stream/flood"))
        client.head()
        eventually(lambda: sent and sent[-1] == -1, "the origin cannot send on")
        assert len(sent) < 60


def test_upload_is_streamed(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/sink", digest)
    assert gateway.get("/upload").text == hashlib.sha256(b"x" * 2_000_000).hexdigest()
    assert origin.at("/sink")[0].get("transfer-encoding") == "chunked"


def test_upload_that_raises_cuts_the_request_and_raises_that(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/sink2", digest)
    assert gateway.get("/broken-upload").text == "raised no more"
    got = origin.wait_for("/sink2")
    eventually(lambda: got.is_failed, "the origin sees a cut request")


def test_server_may_respond_before_the_upload_ends(gateway: RunningGateway, origin: Origin) -> None:
    def early(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
        call.close()

    origin.on("/early", early)
    assert gateway.get("/early").text == "early"


def test_asyncio_timeout_ends_a_fetch(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/timeout").text == "TimeoutError 0"
    eventually(lambda: origin.at("/hang")[-1].is_closed, "the connection is closed")


def test_client_that_leaves_cancels_the_fetch(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/left"))
        got = origin.wait_for("/hang")
    eventually(lambda: got.is_closed, "the connection is closed")
    eventually(lambda: "cancelled True" in gateway.output(), "the hook is cancelled")


def test_deadline_ends_a_fetch(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/late").status == 500
    eventually(lambda: origin.at("/hang")[-1].is_closed, "the connection is closed")


def test_context_manager_lets_go(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/big", reply(b"b" * 3_000_000))
    assert gateway.get("/context").text.startswith("200 the body is gone")


def test_body_can_be_asked_for_again(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/plain", reply(b"twice"))
    assert gateway.get("/again").text == "twicetwice"


def test_subrequest_goes_through_the_own_routes(gateway: RunningGateway, origin: Origin) -> None:
    shown = gateway.get("/own/deep", host="me.test").json()
    assert shown["status"] == 200
    got = origin.wait_for("/inner/deep")
    assert (got.get("x-inner"), got.get("x-a")) == ("127.0.0.1 me.test", "b")


def test_subrequest_carries_a_body(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/inner/digest", digest)
    assert gateway.get("/own-upload").text == hashlib.sha256(b"z" * 1_000_000).hexdigest()


def test_subrequests_are_no_lines_of_the_access_log(gateway: RunningGateway) -> None:
    gateway.get("/own/logged")
    gateway.access_record(target="/own/logged")
    assert not [record for record in gateway.access_records() if record["target"] == "/inner/logged"]


def test_loop_of_subrequests_ends(gateway: RunningGateway) -> None:
    before = gateway.counter("limit_subrequests")
    response = gateway.get("/loop")
    assert (response.status, "8 deep" in response.text) == (508, True)
    assert gateway.counter("limit_subrequests") == before + 1


def test_leaving_client_cancels_what_its_subrequest_waits_for(
    gateway: RunningGateway, origin: Origin
) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/own-left"))
        got = origin.wait_for("/hang")
    eventually(lambda: got.is_closed, "the connection is closed")


def test_hook_may_fetch_before_the_request_goes_on(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/to-api").status == 200
    assert origin.wait_for("/to-api").get("x-user") == "/user"


def test_response_hook_may_fetch(gateway: RunningGateway) -> None:
    assert gateway.get("/filtered").get("x-fetched") == "200"


def test_startup_and_tasks_may_fetch(gateway: RunningGateway) -> None:
    assert gateway.get("/state").json() == {"startup": 200, "tick": 200}


def test_too_many_fetches_are_refused(serve: Serve, origin: Origin) -> None:
    gateway = serve(
        """
import headgate
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.limits(max_fetches=2)

@gate.route("/")
async def fetched(request):
    held = []
    try:
        for _ in range(3):
            held.append(await headgate.fetch(f"http://{ORIGIN}/unread"))
    except headgate.FetchRefused as error:
        return Response(503, str(error))
""",
        names={"ORIGIN": origin.address},
    )
    origin.on("/unread", reply(b"u" * 3_000_000))
    response = gateway.get("/")
    assert (response.status, "max_fetches" in response.text) == (503, True)
    assert gateway.counter("limit_fetches") == 1
