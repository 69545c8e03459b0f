"""User code has many ways in and many ways out: each entry times each exit costs one request at most, never a worker.

How it works: one gateway serves all cells. Its hooks look at the path, `/ENTRY/EXIT`, and leave the way it says. After
each cell the same worker must respond, and a download of another client must still be going on. What ends the start has
gateways of its own.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.client import RawClient, format_request
from e2e.kit.gateway import run_cli

EXITS = """
import asyncio, os, sys, time

def leave(how):
    while how == "never":
        try:
            time.sleep(0.05)
        except Exception:
            pass  # as who tries again for ever
    if how == "exception":
        raise ValueError("left by an exception")
    if how == "exit":
        sys.exit(0)
    if how == "hard-exit":
        os._exit(0)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "cancelled":
        raise asyncio.CancelledError
    if how == "recursion":
        return leave(how)
    if how == "memory":
        raise MemoryError
    if how == "generator":
        raise GeneratorExit

async def leave_late(how, after=0.01):
    if how == "never":
        await asyncio.sleep(3600)
    await asyncio.sleep(after)
    leave(how)
"""
HOWS = ("exception", "exit", "interrupt", "cancelled", "recursion", "memory", "generator")

GATE = """
import functools, os, signal, threading
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.hook_defaults(deadline="400ms")
gate.watchdog(None)
gate.background_limits(processes=1)

def asked(request, entry):
    parts = request.path.split("/")
    return parts[2] if parts[1] == entry else None

def sync_hook(phase, arguments):
    made = {"asked": asked, "leave": leave}
    exec(f"def {phase}({arguments}):\\n how = asked(request, '{phase}')\\n if how: leave(how)", made)
    return made[phase]

def first_step(phase, arguments):
    made = {"asked": asked, "leave": leave}
    text = f"async def {phase}({arguments}):\\n how = asked(request, '{phase}-first')\\n if how: leave(how)"
    exec(text, made)
    return made[phase]

def async_hook(phase, arguments):
    made = {"asked": asked, "leave_late": leave_late}
    text = f"async def {phase}({arguments}):\\n how = asked(request, '{phase}-async')\\n if how: await leave_late(how)"
    exec(text, made)
    return made[phase]

PHASES = {
    "rewrite": "request", "request": "request", "request_body": "request, chunk, last", "balance": "request, upstream",
    "upstream_request": "request, attempt", "response": "request, response",
    "response_body": "request, response, chunk, last", "error": "request, error", "log": "request, response",
}
for phase, arguments in PHASES.items():
    for make in (sync_hook, first_step, async_hook):
        getattr(gate, phase)(make(phase, arguments))

up = gate.upstream("up", ORIGIN, retries=0)
gate.route("/", to=up)
gate.route("/error/*", to=CLOSED)
gate.route("/error-first/*", to=CLOSED)
gate.route("/error-async/*", to=CLOSED)

runs = {}

def tick(how):
    runs[how] = runs.get(how, 0) + 1
    leave(how)

async def tick_async(how):
    runs[f"{how}-async"] = runs.get(f"{how}-async", 0) + 1
    await leave_late(how)

for how in HOWS:
    gate.every(0.05, functools.partial(tick, how))
    gate.every(0.05, functools.partial(tick_async, how))

@gate.route("=/runs")
def how_often(request):
    return Response.json(runs)

@gate.route("=/pid")
def pid(request):
    return Response(200, str(os.getpid()))

@gate.route("/slow")
async def slow(request):
    async def pieces():
        while True:
            yield b"piece;"
            await asyncio.sleep(0.02)
    return Response.stream(pieces())

def matches(request):
    leave(request.path.split("/")[2])
    return True

gate.route("/match/*", when=matches, to=up)

def left(request):
    return request.path.split("/")[2]

@gate.route("/task/*")
async def task(request):
    gate.spawn(leave_late(left(request)))
    return Response(200)

@gate.route("/first-step-of-task/*")
async def first_step_of_task(request):
    async def at_once(how):
        leave(how)
    gate.spawn(at_once(left(request)))
    return Response(200)

@gate.route("/plain-task/*")
async def plain_task(request):
    global kept
    kept = asyncio.create_task(leave_late(left(request)))
    return Response(200)

@gate.route("/callback/*")
async def callback(request):
    asyncio.get_running_loop().call_soon(leave, left(request))
    return Response(200)

@gate.route("/later/*")
async def later(request):
    asyncio.get_running_loop().call_later(0.01, leave, left(request))
    return Response(200)

@gate.route("/timer/*")
async def timer(request):
    gate.after(0.01, leave, left(request))
    return Response(200)

@gate.route("/timer-async/*")
async def timer_async(request):
    gate.after(0.01, leave_late, left(request))
    return Response(200)

@gate.route("/done/*")
async def done(request):
    how = left(request)
    task = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    task.add_done_callback(lambda _: leave(how))
    return Response(200)

@gate.route("/thread/*")
async def thread(request):
    try:
        await gate.run_in_thread(leave, left(request))
    except BaseException as error:
        return Response(200, type(error).__name__)

@gate.route("/own-thread/*")
async def own_thread(request):
    threading.Thread(target=leave, args=(left(request),)).start()
    return Response(200)

@gate.route("/to-thread/*")
async def to_thread(request):
    await asyncio.to_thread(leave, left(request))

@gate.route("/job/*")
async def job(request):
    await gate.run_in_process(leave, left(request), timeout=20)

@gate.route("/awaited/*")
async def awaited(request):
    await asyncio.create_task(leave_late(left(request)))

@gate.route("/gathered/*")
async def gathered(request):
    await asyncio.gather(leave_late(left(request)), asyncio.sleep(0.02))

@gate.route("/signal/*")
async def signals(request):
    asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, leave, left(request))
    os.kill(os.getpid(), signal.SIGALRM)
    return Response(200)

@gate.route("/streamed/*")
async def streamed(request):
    async def pieces():
        yield b"begun;"
        await leave_late(left(request))
    return Response.stream(pieces())

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    leave(scope["path"].split("/")[2])

gate.mount("/mount", app)

async def late_app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await leave_late(scope["path"].split("/")[2])

gate.mount("/mount-async", late_app)
"""

BEFORE = ("rewrite", "request", "request_body", "balance", "upstream_request", "response")
OF_PHASES = {
    **dict.fromkeys(BEFORE, (500,)),
    "response_body": (500,),
    "error": (500, 502),
    "log": (200,),
}
"""For hooks of each phase the statuses that their failure may give."""
IN_HANDLERS = {
    "match": (500,),
    "to-thread": (500,),
    "job": (500,),
    "awaited": (500,),
    "gathered": (500,),
    "mount": (500,),
    "mount-async": (500,),
    "streamed": (200,),
    **dict.fromkeys(
        (
            "task",
            "first-step-of-task",
            "plain-task",
            "callback",
            "later",
            "timer",
            "timer-async",
            "done",
            "thread",
            "own-thread",
            "signal",
        ),
        (200,),
    ),
}
CELLS = [
    *((entry, how) for entry in OF_PHASES for how in HOWS),
    *((f"{entry}-first", how) for entry in OF_PHASES for how in HOWS),
    *((f"{entry}-async", how) for entry in OF_PHASES for how in (*HOWS, "never")),
    *((entry, how) for entry in IN_HANDLERS for how in HOWS),
    *((entry, "never") for entry in ("awaited", "gathered", "mount-async")),
]


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    names = {"ORIGIN": origin.address, "CLOSED": "127.0.0.1:1", "HOWS": HOWS}
    return serve_module(EXITS + GATE, names=names)


@pytest.fixture(scope="module")
def worker(gateway: RunningGateway) -> str:
    return pid(gateway)


def pid(gateway: RunningGateway) -> str:
    with RawClient(gateway.address) as client:
        return client.get("/pid").text


@pytest.fixture(scope="module")
def download(gateway: RunningGateway) -> Iterator[RawClient]:
    """Another client's response, which goes on and on."""
    with RawClient(gateway.address) as client:
        client.send(format_request("GET", "/slow"))
        client.read_until(b"piece;")
        yield client


@pytest.mark.parametrize(("entry", "how"), CELLS)
def test_it_costs_its_own_request_at_most(
    gateway: RunningGateway, worker: str, download: RawClient, entry: str, how: str
) -> None:
    phase = re.sub("-(first|async)$", "", entry)
    wanted = IN_HANDLERS.get(entry) or OF_PHASES[phase]
    with RawClient(gateway.address) as client:
        client.send(format_request("POST", f"/{entry}/{how}", body=b"body"))
        if entry == "streamed":
            client.read_until(b"begun;")
        else:
            assert client.response("POST").status in wanted
    download.read_until(b"piece;")
    assert pid(gateway) == worker


def test_the_log_says_what_left(gateway: RunningGateway, worker: str) -> None:
    for word in ("left by an exception", "SystemExit", "KeyboardInterrupt", "RecursionError", "MemoryError"):
        eventually(lambda word=word: word in gateway.log(), f"the log says {word}")


def test_a_timer_goes_on_however_its_function_leaves(gateway: RunningGateway, worker: str) -> None:
    def all_run_again() -> bool:
        with RawClient(gateway.address) as client:
            counts = client.get("/runs").json()
        return len(counts) == 2 * len(HOWS) and min(counts.values()) >= 3

    eventually(all_run_again, "every timer runs a third time")


AT_START = {
    "load": "leave(HOW)\n",
    "startup": "@gate.startup\ndef begin(): leave(HOW)\n",
    "startup-async": "@gate.startup\nasync def begin(): await leave_late(HOW)\n",
    "plugin-setup": (
        "from headgate import Plugin\nclass P(Plugin):\n    def setup(self, context): leave(HOW)\ngate.use(P())\n"
    ),
    "plugin-startup": (
        "from headgate import Plugin\nclass P(Plugin):\n    async def startup(self): leave(HOW)\ngate.use(P())\n"
    ),
    "lifespan": (
        "async def app(scope, receive, send):\n    await receive()\n    leave(HOW)\ngate.mount('/app', app)\n"
    ),
}
AT_END = {
    "shutdown": "@gate.shutdown\ndef end(): leave(HOW)\n",
    "shutdown-async": "@gate.shutdown\nasync def end(): await leave_late(HOW)\n",
    "plugin-close": (
        "from headgate import Plugin\nclass P(Plugin):\n    async def close(self): leave(HOW)\ngate.use(P())\n"
    ),
    "lifespan-end": (
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.complete'})\n"
        "    await receive()\n"
        "    leave(HOW)\n"
        "gate.mount('/app', app)\n"
    ),
}
HEAD = "from headgate import Gateway\ngate = Gateway()\ngate.listen(LISTEN)\ngate.route('/', respond='in')\n"
"""Quick to write and to read: what follows is the entry."""


STARTS = [
    *((entry, "exit") for entry in AT_START),
    *(("startup", how) for how in HOWS if how != "exit"),
    ("load", "hard-exit"),
    *((entry, "never") for entry in ("load", "startup", "startup-async")),
]
"""Each entry, and each exit of one: they end in the same place, and take their time. Reloads have the product."""
SHORT_START = {"HEADGATE_START_LIMIT": "4"}


@pytest.mark.parametrize(("entry", "how"), STARTS)
def test_what_ends_the_start_is_told_and_fails(serve: Serve, entry: str, how: str) -> None:
    source = EXITS + HEAD + AT_START[entry]
    gateway = serve(source, names={"HOW": how}, is_ready=False, environment=SHORT_START)
    assert gateway.process.wait(30) != 0
    assert re.search(r"error|failed", gateway.log())


@pytest.fixture(scope="module")
def reloaded(serve_module: Serve) -> RunningGateway:
    return serve_module(EXITS + HEAD, names={"HOW": "exit"}, environment=SHORT_START)


HAS_NO_LIFESPAN = ("exception", "recursion", "memory")
"""What says that an application knows no lifespan, which is no failure (ASGI, "Lifespan Protocol")."""
RELOADS = [
    (entry, how)
    for entry in AT_START
    for how in (*HOWS, "never")
    if entry != "lifespan" or how not in HAS_NO_LIFESPAN
]


@pytest.mark.parametrize(("entry", "how"), RELOADS)
def test_what_ends_the_start_of_a_new_version_leaves_the_old_one(
    reloaded: RunningGateway, entry: str, how: str
) -> None:
    workers = reloaded.workers
    reloaded.names["HOW"] = how
    reloaded.write(EXITS + HEAD + AT_START[entry])
    response = reloaded.ask("reload")
    assert not response["ok"], response
    assert response["error"] and "Traceback" not in response["error"]
    assert reloaded.get("/").text == "in"
    assert reloaded.workers == workers
    eventually(lambda: len(reloaded.ask()["workers"]) == 1, "nothing of the new version is left")


@pytest.mark.parametrize("how", [*HOWS, "hard-exit", "never"])
@pytest.mark.parametrize("entry", ["load", "plugin-setup"])
@pytest.mark.parametrize("command", ["check", "routes"])
def test_what_ends_the_loading_is_told_by_commands_with_its_line(
    tmp_path: Path, command: str, entry: str, how: str
) -> None:
    file = tmp_path / "gate.py"
    file.write_text(f"LISTEN = ':0'\nHOW = {how!r}\n" + EXITS + HEAD + AT_START[entry])
    environment = {**os.environ, "HEADGATE_START_LIMIT": "2"}
    done = run_cli(command, str(file), cwd=tmp_path, environment=environment)
    assert done.returncode == (130 if how == "interrupt" else 2), done.stderr  # 130: as Ctrl-C
    assert re.search(r"gate\.py:\d+: ", done.stderr) and "Traceback" not in done.stderr
    assert not done.stdout


def test_what_ends_the_stop_is_logged_and_the_rest_still_ends(serve: Serve) -> None:
    # all at once: each of them must not keep the next from its turn
    text = "".join(code.replace("HOW", repr(how)) for code in AT_END.values() for how in HOWS)
    text = "@gate.shutdown\ndef last(): print('the last one ran', flush=True)\n" + text
    mounts = iter(range(1000))
    text = re.sub(r"mount\('/app'", lambda _: f"mount('/app{next(mounts)}'", text)
    gateway = serve(EXITS + HEAD + text)
    gateway.process.terminate()
    assert gateway.process.wait(30) == 0
    assert "the last one ran" in gateway.stdout.read_text()
    assert gateway.log().count("shutdown hook failed") >= 3 * len(HOWS)
