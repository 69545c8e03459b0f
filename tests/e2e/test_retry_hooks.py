"""Phase `retry`: hooks that are asked whether an attempt is repeated, once the rules of `retries` would have it."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import reply
from e2e.kit.client import RawResponse

GATE = """
import asyncio
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
FIRST, SECOND = f"{FIRST} max_fails=0", f"{SECOND} max_fails=0"
api = gate.upstream("api", FIRST, SECOND, balance="first", retries={"on": ["connect", "reset", 503]})
often = gate.upstream("often", FIRST, retries={"attempts": 4, "on": 503, "backoff": {"base": "1ms", "max": "2ms"}})
asked = []

def told():
    text = ", ".join(asked)
    asked.clear()
    return {"x-asked": text}

@gate.response
def tell(request, response):
    if "x-asked" not in response.headers:  # as it is in those of `error` hooks
        response.headers.update(told())

@gate.error
def tell_of_errors(request, error):
    return Response(error.status, error.kind, headers=told())

@gate.retry
def note(request, failed):
    asked.append(f"{failed.number} {failed.upstream} {failed.kind or failed.status}")
    if "x-once" in request.headers:
        return False
    return True if "x-twice" in request.headers else None

gate.route("/*", to=api)

@gate.route("/often", to=often).retry
async def twice(request, failed):
    await asyncio.sleep(0)
    return failed.number < 3

for way, made in {"wrong": lambda *_: "yes", "raises": lambda *_: 1 / 0}.items():
    for mode in ("open", "closed"):
        gate.route(f"/{way}/{mode}", to=api).retry(on_error=mode)(made)
"""


@pytest.fixture(scope="module")
def second() -> Origin:
    return Origin()


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, second: Origin) -> RunningGateway:
    busy = reply(b"busy", status="503 Busy")
    origin.on("/busy", busy)
    origin.on("/often", busy)
    origin.on("/reset", lambda call: call.reset())
    for way in ("wrong", "raises"):
        for mode in ("open", "closed"):
            origin.on(f"/{way}/{mode}", busy)
    names = {"FIRST": origin.address, "SECOND": second.address}
    return serve_module(GATE, names=names, workers=1)


def shown(response: RawResponse) -> tuple[int, str | None]:
    return response.status, response.get("x-asked")


def test_what_came_of_the_attempt_is_told_and_nothing_or_true_repeats_it(gateway: RunningGateway) -> None:
    assert shown(gateway.get("/busy")) == (200, "1 api 503")
    assert shown(gateway.get("/busy", [("X-Twice", "yes")])) == (200, "1 api 503")
    assert shown(gateway.get("/reset")) == (200, "1 api upstream_reset")


def test_false_keeps_the_response_or_the_failure(gateway: RunningGateway, second: Origin) -> None:
    before = len(second.calls)
    response = gateway.get("/busy", [("X-Once", "yes")])
    assert (*shown(response), response.body) == (503, "1 api 503", b"busy")
    response = gateway.get("/reset", [("X-Once", "yes")])
    assert (*shown(response), response.body) == (502, "1 api upstream_reset", b"upstream_reset")
    assert len(second.calls) == before


def test_it_is_not_asked_where_the_rules_would_not_repeat(gateway: RunningGateway) -> None:
    assert shown(gateway.get("/else")) == (200, "")
    with gateway.client() as client:
        assert shown(client.request("POST", "/busy", body=b"once")) == (503, "")
        assert shown(client.request("POST", "/reset", body=b"once")) == (502, "")


def test_async_hooks_are_asked_before_each_further_attempt(gateway: RunningGateway, origin: Origin) -> None:
    assert shown(gateway.get("/often")) == (503, "1 often 503, 2 often 503, 3 often 503")
    assert len(origin.at("/often")) == 3


@pytest.mark.parametrize("way", ["wrong", "raises"])
def test_hook_that_fails_costs_its_own_request_only(gateway: RunningGateway, way: str) -> None:
    assert gateway.get(f"/{way}/open").status == 200
    response = gateway.get(f"/{way}/closed")
    assert (response.status, response.body) == (500, b"hook_failed")
    assert gateway.get("/else").status == 200
