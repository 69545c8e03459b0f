"""Hooks that wait: contexts, cancellation, deadlines, and asyncio's own tools inside them."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.client import format_request

GATE = """
import asyncio, contextvars, os, signal, subprocess, sys, threading
import anyio
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
api = gate.upstream("api", ORIGIN)
user = contextvars.ContextVar("user", default="nobody")
state = {"cancelled": [], "late": 0, "signals": 0, "background": 0}

@gate.startup
async def start():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, lambda: state.__setitem__("signals", state["signals"] + 1))

    async def tick():
        while True:
            await asyncio.sleep(0.005)
            state["background"] += 1
    state["task"] = loop.create_task(tick())

@gate.route("/state")
def shown(request):
    return Response.json({key: value for key, value in state.items() if key != "task"})

@gate.route("/task")
async def task(request):
    first = asyncio.current_task()
    assert asyncio.isfuture(first) and not first.done()
    await asyncio.sleep(0.001)
    assert asyncio.current_task() is first
    return Response(200, "same task")

@gate.route("/timeout")
async def timed(request):
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(60)
    except TimeoutError:
        return Response(200, "timed out")

@gate.route("/wait-for")
async def waited(request):
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.05)
    except TimeoutError:
        return Response(200, "timed out")

@gate.route("/group")
async def grouped(request):
    async def one(number):
        await asyncio.sleep(0.001 * number)
        return number
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(5)]
    return Response.json([task.result() for task in tasks])

@gate.route("/anyio")
async def with_anyio(request):
    results = []
    async def one(number):
        await anyio.sleep(0.001)
        results.append(number)
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(one, number)
    with anyio.move_on_after(0.02) as scope:
        await anyio.sleep(60)
    in_thread = await anyio.to_thread.run_sync(threading.current_thread)
    return Response.json([sorted(results), scope.cancelled_caught, in_thread is threading.main_thread()])

@gate.route("/anyio-first-step")
async def anyio_first_step(request):
    with anyio.fail_after(5):
        await anyio.lowlevel.checkpoint()
    return Response(200, "ok")

@gate.route("/thread")
async def in_thread(request):
    return Response(200, await asyncio.to_thread(lambda: threading.current_thread().name))

@gate.route("/subprocess")
async def in_subprocess(request):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print('from a child')", stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    return Response.json([out.decode().strip(), process.returncode])

context = gate.route("/context/{name}")

@context.request
async def context_first(request):
    assert user.get() == "nobody"
    user.set(request.params["name"])
    for _ in range(5):
        await asyncio.sleep(0.001)
        assert user.get() == request.params["name"]

@context.request
def context_later(request):
    assert user.get() == request.params["name"]

@context.request
async def context_last(request):
    await asyncio.sleep(0)
    return Response(200, await asyncio.to_thread(user.get))

@gate.route("/state-of-request/{name}", to=api)
async def keep(request):
    request.state.name = request.params["name"]
    await asyncio.sleep(0.002)

@keep.response
def kept(request, response):
    response.headers["x-name"] = request.state.name

@gate.route("/hang")
async def hang(request):
    try:
        state["late"] += 1
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        state["cancelled"].append(request.id)
        raise

@gate.route("/hang-response", to=api).response
async def hang_response(request, response):
    try:
        state["late"] += 1
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        state["cancelled"].append("response " + request.id)
        raise

@gate.route("/deadline", deadline="100ms")
async def deadline(request):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        state["cancelled"].append("deadline")
        raise

@gate.route("/deadline-open", to=api, deadline="100ms", on_error="open")
async def deadline_open(request):
    await asyncio.sleep(60)

own = gate.route("/deadline-of-hook", to=api)

@own.request(deadline="100ms")
async def own_deadline(request):
    await asyncio.sleep(60)

@gate.route("/stubborn", deadline="100ms")
async def stubborn(request):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0.2)
        state["cancelled"].append("stubborn")

@gate.route("/future")
async def future(request):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(0.01, done.set_result, "from call_later")
    return Response(200, await done)

@gate.route("/from-thread")
async def from_thread(request):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set_result, "from a thread")).start()
    return Response(200, await done)

@gate.route("/detached")
async def detached(request):
    async def later():
        await asyncio.sleep(0.01)
        state["detached"] = True
    state["keep"] = None
    asyncio.get_running_loop().create_task(later())
    return Response(200, "gone on")

@gate.route("/sleep/{milliseconds}")
async def slept(request):
    await asyncio.sleep(int(request.params["milliseconds"]) / 1000)
    return Response(200, "awake")

@gate.route("/kill")
def kill(request):
    os.kill(os.getpid(), signal.SIGWINCH)
    return Response(200, "sent")
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


RESPONSES = [
    ("/task", "same task"),
    ("/timeout", "timed out"),
    ("/wait-for", "timed out"),
    ("/group", "[0,1,2,3,4]"),
    ("/anyio", "[[0,1,2,3,4],true,false]"),
    ("/anyio-first-step", "ok"),
    ("/subprocess", '["from a child",0]'),
    ("/future", "from call_later"),
    ("/from-thread", "from a thread"),
    ("/sleep/50", "awake"),
]


@pytest.mark.parametrize(("target", "text"), RESPONSES)
def test_asyncio_works_as_it_is(gateway: RunningGateway, target: str, text: str) -> None:
    response = gateway.get(target)
    assert (response.status, response.text) == (200, text)


def test_function_runs_in_another_thread(gateway: RunningGateway) -> None:
    assert gateway.get("/thread").text not in ("", "MainThread")


def test_contexts_of_requests_are_their_own(gateway: RunningGateway) -> None:
    clients = [gateway.client() for _ in range(20)]
    for _ in range(5):
        for number, client in enumerate(clients):
            client.send(format_request("GET", f"/context/user{number}"))
        for number, client in enumerate(clients):
            response = client.response()
            assert (response.status, response.text) == (200, f"user{number}")
    for client in clients:
        client.close()


def test_state_of_a_request_reaches_its_response_hook(gateway: RunningGateway) -> None:
    clients = [gateway.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(format_request("GET", f"/state-of-request/n{number}"))
    for number, client in enumerate(clients):
        assert client.response().get("x-name") == f"n{number}"
        client.close()


def test_background_task_of_a_startup_hook_goes_on(gateway: RunningGateway) -> None:
    first = gateway.get("/state").json()["background"]
    eventually(lambda: gateway.get("/state").json()["background"] > first + 5, "the task ticks")


def test_background_task_goes_on_under_load(gateway: RunningGateway) -> None:
    first = gateway.get("/state").json()["background"]
    with gateway.client() as client:
        requests = format_request("GET", "/load") * 200
        for _ in range(5):
            client.send(requests)
            for _ in range(200):
                assert client.response().status in (200, 404)
    assert gateway.get("/state").json()["background"] > first


def test_task_that_a_hook_leaves_behind_goes_on(gateway: RunningGateway) -> None:
    assert gateway.get("/detached").text == "gone on"
    eventually(lambda: gateway.get("/state").json().get("detached"), "the task ends")


def test_signal_handler_of_the_user_is_called(gateway: RunningGateway) -> None:
    assert gateway.get("/kill").status == 200
    eventually(lambda: gateway.get("/state").json()["signals"] >= 1, "the handler has run")


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_hook_is_cancelled_when_its_client_leaves(gateway: RunningGateway, how: str) -> None:
    late = gateway.get("/state").json()["late"]
    with gateway.client() as client:
        client.send(format_request("GET", "/hang", [("X-Request-Id", f"left-{how}")]))
        eventually(lambda: gateway.get("/state").json()["late"] == late + 1, "the hook waits")
        getattr(client, how)()
        eventually(
            lambda: f"left-{how}" in gateway.get("/state").json()["cancelled"], "the hook is cancelled"
        )
    assert gateway.access_record(request_id=f"left-{how}")["status"] == 499


def test_response_hook_is_cancelled_when_its_client_leaves(gateway: RunningGateway, origin: Origin) -> None:
    late = gateway.get("/state").json()["late"]
    with gateway.client() as client:
        client.send(format_request("GET", "/hang-response", [("X-Request-Id", "left")]))
        eventually(lambda: gateway.get("/state").json()["late"] == late + 1, "the hook waits")
    eventually(lambda: "response left" in gateway.get("/state").json()["cancelled"], "the hook is cancelled")


def test_pipelined_request_does_not_cancel_the_hook_before_it(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/sleep/100") + format_request("GET", "/task"))
        assert client.response().text == "awake"
        assert client.response().text == "same task"


def test_late_hook_is_cancelled_and_fails_closed(gateway: RunningGateway) -> None:
    failures = gateway.counter("hook_failures")
    assert gateway.get("/deadline").status == 500
    assert "deadline" in gateway.get("/state").json()["cancelled"]
    gateway.wait_for_log("100 ms")
    assert gateway.counter("hook_failures") == failures + 1


def test_late_hook_that_fails_open_is_passed_over(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/deadline-open").status == 200
    assert origin.at("/deadline-open")


def test_deadline_of_a_single_hook(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/deadline-of-hook").status == 500
    assert not origin.at("/deadline-of-hook")


def test_hook_that_resists_cancelling_does_not_hold_the_client(gateway: RunningGateway) -> None:
    assert gateway.get("/stubborn").status == 500
    eventually(lambda: "stubborn" in gateway.get("/state").json()["cancelled"], "it ends in its own time")


def test_hooks_wait_side_by_side(gateway: RunningGateway) -> None:
    import time

    clients = [gateway.client() for _ in range(50)]
    started = time.monotonic()
    for client in clients:
        client.send(format_request("GET", "/sleep/300"))
    for client in clients:
        assert client.response().text == "awake"
        client.close()
    assert time.monotonic() - started < 0.3 * 50 / 3
