"""How long hooks take: in the status, in the access log, in Server-Timing; and what blocks the event loop."""

import json
import re

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually

GATE = """
import asyncio, time
from headgate import Gateway, Plugin, Response

class Stamp(Plugin):
    def response(self, request, response):
        response.headers["x-stamp"] = "1"

gate = Gateway()
gate.listen(LISTEN)
gate.server_timing()
gate.access_log(flush="50ms")
gate.watchdog("100ms")
gate.use(Stamp())

@gate.route("/wait/*", to=ORIGIN)
async def wait(request):
    await asyncio.sleep(0.05)

@gate.route("/fail")
def fail(request):
    raise ValueError("no")

@gate.route("/hold")
def hold(request):
    time.sleep(0.4)
    return Response(200, "held")

@gate.route("/hold-later")
async def hold_later(request):
    await asyncio.sleep(0.01)
    time.sleep(0.4)
    return Response(200, "held")

gate.route("/plain", respond="plain")
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address}, workers=2)


def test_server_timing_tells_each_hook_the_server_and_the_whole(gateway: RunningGateway) -> None:
    timing = gateway.get("/wait/x").get("server-timing") or ""
    found = dict(re.findall(r'(\w+)(?:;desc="[^"]*")?;dur=([0-9.]+)', timing))
    found.pop("connect", None)  # only on a new connection
    assert list(found) == ["request", "response", "upstream", "gateway"], timing
    assert 'request;desc="gate.py:wait"' in timing
    assert 'response;desc="Stamp.response"' in timing
    assert float(found["gateway"]) >= float(found["request"]) >= 50


def test_local_replies_have_server_timing_too(gateway: RunningGateway) -> None:
    timing = gateway.get("/plain").get("server-timing") or ""
    assert re.fullmatch(r'response;desc="Stamp.response";dur=\d+\.\d{3}, gateway;dur=\d+\.\d{3}', timing)


def test_access_log_tells_what_each_hook_took(gateway: RunningGateway) -> None:
    gateway.get("/wait/logged")
    record = gateway.access_record(target="/wait/logged")
    assert [(hook["phase"], hook["hook"]) for hook in record["hooks"]] == [
        ("request", "gate.py:wait"),
        ("response", "Stamp.response"),
    ]
    assert 50_000 <= record["hooks"][0]["us"] <= record["total_us"]


def test_status_sums_the_times_of_hooks_over_workers(gateway: RunningGateway) -> None:
    before = {hook["hook"]: hook for hook in gateway.ask("hooks")["hooks"]}
    calls = 6
    for _ in range(calls):  # each on a connection of its own, so on either worker
        gateway.get("/wait/summed")
        assert gateway.get("/fail").status == 500

    def counted() -> bool:
        now = {hook["hook"]: hook for hook in gateway.ask("hooks")["hooks"]}
        waits, fails = now["gate.py:wait"], now["gate.py:fail"]
        assert waits["longest_us"] >= 50_000 and waits["total_us"] >= waits["inline_us"]
        assert sum(waits["buckets"]) == waits["calls"]
        grown = waits["calls"] - before.get("gate.py:wait", {"calls": 0})["calls"]
        failed = fails["failures"] - before.get("gate.py:fail", {"failures": 0})["failures"]
        return (grown, failed) == (calls, calls)

    eventually(counted, "each call is counted once")


def test_status_prints_hooks_phases_and_plugins(gateway: RunningGateway) -> None:
    gateway.get("/wait/printed")
    printed = gateway.cli("status", "--hooks")
    assert printed.returncode == 0, printed.stderr
    for wanted in ("request gate.py:wait", "response Stamp.response", "phase", "plugin", "\nStamp "):
        assert wanted in printed.stdout, printed.stdout
    told = gateway.cli("status", "--hooks", "--json")
    assert {"phase", "hook", "plugin", "calls"} <= set(json.loads(told.stdout)["hooks"][0])


@pytest.mark.parametrize(("path", "line"), [("/hold", "in hold"), ("/hold-later", "in hold_later")])
def test_watchdog_logs_the_stack_of_what_holds_the_loop(serve: Serve, path: str, line: str) -> None:
    gateway = serve(GATE, names={"ORIGIN": "127.0.0.1:1"})
    assert gateway.get(path, [("X-Request-Id", "held-request")]).status == 200
    told = gateway.wait_for_log(r"Python code is blocking the event loop[^\n]*\n(.|\n)*?time\.sleep\(0\.4\)")[
        0
    ]
    assert re.search(r"held_ms=\d{3}", told) and "request_id=held-request" in told
    assert line in told
    eventually(lambda: gateway.counter("loop_stalls") >= 1, "the stall is counted")
    assert gateway.log().count("time.sleep(0.4)") == 1
