"""The test kit: what users' tests can do with a gateway, and what they are told."""

import asyncio
import gc
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import (
    Attempt,
    ConfigError,
    Failure,
    FetchRefused,
    Gateway,
    Plugin,
    Request,
    Response,
    ResponseView,
    fetch,
)
from headgate.compile.order import compile_gateway
from headgate.testing import Fault, HookRaised, LiveGateway, Received, TestGateway, run_hook

Start = Callable[..., TestGateway]


def two_servers() -> Gateway:
    gate = Gateway()
    api = gate.upstream("api", "10.0.0.1:9000", "10.0.0.2:9000", balance="first")
    gate.route("/api/*", to=api, name="api")
    return gate


def test_request_goes_through_to_a_function(headgate_gateway: Start) -> None:
    def orders(received: Received) -> Response:
        return Response.json({"saw": received.json(), "path": received.path}, 201)

    gateway = headgate_gateway(two_servers(), upstreams={"api": orders})
    response = gateway.post("/api/orders?x=1", '{"n": 1}', {"content-type": "application/json"})
    assert response.status == 201 and response.json() == {"saw": {"n": 1}, "path": "/api/orders"}
    assert response.route == "api" and response.record.upstream == "api" and response.record.status == 201
    (received,) = gateway.received
    assert received.method == "POST" and received.headers["x-forwarded-for"] == "127.0.0.1"


def test_attempts_are_recorded(headgate_gateway: Start) -> None:
    gateway = headgate_gateway(two_servers(), upstreams={"api": "ok", "10.0.0.1:9000": Fault.REFUSE})
    attempts = gateway.get("/api/x").attempts
    assert [(one.number, one.server) for one in attempts] == [(1, "10.0.0.1:9000"), (2, "10.0.0.2:9000")]


def test_server_that_is_not_mentioned_refuses(headgate_gateway: Start) -> None:
    response = headgate_gateway(two_servers()).get("/api/x")
    assert response.status == 502 and len(response.attempts) == 2


def test_upstream_whose_servers_are_found_is_replaced_by_its_name(headgate_gateway: Start) -> None:
    gate = Gateway()
    gate.listen(":8080")
    gate.route("/*", to=gate.upstream("found", "srv:_http._tcp.app.internal"))
    assert headgate_gateway(gate, upstreams={"found": "here"}).get("/x").body == b"here"
    assert headgate_gateway(gate).get("/x").status == 502, "one that is not mentioned refuses"


@pytest.mark.parametrize(
    ("server", "status", "body"),
    [("text", 200, b"text"), (b"\x00", 200, b"\x00"), (418, 418, b""), (Fault.CUT, 502, None)],
)
def test_server_may_be_a_constant(
    headgate_gateway: Start, server: Any, status: int, body: bytes | None
) -> None:
    response = headgate_gateway(two_servers(), upstreams={"api": server}).get("/api/x")
    assert response.status == status and body in (None, response.body)


def test_server_may_respond_one_after_another(headgate_gateway: Start) -> None:
    gateway = headgate_gateway(two_servers(), upstreams={"api": [200, 503, 204]})
    assert [gateway.get("/api/x").status for _ in range(4)] == [200, 503, 204, 204]


def test_server_may_wait_and_stream(headgate_gateway: Start) -> None:
    async def rows() -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(0)
            yield b"%d," % number

    async def handler(received: Received) -> Response:
        await asyncio.sleep(0)
        return Response.stream(rows())

    assert headgate_gateway(two_servers(), upstreams={"api": handler}).get("/api/x").body == b"0,1,2,"


def test_client_is_who_the_test_says(headgate_gateway: Start) -> None:
    gate = Gateway()

    @gate.route("/")
    def who(request: Request) -> Response:
        client = request.client
        return Response.text(f"{client.address} {client.port} {request.scheme} {client.listener}")

    gateway = headgate_gateway(gate)
    options = {"address": "192.0.2.7", "port": 7, "scheme": "https", "listener": "public"}
    assert gateway.get("/", **options).text == "192.0.2.7 7 https public"


def test_clock_goes_forward_for_timeouts(headgate_gateway: Start) -> None:
    gateway = headgate_gateway(two_servers(), upstreams={"api": Fault.HANG})
    pending = gateway.start("GET", "/api/x")
    gateway.until(lambda: gateway.received)
    gateway.advance("61s")
    response = pending.result()
    assert response.status == 504
    assert gateway.counters["timeout_upstream_head"] == 1


def test_clock_goes_forward_for_asyncio_and_hook_deadlines(headgate_gateway: Start) -> None:
    gate = Gateway()
    begun: list[str] = []

    @gate.route("/sleeps")
    async def sleeps(request: Request) -> Response:
        begun.append("sleeps")
        await asyncio.sleep(20)
        return Response(200, "slept")

    @gate.route("/late")
    async def late(request: Request) -> None:
        begun.append("late")
        await asyncio.sleep(3600)

    gateway = headgate_gateway(gate, raise_errors=False)
    both = [gateway.start("GET", path) for path in ("/sleeps", "/late")]
    gateway.until(lambda: len(begun) == 2)
    gateway.advance(29)
    gateway.until(lambda: both[0].is_done)
    assert both[0].result().text == "slept" and not both[1].is_done
    gateway.advance(2)
    assert both[1].result().status == 500
    assert [type(error) for error in gateway.hook_errors] == [TimeoutError]


def test_requests_run_at_once(headgate_gateway: Start) -> None:
    gate = Gateway()
    met = asyncio.Event()
    inside: list[str] = []

    @gate.route("/")
    async def meet(request: Request) -> Response:
        inside.append(request.id)
        if len(inside) == 2:
            met.set()
        await met.wait()
        return Response(200)

    gateway = headgate_gateway(gate)
    first, second = gateway.start("GET", "/"), gateway.start("GET", "/")
    assert first.result().status == second.result().status == 200


def test_client_that_leaves_cancels_the_hook(headgate_gateway: Start) -> None:
    gate = Gateway()
    seen: list[str] = []

    @gate.route("/")
    async def wait(request: Request) -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    gateway = headgate_gateway(gate)
    pending = gateway.start("GET", "/")
    gateway.until(lambda: seen)
    pending.leave()
    gateway.until(lambda: seen == ["begun", "cancelled"])


def test_what_a_hook_raises_is_raised_in_the_test(headgate_gateway: Start) -> None:
    gate = Gateway()

    @gate.route("/")
    def fail(request: Request) -> None:
        raise KeyError("gone")

    with pytest.raises(HookRaised, match="KeyError: 'gone'") as raised:
        headgate_gateway(gate).get("/")
    assert isinstance(raised.value.__cause__, KeyError)
    gateway = headgate_gateway(gate, raise_errors=False)
    assert gateway.get("/").status == 500


def test_state_that_hooks_left_can_be_seen(headgate_gateway: Start) -> None:
    gate = two_servers()

    @gate.request
    def note(request: Request) -> None:
        request.state.user = "ada"

    assert headgate_gateway(gate, upstreams={"api": 200}).get("/api/x").record.state == {"user": "ada"}


def test_startup_and_shutdown_run() -> None:
    gate = Gateway()
    ran: list[str] = []
    gate.route("/", respond="ok")

    @gate.startup
    async def begin() -> None:
        ran.append("startup")

    @gate.shutdown
    def end() -> None:
        ran.append("shutdown")

    with TestGateway(gate) as gateway:
        assert ran == ["startup"] and gateway.get("/").text == "ok"
    assert ran == ["startup", "shutdown"]


def test_own_bytes_reach_the_parser(headgate_gateway: Start) -> None:
    gateway = headgate_gateway(two_servers())

    async def smuggle() -> bytes:
        reader, writer = await gateway.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        response = await reader.read()
        writer.close()
        return response

    assert gateway.run(smuggle()).startswith(b"HTTP/1.1 400 ")


def test_coroutine_of_the_test_may_make_requests(headgate_gateway: Start) -> None:
    gateway = headgate_gateway(two_servers(), upstreams={"api": lambda received: received.target})

    async def many() -> list[str]:
        responses = await asyncio.gather(*(gateway.send("GET", f"/api/{n}") for n in range(20)))
        return [response.text for response in responses]

    assert gateway.run(many()) == [f"/api/{n}" for n in range(20)]


def test_unknown_upstream_is_named_with_those_there_are(headgate_gateway: Start) -> None:
    with pytest.raises(LookupError, match=r"no upstream or server `apy`\n  hint: it has .*api"):
        headgate_gateway(two_servers(), upstreams={"apy": 200})


def test_file_may_be_given(headgate_gateway: Start, tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("routes: [{path: /, respond: from yaml}]")
    assert headgate_gateway(file).get("/").text == "from yaml"
    with pytest.raises(ConfigError):
        headgate_gateway(tmp_path / "gone.py")


def test_gateway_is_not_changed_by_a_test(headgate_gateway: Start) -> None:
    gate = two_servers()
    before = compile_gateway(gate)
    for _ in range(2):
        headgate_gateway(gate, upstreams={"api": 200}).get("/api/x")
    after = compile_gateway(gate)
    assert (after.snapshot, after.hooks) == (before.snapshot, before.hooks)


def test_one_hook_of_each_phase_runs_alone() -> None:
    def admit(request: Request) -> Response | None:
        return None if "x-key" in request.headers else Response(401)

    assert run_hook(admit)[0].status == 401
    response, received = run_hook(admit, headers={"x-key": "1"}, target="/x")
    assert response.status == 200 and received and received.target == "/x"

    def move(request: Request) -> None:
        request.path = "/new"

    _, received = run_hook(move, phase="rewrite")
    assert received and received.path == "/new"

    def sign(request: Request, attempt: Attempt) -> None:
        request.headers["x-attempt"] = str(attempt.number)

    _, received = run_hook(sign, phase="upstream_request")
    assert received and received.headers["x-attempt"] == "1"

    def stamp(request: Request, response: ResponseView) -> None:
        response.headers["x-stamp"] = str(response.status)

    assert run_hook(stamp, phase="response", server=404)[0].headers["x-stamp"] == "404"

    def sorry(request: Request, error: Failure) -> Response:
        return Response.json({"kind": error.kind}, 503)

    response, _ = run_hook(sorry, phase="error")
    assert response.status == 503 and response.json() == {"kind": "connect_failed"}


def test_hook_of_a_plugin_runs_alone() -> None:
    class Deny(Plugin):
        def request(self, request: Request) -> Response:
            return Response(403)

    assert run_hook(Deny().request)[0].status == 403


def test_live_gateway_has_a_port() -> None:
    with LiveGateway(two_servers(), upstreams={"api": "hello"}) as live:
        with urllib.request.urlopen(f"{live.url}/api/x") as response:
            assert response.read() == b"hello"
        assert [received.target for received in live.received] == ["/api/x"]


def test_live_gateway_that_cannot_start_says_why() -> None:
    gate = two_servers()

    @gate.startup
    def begin() -> None:
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"), LiveGateway(gate):
        pass


def test_nothing_is_left_open() -> None:
    with TestGateway(two_servers(), upstreams={"api": Fault.HANG}) as gateway:
        gateway.start("GET", "/api/x")
        gateway.until(lambda: gateway.received)
    gc.collect()  # a socket or a loop that is left would warn, and warnings are errors here


def test_fetches_get_the_responses_of_the_test_only(headgate_gateway: Start) -> None:
    gate = Gateway()

    @gate.route("/{which}")
    async def ask(request: Request) -> Response:
        hosts = {
            "there": "https://api.example.com",
            "port": "http://10.0.0.7:9000",
            "gone": "http://10.0.0.8",
        }
        try:
            response = await fetch(f"{hosts[request.params['which']]}/users?n=1", public_only=True)
        except FetchRefused as refused:
            return Response(502, str(refused))
        return Response(response.status, await response.text())

    def users(received: Received) -> str:
        return f"{received.server} {received.target} {received.headers['host']}"

    servers = {"https://api.example.com": users, "http://10.0.0.7:9000": "port"}
    gateway = headgate_gateway(gate, upstreams=servers)
    assert gateway.get("/there").text == "https://api.example.com /users?n=1 api.example.com"
    assert gateway.get("/port").text == "port"
    assert "`http://10.0.0.8` is not reached from a test" in gateway.get("/gone").text


def test_servers_of_a_test_need_no_tls_and_no_http2(headgate_gateway: Start) -> None:
    gate = Gateway()
    secure = gate.upstream("secure", "https://api.example.com:443", protocol="h2")
    gate.route("/", to=secure)
    gateway = headgate_gateway(gate, upstreams={"secure": "plain"})
    assert gateway.get("/").text == "plain"


def test_bodies_are_filtered_as_in_service(headgate_gateway: Start) -> None:
    gate = two_servers()

    @gate.response_body
    def shout(request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
        return chunk.upper()

    assert headgate_gateway(gate, upstreams={"api": "quiet"}).get("/api/x").text == "QUIET"


def test_background_work_begins_and_ends_with_the_gateway(tmp_path: Path) -> None:
    file = tmp_path / "gate.py"
    file.write_text("""
from headgate import Gateway, Response

gate = Gateway()
beats = gate.shared("beats", "64k")

async def beat():
    beats.incr("beats", init=0)

gate.every(60, beat)

@gate.route("/")
async def tell(request):
    return Response.text(str(beats.get("beats", 0)) + await gate.run_in_thread(str, " thread"))
""")
    for _ in range(2):
        with TestGateway(file) as gateway:
            for beats in (1, 2, 3):
                gateway.advance(61)
                gateway.until(lambda wanted=f"{beats} thread": gateway.get("/").text == wanted)


def test_run_hook_takes_a_route_and_what_it_decorates_stays_a_function() -> None:
    gate = Gateway()

    @gate.route("/api/{version}/*", to="10.0.0.1:80")
    def access(request: Request) -> Response | None:
        request.headers["x-version"] = request.params["version"]
        return None

    @access.response
    def stamp(request: Request, response: ResponseView) -> None:
        response.headers["x-gate"] = "yes"

    response, received = run_hook(access, target="/api/v2/users")
    assert received and received.headers["x-version"] == "v2"
    assert "x-gate" not in response.headers
    assert run_hook(access, phase="response", target="/api/v2/users")[0].headers["x-gate"] == "yes"
    asked = SimpleNamespace(headers={}, params={"version": "v3"})
    assert access.function(asked) is None and asked.headers == {"x-version": "v3"}
    with pytest.raises(LookupError, match="does not match the route's path"):
        run_hook(access, target="/elsewhere")
    with pytest.raises(LookupError, match="has no `log` hook"):
        run_hook(access, phase="log", target="/api/v2/users")
    with pytest.raises(LookupError, match="decorates no function"):
        _ = gate.route("/plain", to="10.0.0.1:80").function


def test_run_hook_takes_a_method_of_a_plugin() -> None:
    class Stamp(Plugin):
        def request(self, request: Request) -> None:
            request.headers["x-asked"] = "yes"

        def response(self, request: Request, response: ResponseView) -> None:
            response.headers["x-stamped"] = "yes"

    response, received = run_hook(Stamp().request)
    assert received and received.headers["x-asked"] == "yes" and "x-stamped" not in response.headers
    response, received = run_hook(Stamp().response)
    assert received and "x-asked" not in received.headers and response.headers["x-stamped"] == "yes"


def test_a_request_that_nobody_keeps_goes_on() -> None:
    with TestGateway(two_servers(), upstreams={"api": Fault.HANG}) as gateway:
        gateway.start("GET", "/api/x")
        gateway.until(lambda: gateway.received)
        gc.collect()
        gateway.until(lambda: gateway.counters["requests"] == 1)
        gateway.run(asyncio.sleep(0.01))
        assert gateway.records == []  # it still waits for the server


def test_gateways_that_ended_leave_no_descriptors() -> None:
    def serve_once() -> int:
        gate = two_servers()
        gate.shared("counts", "1m")
        gate.request(lambda request: None)
        with TestGateway(gate, upstreams={"api": "here"}) as gateway:
            assert gateway.get("/api/x").text == "here"
        del gate, gateway
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    first = serve_once()
    assert [serve_once() for _ in range(3)] == [first] * 3
