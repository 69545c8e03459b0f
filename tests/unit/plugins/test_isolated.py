"""isolated: what an untrusted plugin can do, what it cannot, and what becomes of requests when it tries."""

import asyncio
import gzip
import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, load
from headgate.isolation.keeper import Keeper
from headgate.isolation.outcome import NotValid, Outcome, apply, outcome
from headgate.plugins import Isolated, KeyAuth
from headgate.testing import TestGateway

SERVER = "server.test:80"
TRIES = {
    "open": "open('/etc/hostname').read()",
    "write": "open('/tmp/x', 'w')",
    "list": "__import__('os').listdir('/')",
    "stat": "__import__('os').stat('/')",
    "proc": "open('/proc/self/environ').read()",
    "socket": "__import__('socket').socket()",
    "pair": "__import__('socket').socketpair()",
    "pipe": "__import__('os').pipe()",
    "fork": "__import__('os').fork()",
    "exec": "__import__('os').execv('/bin/true', ['true'])",
    "spawn": "__import__('subprocess').run(['true'])",
    "thread": "__import__('_thread').start_new_thread(print, ())",
    "kill": "__import__('os').kill(__import__('os').getppid(), 0)",
    "kill self": "__import__('os').kill(__import__('os').getpid(), 9)",
    "limits": "__import__('resource').setrlimit(7, (10, 10))",
    "signals by the kernel": "__import__('fcntl').fcntl(0, 8, __import__('os').getppid())",
    "dup": "__import__('os').dup(0)",
    "memory": "bytearray(1 << 30)",
    "memfd": "__import__('os').memfd_create('x')",
}
PLUGIN = """
import os, resource, socket, subprocess
from headgate import Plugin, Response

class Own(Plugin):
    async def request(self, request):
        what = request.headers.get("x-do")
        if what:
            try:
                return Response(200, repr(eval(what)))
            except (OSError, MemoryError, RuntimeError, ValueError) as error:
                return Response(403, type(error).__name__)
        request.headers["x-seen"] = ",".join(request.headers.keys())
        request.headers.pop("x-gone", None)
        request.target = request.path + "?by=plugin"
        request.state.count = 41

    def response(self, request, response):
        response.headers["x-count"] = str(getattr(request.state, "count", 0) + 1)
        if response.status == 200 and "x-do" not in request.headers:
            response.status = 201
"""


TO_ALL = """
import os
def to_all(data):
    for n in range(3, 300):
        try:
            os.write(n, data)
        except OSError:
            pass
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str, name: str = "foreign_plugin") -> None:
        (tmp_path / f"{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))

    return write


def gate_with(kind: str = "Own", **settings: Any) -> Gateway:
    gate = Gateway()
    gate.upstream("other", "other.test:80")
    gate.route("/", to=SERVER)
    gate.use(Isolated(plugin=f"foreign_plugin:{kind}", **settings))
    return gate


def running(**settings: Any) -> TestGateway:
    servers = {SERVER: "ok", "other": "other"}
    return TestGateway(gate_with(**settings), upstreams=servers, raise_errors=False)


def refused(kind: str = "Own", **settings: Any) -> str:
    with pytest.raises(ConfigError) as error:
        gate_with(kind, **settings)
    return str(error.value)


def hook(body: str) -> str:
    return f"from headgate import *\nclass Own(Plugin):\n    def request(self, request):\n        {body}\n"


def test_what_hooks_do_happens_and_secrets_stay(write: Any) -> None:
    write(PLUGIN)
    with running() as gateway:
        headers = {"x-a": "1", "x-gone": "1", "authorization": "secret", "cookie": "a=b", "x-api-key": "k"}
        response = gateway.get("/path?q", headers)
        assert (response.status, response.headers["x-count"]) == (201, "42")
        received = gateway.received[0]
        assert received.target == "/path?by=plugin"
        assert received.headers["x-seen"] == "x-a,x-gone"
        assert "x-gone" not in received.headers
        assert received.headers["authorization"] == "secret"
    assert "foreign_plugin" not in sys.modules


def test_nothing_is_allowed_but_to_compute(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    write(PLUGIN)
    with running() as gateway:
        told = {name: gateway.get("/", {"x-do": text}) for name, text in TRIES.items()}
        assert {name: one.text for name, one in told.items() if one.status != 403} == {}
        assert gateway.get("/", {"x-do": "dict(os.environ)"}).text == "{}"
        assert gateway.get("/", {"x-do": "sum(range(5))"}).text == "10"


def test_a_process_that_ends_is_replaced_and_the_request_goes_on(write: Any) -> None:
    write(PLUGIN)
    gate = gate_with()
    keeper = _keeper(gate)
    with TestGateway(gate, upstreams={SERVER: "ok"}, raise_errors=False) as gateway:
        assert gateway.get("/").status == 201
        assert keeper._link is not None
        os.kill(keeper._link.pid, signal.SIGKILL)
        assert gateway.get("/").status == 201
        assert gateway.get("/", {"x-do": "os._exit(3)"}).status == 500
        assert gateway.get("/").status == 201


def test_a_late_call_is_killed_and_those_that_wait_are_served(write: Any) -> None:
    write(PLUGIN)
    with running(timeout=0.5) as gateway:
        gateway.get("/")
        late = gateway.start("GET", "/", {"x-do": "any(False for _ in iter(int, 1))"})
        waiting = [gateway.start("GET", "/") for _ in range(3)]
        assert [one.result().status for one in (late, *waiting)] == [500, 201, 201, 201]


def test_a_client_that_leaves_costs_no_process(write: Any) -> None:
    write(PLUGIN)
    gate = gate_with(timeout=20)
    with TestGateway(gate, upstreams={SERVER: "ok"}, raise_errors=False) as gateway:
        gateway.get("/")
        link = _keeper(gate)._link
        leaving = gateway.start("GET", "/", {"x-do": "sum(range(20_000_000))"})
        leaving.leave()
        assert gateway.get("/").status == 201
        assert _keeper(gate)._link is link


def test_a_process_that_computes_unasked_is_killed(write: Any) -> None:
    write(PLUGIN)
    gate = gate_with()
    with TestGateway(gate, upstreams={SERVER: "ok"}, raise_errors=False) as gateway:
        gateway.get("/")
        keeper = _keeper(gate)
        link = keeper._link
        assert link is not None

        async def look(cpu: float, busy: float) -> bool:
            keeper._look(link, cpu, busy)
            return link.is_alive

        assert gateway.run(look(link.cpu() - 5, keeper._busy_seconds - 5))
        assert not gateway.run(look(link.cpu() - 5, keeper._busy_seconds))
        assert gateway.get("/").status == 201


@pytest.mark.parametrize(
    "body",
    [
        "to_all(b'\\0\\0\\0\\2[]')",
        "to_all(b'\\xff' * 4)",
        "return 5",
        "return Response(200, 'x' * 600_000)",
        "request.state.x = 'x' * 20_000",
        "request.state.x = object()",
        "request.upstream = '127.0.0.1:22'",
        "request.method = 'A B'",
        "[request.headers.add('x', 'y') for _ in range(1001)]",
        "request.fetch('/')",
        "1 / 0",
        "return Response(200, headers=[('content-type', 'a\\nb')])",
        "import sys; sys.exit(1)",
        "request.state.x = []; [request.state.x.append(request.state.x)]",
    ],
)
def test_results_that_are_not_valid_fail_closed(write: Any, body: str) -> None:
    write(hook(body) + TO_ALL)
    with running() as gateway:
        assert gateway.get("/").status == 500
        assert gateway.received == []


def test_it_cannot_say_who_a_client_is(write: Any) -> None:
    write(hook("request.headers[request.headers.get('x-set')] = 'other'"))
    gate = gate_with()
    gate.use(KeyAuth(keys={"alice": "alices-key"}))
    with TestGateway(gate, upstreams={SERVER: "ok"}, raise_errors=False) as gateway:
        for name, status in (("x-mine", 200), ("x-consumer", 500), ("X_Consumer", 500), ("cookie", 500)):
            assert gateway.get("/", {"x-api-key": "alices-key", "x-set": name}).status == status
        assert [one.headers["x-consumer"] for one in gateway.received] == ["alice"]


def test_calls_of_clients_that_left_before_their_turn_are_not_made(write: Any) -> None:
    write(hook("return Response(200)"))
    gate = gate_with()

    async def test() -> None:
        keeper = _keeper(gate)
        await keeper._turn.acquire()
        left = [asyncio.ensure_future(keeper.ask(b"{}")) for _ in range(50)]
        await asyncio.sleep(0)
        for one in left:
            one.cancel()
        await asyncio.wait(left)
        assert not keeper._calls
        keeper._turn.release()

    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        asyncio.run(test())
        assert gateway.get("/").status == 200


def test_a_process_that_starts_drop_by_drop_is_given_up(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.isolation.link.STARTED_WITHIN", 3)
    write(
        "import time, os\n" + TO_ALL + "to_all(b'\\0\\0\\1')\n"
        "for _ in range(600):\n    to_all(b'x')\n    time.sleep(0.1)\n"
    )
    assert "it does not start" in refused()


def test_a_body_is_told_if_asked_for_and_bounded(write: Any) -> None:
    write(
        "from headgate import *\nclass Own(Plugin):\n    async def request(self, request):\n"
        "        return Response(200, await request.body())\n"
    )
    with running(max_body_bytes=1000) as gateway:
        assert gateway.request("POST", "/", body="x" * 1000).text == "x" * 1000
        assert gateway.request("POST", "/", body="x" * 1001).status == 413
        for coding in ("gzip", "own"):
            assert gateway.request("POST", "/", {"content-encoding": coding}, body="x" * 99).status == 415
        bomb = gzip.compress(bytes(1_000_000))
        assert gateway.request("POST", "/", {"content-encoding": "gzip"}, body=bomb).status == 413
    with running() as gateway:
        assert gateway.request("POST", "/", body="x").status == 500


def test_it_chooses_only_upstreams_that_it_may(write: Any) -> None:
    write(hook("request.upstream = 'other'"))
    with running(upstreams=["other"]) as gateway:
        assert gateway.get("/").text == "other"
    with running() as gateway:
        assert gateway.get("/").status == 500


def test_its_own_modules_come_along(write: Any) -> None:
    write("from .inner import ANSWER", "foreign_package/__init__")
    write("import json\nfrom . import deeper\nANSWER = json.dumps(deeper.N)", "foreign_package/inner")
    write("N = 42\ntry:\n    import not_there\nexcept ImportError:\n    pass", "foreign_package/deeper")
    write("import foreign_package\n" + hook("return Response(200, foreign_package.ANSWER)"))
    with running() as gateway:
        assert gateway.get("/").text == "42"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("open('/etc/hostname')", "PermissionError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("x = (", "is not valid Python"),
        ("Own = 5", "is not a plugin"),
        ("import pydantic_core._x; from yaml import _yaml", "is compiled"),
        (
            "from headgate import *\nclass Own(Plugin):\n    def log(self, request, response): ...",
            "`log` hook",
        ),
        (
            "from headgate import *\nclass Own(Plugin):\n    def setup(self, context): context.shared('x')",
            "no `context.shared`",
        ),
        ("from headgate import *\nclass Own(Plugin):\n    def setup(self): raise SystemExit", "SystemExit"),
        ("import os; os._exit(0)", "its process ended"),
    ],
)
def test_what_cannot_be_isolated_is_refused_at_load(write: Any, text: str, said: str) -> None:
    write(text)
    assert said in refused()


def test_wrong_settings_are_refused_at_load(write: Any) -> None:
    write(PLUGIN)
    assert "extra" in refused(config={"extra": 1})
    assert "there is no module" in _refusal("nowhere:Own")
    for name in ("nowhere", "a b:C", "a:", "../x:Y"):
        assert "plugin" in _refusal(name)
    assert "is not a valid package" in refused(modules=["a.b"])


def test_the_file_says_isolate_and_no_worker_loads_the_code(write: Any, tmp_path: Path) -> None:
    write(PLUGIN)
    file = tmp_path / "gate.yaml"
    file.write_text(
        f"routes: [{{to: '{SERVER}'}}]\nplugins: [{{plugin: 'foreign_plugin:Own', isolate: true, config: {{}}}}]\n"
        "listeners: ':8080'\n"
    )
    with TestGateway(load(file), upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/").headers["x-count"] == "42"
    assert "foreign_plugin" not in sys.modules
    file.write_text(file.read_text().replace("config: {}", "config: {x: 1}"))
    with pytest.raises(ConfigError, match="cannot be isolated"):
        load(file)


def test_only_the_source_that_was_named_runs(write: Any) -> None:
    write(PLUGIN)
    (digest,) = {gate._parts.plugins[0].plugin._settings["digest"] for gate in (gate_with(), gate_with())}
    gate_with(digest=digest)
    write(PLUGIN + "# changed")
    assert "its source is another one, with the digest" in refused(digest=digest)


def test_a_process_of_another_source_does_not_take_the_place_of_one_that_ended(write: Any) -> None:
    write(hook("request.headers['x-a'] = 'b'"))
    gate = gate_with()
    with TestGateway(gate, upstreams={SERVER: "ok"}, raise_errors=False) as gateway:
        write(hook("request.headers['x-a'] = 'c'"))
        link = _keeper(gate)._link
        assert link is not None
        link.kill()
        assert gateway.get("/").status == 500


@pytest.mark.parametrize(
    "said",
    [
        {"changes": [["view", "id", "x", ""]]},
        {"changes": [["view", "status", 200, ""]]},
        {"changes": [["response", "set", "a", "b"]]},
        {"response": {"status": 99, "headers": [], "body": ""}},
        {"response": {"status": 200, "headers": [], "body": "?"}},
        {"response": {"status": 200, "headers": [["content-length", "5"]], "body": ""}},
        {"changes": 5},
        {"other": 1},
        {"changes": [["request", "set", "x-a\r\nx-b", "b"]]},
        {"changes": [["request", "set", "x-a", "b\x01"]]},
        {"changes": [["request", "add", "Transfer-Encoding", "chunked"]]},
        {"changes": [["request", "set", "x_user", "admin"]]},
        {"changes": [["request", "remove", "x-user", ""]]},
        {"changes": [["request", "other", "x-a", ""]]},
        {"changes": [["view", "target", "/a b", ""]]},
        {"changes": [["view", "target", "http://other/", ""]]},
        {"changes": [["view", "method", "GET /x HTTP/1.1\r\n", ""]]},
        {"changes": [["view", "host", "a\r\nb", ""]]},
    ],
)
def test_nothing_is_done_of_a_result_with_something_wrong(said: dict[str, Any]) -> None:
    with pytest.raises(NotValid):
        apply(outcome(said), object(), None, upstreams=frozenset(), kept={"x-user"})


def test_what_it_says_for_the_log_is_short() -> None:
    found = outcome({"error": "x" * 100_000, "lines": [["info", "y" * 100_000]]})
    assert found.error is not None and len(found.error) == len(found.lines[0][1]) == 1000


def test_an_empty_result_does_nothing() -> None:
    assert apply(Outcome(), object(), None, upstreams=frozenset()) is None


def _refusal(plugin: str) -> str:
    gate = Gateway()
    with pytest.raises(ConfigError) as error:
        gate.use(Isolated(plugin=plugin))
    return str(error.value)


def _keeper(gate: Gateway) -> Keeper:
    found: Keeper = gate._parts.plugins[0].plugin._keeper  # type: ignore[attr-defined]
    return found
