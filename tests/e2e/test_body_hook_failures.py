"""Body hooks that go wrong in every way harm no other request."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import reply
from e2e.kit.net import eventually

GATE = """
import asyncio
import sys
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
gate.limits(max_hook_chunk_bytes="1m")
api = gate.upstream("api", ORIGIN)
kept = {}

def exits(*_):
    sys.exit(3)

def raises(*_):
    raise RuntimeError("broken")

async def raises_later(*_):
    await asyncio.sleep(0)
    raise RuntimeError("broken")

async def exits_later(*_):
    await asyncio.sleep(0)
    sys.exit(3)

async def never(*_):
    await asyncio.Event().wait()

WAYS = {"text": "text", "number": 5, "list": [b"a"], "exits": exits, "raises": raises,
        "raises_later": raises_later, "exits_later": exits_later, "never": never,
        "grows": lambda *_: b"x" * (2 << 20), "class": lambda *_: Response}

def add(route, phase, way, **options):
    made = WAYS[way]
    value = made if callable(made) else None
    is_async = asyncio.iscoroutinefunction(value)
    result = lambda *all: value(*all) if value else made
    if phase == "request_body":
        if is_async:
            async def hook(request, chunk, last): return await value()
        else:
            def hook(request, chunk, last): return result()
    elif phase == "response_body":
        if is_async:
            async def hook(request, response, chunk, last): return await value()
        else:
            def hook(request, response, chunk, last): return result()
    else:
        if is_async:
            async def hook(request, upstream): return await value()
        else:
            def hook(request, upstream): return result()
    getattr(route, phase)(deadline="300ms", **options)(hook)

for phase in ("request_body", "response_body", "balance"):
    for way in WAYS:
        if phase == "balance" and way in ("grows", "text"):
            continue
        for on_error in ("closed", "open"):
            add(gate.route(f"/{phase}/{way}/{on_error}", to=api), phase, way, on_error=on_error)

@gate.route("/keep", to=api)
async def keeps(request):
    kept["request"] = request
    kept["body"] = request.body()

@keeps.response_body
def keeps_response(request, response, chunk, last):
    kept["response"] = response

@gate.route("/use")
async def uses(request):
    told = []
    for use in (lambda: kept["request"].trailers.items(), lambda: kept["request"].stream(),
                lambda: kept["request"].set_body(b""), lambda: kept["response"].trailers.get("a")):
        try:
            use()
        except RuntimeError as error:
            told.append(str(error))
    try:
        await kept["body"]
    except RuntimeError as error:
        told.append(str(error))
    return Response.json(told)

late = gate.route("/begun", to=api)

@late.response_body
def fails_late(request, response, chunk, last):
    if last:
        raise RuntimeError("too late")

begun = gate.route("/responds-late", to=api)

@begun.response_body
def responds_late(request, response, chunk, last):
    return Response(500) if last else None
"""

WAYS = ("text", "number", "list", "exits", "raises", "raises_later", "exits_later", "never", "grows", "class")


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", ["request_body", "response_body", "balance"])
def test_a_hook_that_fails_costs_its_own_request_only(
    gateway: RunningGateway, origin: Origin, phase: str, way: str
) -> None:
    if phase == "balance" and way in ("grows", "text"):
        pytest.skip("nothing wrong with that in this phase")
    workers = gateway.workers
    before = gateway.counter("hook_failures")
    with gateway.client() as client:
        assert client.request("POST", f"/{phase}/{way}/closed", body=b"abc").status == 500
    assert gateway.counter("hook_failures") == before + 1
    response = gateway.post(f"/{phase}/{way}/open", b"abc")
    assert (response.status, response.json()["body"]) == (200, "abc")
    assert gateway.workers == workers


def test_what_went_wrong_is_in_the_log(gateway: RunningGateway) -> None:
    gateway.post("/response_body/text/closed", b"")
    gateway.wait_for_log("returned a `str`; hint: return nothing to keep the chunk, or bytes")
    gateway.post("/request_body/grows/closed", b"abc")
    gateway.wait_for_log("made 2097152 bytes of one chunk of a body; hint: `limits.max_hook_chunk_bytes`")
    gateway.post("/request_body/never/closed", b"abc", [("X-Request-Id", "never")])
    assert gateway.access_record(request_id="never")["limit"] == "hook_deadline"


def test_a_finished_requests_views_say_so(gateway: RunningGateway) -> None:
    assert gateway.post("/keep", b"abc").status == 200
    told = gateway.get("/use").json()
    assert len(told) == 5
    assert [text.split(":")[0] for text in told] == ["this request is finished"] * 5


def test_a_hook_that_fails_in_the_middle_cuts_the_response(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/begun", reply(b"x" * 500_000))
    with gateway.client() as client, pytest.raises((ConnectionError, ValueError)):
        client.get("/begun")
    gateway.wait_for_log("RuntimeError: too late")


def test_a_response_in_the_middle_is_a_failure(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/responds-late", reply(b"x" * 500_000))
    with gateway.client() as client, pytest.raises((ConnectionError, ValueError)):
        client.get("/responds-late")
    gateway.wait_for_log("responds after the response has begun")


def test_a_client_that_leaves_cancels_the_hook(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(
            b"POST /response_body/never/closed HTTP/1.1\r\nHost: a\r\nX-Request-Id: gone\r\n"
            b"Content-Length: 3\r\n\r\nabc"
        )
        origin.wait_for("/response_body/never/closed")
    assert gateway.access_record(request_id="gone")["status"] == 499
    eventually(lambda: gateway.counter("requests_active") == 0, "no request is active")
