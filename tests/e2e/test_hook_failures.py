"""Hooks that raise: logged once with traceback and request id, closed or open, and no harm to other requests."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.client import format_request

GATE = """
import asyncio
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
api = gate.upstream("api", ORIGIN)
dead = gate.upstream("dead", "127.0.0.1:1", retries=0)

def raising(where, is_async):
    def hook(request, *rest):
        raise RuntimeError(f"broken in {where} {request.id}")
    async def slow(request, *rest):
        await asyncio.sleep(0.001)
        raise RuntimeError(f"broken in {where} {request.id}")
    return slow if is_async else hook

for phase in ("request", "upstream_request", "response"):
    for kind in (False, True):
        for mode in ("closed", "open"):
            path = f"/{phase}-{'async' if kind else 'sync'}-{mode}"
            route = gate.route(path, to=api)
            getattr(route, phase)(on_error=mode)(raising(phase, kind))

for phase, target in (("error", dead), ("log", api)):
    for kind in (False, True):
        route = gate.route(f"/{phase}-{'async' if kind else 'sync'}", to=target)
        getattr(route, phase)(raising(phase, kind))

@gate.rewrite
def rewritten(request):
    if request.path == "/rewrite":
        raise RuntimeError(f"broken in rewrite {request.id}")

@gate.route("/exit", to=api)
def leave(request):
    raise SystemExit(3)

@gate.route("/class")
def forgets_to_make_one(request):
    return Response

@gate.route("/exit-async", to=api)
async def leave_later(request):
    await asyncio.sleep(0.001)
    raise SystemExit(4)

async def leaves():
    await asyncio.sleep(0.001)
    raise SystemExit(5)

async def interrupts():
    await asyncio.sleep(0.001)
    raise KeyboardInterrupt

@gate.route("/spawns/{what}")
async def spawns(request):
    loop = asyncio.get_running_loop()
    match request.params["what"]:
        case "task":
            kept_views["task"] = loop.create_task(leaves())
        case "interrupt":
            kept_views["task"] = loop.create_task(interrupts())
        case "awaited":
            await asyncio.gather(leaves())
        case "callback":
            loop.call_soon(exit)
    return Response(200, "spawned")

@gate.route("/recursion", to=api)
def recurse(request):
    def deeper():
        deeper()
    deeper()

kept_views = {}

@gate.route("/used-late")
def used_late(request):
    other = kept_views.get("request")
    kept_views["request"] = request
    if other is None:
        return Response(200, "first")
    try:
        return Response(200, f"still {other.path}")
    except (RuntimeError, ReferenceError) as error:
        return Response(200, f"refused: {error}")

@gate.route("/bad-header", to=api)
def bad_header(request):
    request.headers["x-a"] = "a\\r\\nx-injected: 1"

@gate.route("/framing-header", to=api)
def framing_header(request):
    request.headers["content-length"] = "5"

@gate.route("/slow/{name}", to=api)
async def slow(request):
    await asyncio.sleep(0.2)
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


KINDS = [(phase, kind) for phase in ("request", "upstream_request", "response") for kind in ("sync", "async")]


@pytest.mark.parametrize(("phase", "kind"), KINDS)
def test_hook_that_fails_closed_gives_500_and_is_logged_once(
    gateway: RunningGateway, phase: str, kind: str
) -> None:
    id = f"closed-{phase}-{kind}"
    response = gateway.get(f"/{phase}-{kind}-closed", [("X-Request-Id", id)])
    assert response.status == 500
    assert response.json()["request_id"] == id
    assert "broken" not in response.text
    gateway.wait_for_log(f"RuntimeError: broken in {phase} {id}\n")
    log = gateway.log()
    assert log.count(f"\n  RuntimeError: broken in {phase} {id}\n") == 1
    assert log.count(f"request_id={id}\n  Traceback (most recent call last):\n") == 1
    assert gateway.access_record(request_id=id)["status"] == 500


@pytest.mark.parametrize(("phase", "kind"), KINDS)
def test_hook_that_fails_open_is_passed_over(
    gateway: RunningGateway, origin: Origin, phase: str, kind: str
) -> None:
    id = f"open-{phase}-{kind}"
    assert gateway.get(f"/{phase}-{kind}-open", [("X-Request-Id", id)]).status == 200
    assert origin.at(f"/{phase}-{kind}-open")
    gateway.wait_for_log(f"RuntimeError: broken in {phase} {id}\n")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_error_hook_that_raises_leaves_the_plain_error(gateway: RunningGateway, kind: str) -> None:
    response = gateway.get(f"/error-{kind}", [("X-Request-Id", f"error-{kind}")])
    assert response.status in (500, 502)
    gateway.wait_for_log(f"broken in error error-{kind}\n")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_log_hook_that_raises_harms_nobody(gateway: RunningGateway, kind: str) -> None:
    with gateway.client() as client:
        assert client.get(f"/log-{kind}", [("X-Request-Id", f"log-{kind}")]).status == 200
        assert client.get("/after").status in (200, 404)
    gateway.wait_for_log(f"broken in log log-{kind}\n")


def test_rewrite_hook_that_raises_gives_500(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/rewrite").status == 500
    assert not origin.calls


def test_raising_hook_harms_no_other_request(gateway: RunningGateway, origin: Origin) -> None:
    waiting = [gateway.client() for _ in range(10)]
    for number, client in enumerate(waiting):
        client.send(format_request("GET", f"/slow/{number}"))
    with gateway.client() as client:
        for _ in range(20):
            assert client.get("/request-sync-closed").status == 500
    for client in waiting:
        assert client.response().status == 200
        client.close()


@pytest.mark.parametrize(
    ("what", "logged"),
    [
        ("task", "SystemExit: 5"),
        ("interrupt", "KeyboardInterrupt"),
        ("awaited", "SystemExit: 5"),
        ("callback", "SystemExit: None"),
    ],
)
def test_exit_outside_of_the_hooks_own_step_does_not_end_the_worker(
    gateway: RunningGateway, what: str, logged: str
) -> None:
    workers = gateway.workers
    with gateway.client() as other:
        other.send(format_request("GET", "/slow/other"))
        response = gateway.get(f"/spawns/{what}")
        assert response.status == (500 if what == "awaited" else 200)
        gateway.wait_for_log(f"\n  {logged}\n")
        assert other.response().status == 200
    assert gateway.workers == workers


def test_exit_in_a_hook_is_said_in_the_log(gateway: RunningGateway) -> None:
    workers = gateway.workers
    assert gateway.get("/exit-async").status == 500
    gateway.wait_for_log("sys.exit\\(\\) called in a hook: `gate.py:leave_later` of phase `request`")
    assert gateway.workers == workers


def test_system_exit_in_a_hook_does_not_end_the_worker(gateway: RunningGateway) -> None:
    workers = gateway.workers
    assert gateway.get("/exit").status == 500
    assert gateway.workers == workers


def test_endless_recursion_in_a_hook_does_not_end_the_worker(gateway: RunningGateway) -> None:
    workers = gateway.workers
    assert gateway.get("/recursion").status == 500
    assert gateway.workers == workers


def test_request_that_is_over_refuses_further_use(gateway: RunningGateway) -> None:
    assert gateway.get("/used-late").text == "first"
    assert gateway.get("/used-late").text.startswith("refused: ")


@pytest.mark.parametrize("path", ["/bad-header", "/framing-header"])
def test_header_that_would_break_the_message_is_refused(
    gateway: RunningGateway, origin: Origin, path: str
) -> None:
    assert gateway.get(path).status == 500
    assert not origin.calls


def test_response_reveals_nothing_of_the_code(gateway: RunningGateway) -> None:
    response = gateway.get("/request-sync-closed", [("Accept", "text/html")])
    assert "gate.py" not in response.text
    assert "Traceback" not in response.text


def test_class_of_responses_is_no_response(gateway: RunningGateway) -> None:
    assert gateway.get("/class").status == 500
    gateway.wait_for_log("returned a `type`; hint: return nothing to go on, or a `headgate.Response` to send")
