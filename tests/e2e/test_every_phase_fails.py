"""Hooks that go wrong in every way, in every phase of a request that has no body: each costs its own request only.

Those of bodies and of `balance` are in test_body_hook_failures.py, those of connections in test_connect_hooks.py,
test_client_hello.py and test_tcp.py.
"""

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.client import format_request

GATE = """
import asyncio, sys, time
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
api = gate.upstream("api", ORIGIN)
dead = gate.upstream("dead", "127.0.0.1:1", retries=0)
free = asyncio.Event()

def wrong():
    return 42

def raises():
    raise RuntimeError("broken")

def exits():
    sys.exit(3)

def interrupts():
    raise KeyboardInterrupt

WAYS = {"wrong": wrong, "raises": raises, "exits": exits, "interrupts": interrupts}

def made(way, kind):
    def hook(*_):
        return WAYS[way]()
    async def at_once(*_):
        return WAYS[way]()
    async def later(*_):
        await asyncio.sleep(0)
        return WAYS[way]()
    return {"sync": hook, "async": at_once, "waiting": later}[kind]

async def never(*_):
    await asyncio.Event().wait()

def sleeps(*_):
    time.sleep(0.02)

@gate.rewrite(deadline="300ms")
def rewritten(request):
    _, phase, way, kind, *_ = [*request.path.split("/"), "", "", ""]
    if phase == "rewrite":
        return never() if way == "never" else made(way, kind)(request)

for phase in ("request", "upstream_request", "response", "error", "log"):
    for way in (*WAYS, "never"):
        for kind in ("sync", "async", "waiting") if way != "never" else ("waiting",):
            hook = never if way == "never" else made(way, kind)
            for mode in ("closed", "open"):
                path = f"/{phase}/{way}/{kind}/{mode}"
                route = gate.route(path, to=dead if phase == "error" else api)
                getattr(route, phase)(deadline="300ms", on_error=mode)(hook)

for phase in ("request", "upstream_request", "response", "log"):
    getattr(gate.route(f"/{phase}/sleeps", to=api), phase)(sleeps)

@gate.route("/held")
async def held(request):
    await free.wait()
    free.clear()
    return Response(200, "held")

@gate.route("/free")
def release(request):
    free.set()
    return Response(200)
"""

PHASES = ("rewrite", "request", "upstream_request", "response", "error", "log")
WAYS = [
    (way, kind) for way in ("wrong", "raises", "exits", "interrupts") for kind in ("sync", "async", "waiting")
]
WAYS += [("never", "waiting")]


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address}, workers=1)


@pytest.mark.parametrize(("way", "kind"), WAYS)
@pytest.mark.parametrize("phase", PHASES)
def test_a_hook_that_fails_costs_its_own_request_only(
    gateway: RunningGateway, phase: str, way: str, kind: str
) -> None:
    workers, counted = gateway.workers, gateway.counter("hook_failures")
    with gateway.client() as other, gateway.client() as client:
        other.send(format_request("GET", "/held"))
        for mode in ("closed", "open"):
            status = client.get(f"/{phase}/{way}/{kind}/{mode}").status
            passes = phase == "log" or (mode == "open" and phase not in ("rewrite", "error"))
            assert status == (200 if passes else 502 if phase == "error" else 500)
            # once for each hook, also for one that is passed over; those of `log` may still be running
            counted += 1
            eventually(
                lambda expected=counted: gateway.counter("hook_failures") == expected,
                f"hook_failures is {counted}",
            )
        assert client.get("/free").status == 200
        assert other.response().text == "held"
    assert gateway.workers == workers


@pytest.mark.parametrize("phase", ["request", "upstream_request", "response", "log"])
def test_a_hook_that_sleeps_harms_nobody(gateway: RunningGateway, phase: str) -> None:
    with gateway.client() as client:
        assert client.get(f"/{phase}/sleeps").status == 200
        assert client.get("/free").status == 200


def test_every_failure_is_in_the_log(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for phase in PHASES:
            client.get(f"/{phase}/wrong/sync/closed", [("X-Request-Id", f"wrong-{phase}")])
    for phase in PHASES:
        eventually(
            lambda phase=phase: f"request_id=wrong-{phase}\n" in gateway.log(), f"wrong-{phase} in the log"
        )
