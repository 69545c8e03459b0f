"""Each phase, sync and async, on the gateway, on a route and in a plugin: what it may do, and in which order."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve

GATE = """
import asyncio
from headgate import Gateway, Plugin, Response
from pydantic import BaseModel

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
api = gate.upstream("api", ORIGIN)
gate.upstream("second", SECOND)

DEAD = gate.upstream("dead", "127.0.0.1:1", retries=0)
trace = []

@gate.startup
def opened():
    trace.append("startup")

@gate.startup
async def opened_async():
    await asyncio.sleep(0)
    trace.append("startup async")

@gate.rewrite
def rewritten(request):
    if request.path == "/old":
        request.target = "/echo?moved=1"
    if request.path == "/to-post":
        request.method = "POST"
    if request.path == "/hosted":
        request.host = "other.test"
    if request.path == "/denied":
        return Response(403, "denied in rewrite")

@gate.rewrite
async def rewritten_async(request):
    await asyncio.sleep(0)
    request.headers["x-rewritten"] = "yes"

class Order(Plugin):
    class Config(BaseModel):
        name: str

    def request(self, request):
        request.state.order = getattr(request.state, "order", "") + f"{self.config.name}>"

    async def response(self, request, response):
        await asyncio.sleep(0)
        response.headers.add("x-order", self.config.name)

gate.use(Order(name="one"))
gate.use(Order(name="two"))
gate.use(Order(name="only"), on="/plugged/*")

route = gate.route("/route/*", to=api)

@route
def on_route(request):
    request.state.order += "route>"
    request.headers["x-order"] = request.state.order

@route.request
async def on_route_async(request):
    await asyncio.sleep(0.001)
    request.headers["x-async"] = request.state.order

@route.response
def route_response(request, response):
    response.headers.add("x-order", "route")

@gate.route("/edit", to=api)
def edit(request):
    headers = request.headers
    assert "x-in" in headers and headers.get("X-In") == "1" and headers["x-in"] == "1"
    assert headers.get_all("x-two") == ["a", "b"]
    del headers["x-in"]
    headers["x-two"] = "c"
    headers.add("x-two", "d")
    headers.setdefault("x-default", "e")
    headers.update({"x-updated": "\\u00fc"})

@edit.response
async def edit_response(request, response):
    await asyncio.sleep(0)
    response.status = 299
    response.headers.pop("x-secret", None)
    response.headers["x-gateway"] = f"{response.status} {request.method}"

@gate.route("/replace", to=api).response
def replaced(request, response):
    return Response.json({"was": response.status}, 201)

@gate.route("/elsewhere", to=api)
def elsewhere(request):
    request.upstream = "second"

@gate.route("/nowhere", to=api)
def nowhere(request):
    request.upstream = "secnd"

signing = gate.route("/signed", to=api)

@signing.upstream_request
def sign(request, attempt):
    request.headers["x-signed"] = f"{attempt.server} {attempt.number}"

@signing.upstream_request
async def sign_async(request, attempt):
    await asyncio.sleep(0)
    request.headers["x-signed-async"] = "yes"

failing = gate.route("/failing", to=DEAD)

@failing.error
async def excuse(request, error):
    await asyncio.sleep(0)
    return Response.json({"kind": error.kind, "status": error.status, "source": error.source}, 200)

@gate.error
def last_word(request, error):
    if error.status == 404:
        return Response(404, f"nothing at {request.path}")

logged = gate.route("/logged", to=api)

@logged.log
def log_it(request, response):
    trace.append(f"log {request.path} {response.status}")

@logged.log
async def log_it_async(request, response):
    await asyncio.sleep(0.01)
    trace.append(f"log async {request.id}")

@gate.route("/trace")
def shown(request):
    return Response.json(trace)

@gate.route("/facts/{name}")
def facts(request):
    return Response.json({
        "method": request.method, "target": request.target, "path": request.path, "query": request.query,
        "host": request.host, "version": str(request.version), "scheme": request.scheme,
        "client": request.client.address, "params": dict(request.params), "id": request.id,
        "route": request.route_name,
    })

gate.route("/", to=api)
"""


@pytest.fixture(scope="module")
def second() -> Origin:
    return Origin()


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, second: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address, "SECOND": second.address})


def test_startup_hooks_run_before_the_first_request(gateway: RunningGateway) -> None:
    assert gateway.get("/trace").json()[:2] == ["startup", "startup async"]


def test_rewrite_changes_what_is_routed(gateway: RunningGateway) -> None:
    response = gateway.get("/old").json()
    assert response["target"] == "/echo?moved=1"
    assert ["x-rewritten", "yes"] in [[name.lower(), value] for name, value in response["fields"]]


def test_rewrite_changes_the_method(gateway: RunningGateway) -> None:
    assert gateway.get("/to-post").json()["method"] == "POST"


def test_rewrite_changes_the_host(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/hosted")
    assert origin.wait_for("/hosted").get("host") == "other.test"


def test_rewrite_may_respond(gateway: RunningGateway, origin: Origin) -> None:
    response = gateway.get("/denied")
    assert (response.status, response.text) == (403, "denied in rewrite")
    assert not origin.calls


def test_request_hooks_run_in_order_and_response_hooks_in_reverse(
    gateway: RunningGateway, origin: Origin
) -> None:
    response = gateway.get("/route/x")
    call = origin.wait_for("/route/x")
    assert call.get("x-order") == "one>two>route>"
    assert call.get("x-async") == "one>two>route>"
    assert response.all("x-order") == ["route", "two", "one"]


def test_plugin_of_a_path_runs_only_there(gateway: RunningGateway) -> None:
    assert gateway.get("/plugged/x").all("x-order") == ["only", "two", "one"]
    assert gateway.get("/other").all("x-order") == ["two", "one"]


def test_request_headers_are_read_and_edited(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/edit", [("X-In", "1"), ("X-Two", "a"), ("X-Two", "b"), ("X-Kept", "k")])
    call = origin.wait_for("/edit")
    assert call.get("x-in") is None
    assert call.all("x-two") == ["c", "d"]
    assert call.get("x-default") == "e"
    assert (call.get("x-updated") or "").encode("latin-1").decode() == "\u00fc"
    assert call.get("x-kept") == "k"


def test_response_status_and_headers_are_edited(gateway: RunningGateway, origin: Origin) -> None:
    from e2e.kit.behaviours import reply

    origin.on("/edit", reply(b"body", fields=[("X-Secret", "s"), ("X-Kept", "k")]))
    response = gateway.get("/edit", [("X-In", "1"), ("X-Two", "a"), ("X-Two", "b")])
    assert (response.status, response.body) == (299, b"body")
    assert response.get("x-secret") is None
    assert response.get("x-kept") == "k"
    assert response.get("x-gateway") == "299 GET"


def test_response_may_be_replaced(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.get("/replace")
        assert (response.status, response.json()) == (201, {"was": 200})
        assert client.get("/after").status == 200


def test_hook_may_choose_the_upstream(gateway: RunningGateway, second: Origin) -> None:
    assert gateway.get("/elsewhere").json()["origin"] == second.address


def test_unknown_upstream_is_an_error_with_the_nearest_name(gateway: RunningGateway) -> None:
    assert gateway.get("/nowhere").status == 500
    gateway.wait_for_log("secnd.*\n?.*second")


def test_upstream_request_hooks_see_the_attempt(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/signed")
    call = origin.wait_for("/signed")
    assert call.get("x-signed") == f"{origin.address} 1"
    assert call.get("x-signed-async") == "yes"


def test_error_hook_makes_the_response(gateway: RunningGateway) -> None:
    response = gateway.get("/failing")
    assert response.status == 200
    assert response.json()["source"] == "upstream"
    assert response.json()["status"] == 502


def test_error_hook_of_the_gateway_sees_requests_without_route(gateway: RunningGateway, serve: Serve) -> None:
    source = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.route("/only", respond="x")

@gate.error
def last_word(request, error):
    return Response(error.status, f"nothing at {request.path}")
"""
    response = serve(source).get("/elsewhere")
    assert (response.status, response.text) == (404, "nothing at /elsewhere")


def test_log_hooks_run_after_the_response(gateway: RunningGateway) -> None:
    from e2e.kit import eventually

    assert gateway.get("/logged", [("X-Request-Id", "id-of-logged")]).status == 200
    eventually(
        lambda: {"log /logged 200", "log async id-of-logged"} <= set(gateway.get("/trace").json()),
        "both have run",
    )


def test_request_tells_everything_about_itself(gateway: RunningGateway) -> None:
    facts = gateway.get("/facts/a%20b?x=1&y", [("X-Request-Id", "id-7")], host="shop.test").json()
    assert facts == {
        "method": "GET",
        "target": "/facts/a%20b?x=1&y",
        "path": "/facts/a%20b",
        "query": "x=1&y",
        "host": "shop.test",
        "version": "1.1",
        "scheme": "http",
        "client": "127.0.0.1",
        "params": {"name": "a b"},
        "id": "id-7",
        "route": "/facts/{name}",
    }
