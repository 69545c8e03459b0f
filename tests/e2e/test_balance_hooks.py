"""Phase `balance`: a hook picks the server of each attempt, or leaves it to the gateway."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve

GATE = """
import asyncio
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
api = gate.upstream("api", FIRST, f"{SECOND} weight=3", "127.0.0.1:1 backup", retries=2)

chosen = gate.route("/chosen/*", to=api)

@chosen.balance
def by_header(request, upstream):
    wanted = request.headers.get("x-server")
    if wanted is None:
        return None
    if wanted.isdigit():
        return upstream.servers[int(wanted)]
    return wanted

later = gate.route("/async", to=api)

@later.balance
async def least_loaded(request, upstream):
    await asyncio.sleep(0)
    return min(upstream.servers[:2], key=lambda server: (server.is_tried, server.requests, -server.weight))

retried = gate.route("/retried", to=api)

@retried.balance
def dead_first(request, upstream):
    trace = [(server.address, server.weight, server.backup, server.is_tried) for server in upstream.servers]
    request.headers[f"x-attempt-{request.attempt}"] = str(trace[2])
    return next(server for server in reversed(upstream.servers) if not server.is_tried)

refusing = gate.route("/refusing", to=api)

@refusing.balance
def refuses(request, upstream):
    return Response(503, f"{upstream.name} is closed")

wrong = gate.route("/wrong/*", to=api)

@wrong.balance
def is_wrong(request, upstream):
    return {"type": 5, "unknown": upstream.servers[0].address + "9"}[request.path.rpartition("/")[2]]

opened = gate.route("/open", to=api)

@opened.balance(on_error="open")
def fails_open(request, upstream):
    raise RuntimeError("no idea")
"""


@pytest.fixture(scope="module")
def second() -> Origin:
    return Origin()


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, second: Origin) -> RunningGateway:
    return serve_module(GATE, names={"FIRST": origin.address, "SECOND": second.address})


def test_the_server_is_picked_by_object_or_address(
    gateway: RunningGateway, origin: Origin, second: Origin
) -> None:
    for server, wanted in (("0", origin), ("1", second), (origin.address, origin), (second.address, second)):
        response = gateway.get("/chosen/a", [("X-Server", server)]).json()
        assert response["origin"] == wanted.address


def test_nothing_returned_leaves_the_choice_to_the_gateway(
    gateway: RunningGateway, origin: Origin, second: Origin
) -> None:
    reached = {gateway.get("/chosen/b").json()["origin"] for _ in range(8)}
    assert reached == {origin.address, second.address}


def test_an_async_hook_sees_how_the_servers_are(gateway: RunningGateway, second: Origin) -> None:
    assert gateway.get("/async").json()["origin"] == second.address


def test_each_attempt_asks_again(gateway: RunningGateway, second: Origin) -> None:
    response = gateway.get("/retried", [("X-Request-Id", "retried")]).json()
    fields = dict(response["fields"])
    assert response["origin"] == second.address
    assert fields["x-attempt-0"] == "('127.0.0.1:1', 1, True, False)"
    assert fields["x-attempt-1"] == "('127.0.0.1:1', 1, True, True)"
    assert gateway.access_record(request_id="retried")["attempts"] == 2


def test_a_hook_may_respond_instead(gateway: RunningGateway) -> None:
    response = gateway.get("/refusing")
    assert (response.status, response.text) == (503, "api is closed")


def test_an_unknown_server_is_refused_with_the_nearest_one(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/wrong/unknown").status == 500
    gateway.wait_for_log(f"did you mean `{origin.address}`")
    assert gateway.get("/wrong/type").status == 500
    gateway.wait_for_log("returned a `int`; hint: return nothing, one of `upstream.servers`")


def test_a_hook_that_fails_open_leaves_the_choice_to_the_gateway(gateway: RunningGateway) -> None:
    assert gateway.get("/open").status == 200
