"""Reloads: of code and of configuration, under load, and of what is broken."""

import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, eventually
from e2e.kit.behaviours import upgrade_echo
from e2e.kit.client import format_request

GATE = """
import asyncio
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.timeouts(drain="20s")
VERSION = "first"
api = gate.upstream("api", ORIGIN)

@gate.route("/version")
def version(request):
    return Response(200, VERSION)

@gate.route("/slow")
async def slow(request):
    await asyncio.sleep(1)
    return Response(200, VERSION)

gate.route("/", to=api)
"""


@pytest.fixture
def gateway(serve: Serve, origin: Origin) -> RunningGateway:
    return serve(GATE, names={"ORIGIN": origin.address})


def test_hup_loads_new_code(gateway: RunningGateway) -> None:
    assert gateway.get("/version").text == "first"
    gateway.write(GATE.replace('"first"', '"second"'))
    gateway.signal(signal.SIGHUP)
    eventually(lambda: gateway.get("/version").text == "second", "the new code responds", within=20)
    assert gateway.ask()["generation"] == 2


def test_request_in_flight_ends_with_the_old_code(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/slow"))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        gateway.write(GATE.replace('"first"', '"second"'))
        assert gateway.ask("reload")["ok"]
        assert client.response().text == "first"
        assert gateway.get("/version").text == "second"


def test_tunnel_survives_a_reload(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/tunnel", upgrade_echo)
    with gateway.client() as client:
        client.send(b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.response().status == 101
        assert gateway.ask("reload")["ok"]
        assert gateway.get("/version").status == 200
        client.send(b"still here")
        assert client.read_exactly(10) == b"still here"


def test_broken_code_keeps_the_old_running(gateway: RunningGateway) -> None:
    workers = gateway.workers
    gateway.write("this is no Python\n")
    response = gateway.ask("reload")
    assert not response["ok"]
    assert "gate.py:" in response["error"]
    assert gateway.get("/version").text == "first"
    assert gateway.workers == workers
    gateway.write(GATE.replace('"first"', '"third"'))
    assert gateway.ask("reload")["ok"]
    assert gateway.get("/version").text == "third"


def test_startup_hook_that_raises_keeps_the_old_running(gateway: RunningGateway) -> None:
    gateway.write(GATE + "\n@gate.startup\ndef no():\n    raise OSError('no database')\n")
    gateway.signal(signal.SIGHUP)
    gateway.wait_for_log("no database", within=20)
    assert gateway.get("/version").text == "first"


def test_reload_adds_and_removes_listeners(serve: Serve, tmp_path: Path) -> None:
    routes = {"routes": [{"respond": "x"}]}
    gateway = serve(routes)
    second = f"unix:{tmp_path}/second.sock"
    gateway.write({"listeners": [gateway.address, second], **routes})
    assert gateway.ask("reload")["ok"]
    with RawClient(second) as client:
        assert client.get("/").text == "x"
    gateway.write(routes)
    assert gateway.ask("reload")["ok"]
    eventually(lambda: not (tmp_path / "second.sock").exists(), "the listener is gone")
    assert gateway.get("/").text == "x"


BUSY = """
import time
from pathlib import Path
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.timeouts(drain="20s")

@gate.route("/busy")
def busy(request):
    while not Path(FREE).exists():
        time.sleep(0.01)
    return Response(200, "busy")

gate.route("/", respond="here")
"""


def test_clients_that_wait_in_the_listen_queue_are_served_over_reloads(serve: Serve, tmp_path: Path) -> None:
    free = tmp_path / "free"
    gateway = serve(BUSY, workers=1, names={"FREE": str(free)})
    for generation in (2, 3, 4):
        free.unlink(missing_ok=True)
        with contextlib.ExitStack() as stack:
            blocking, *waiting = [stack.enter_context(gateway.client(timeout=30)) for _ in range(21)]
            blocking.send(format_request("GET", "/busy"))
            eventually(lambda: gateway.counter("requests_active") >= 1, "Python code blocks the loop")
            queued = [stack.enter_context(gateway.client(timeout=30)) for _ in range(20)]
            for client in (*waiting, *queued):
                client.send(format_request("GET", "/"))
            gateway.write(BUSY + f"# change {generation}\n")
            gateway.signal(signal.SIGHUP)
            free.touch()
            assert [client.response().text for client in (*waiting, *queued)] == ["here"] * 40
            assert blocking.response().text == "busy"
        eventually(lambda at=generation: gateway.ask()["generation"] == at, "it is loaded", within=20)


class KeepAliveClients:
    """Clients that ask without a pause on kept connections, as browsers and load balancers do."""

    def __init__(self, gateway: RunningGateway, count: int) -> None:
        self.responses = 0
        self.failed: list[str] = []
        self._gateway = gateway
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(count)]

    def __enter__(self) -> "KeepAliveClients":
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.responses > 50, "the load is on")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=20)

    def _ask(self) -> None:
        client: RawClient | None = None
        while not self._stopping.is_set():
            is_fresh = client is None
            try:
                client = client or self._gateway.client(timeout=20)
                response = client.get("/load")
                if response.status != 200:
                    self.failed.append(f"status {response.status}")
                self.responses += 1
                if response.get("connection") == "close":
                    client.close()
                    client = None
            except OSError as error:
                self.failed.append(f"{error!r} on a {'fresh' if is_fresh else 'kept'} connection")
                client = None
        if client:
            client.close()


def test_ten_reloads_under_load_lose_no_request(serve: Serve, origin: Origin) -> None:
    gateway = serve(GATE, names={"ORIGIN": origin.address}, workers=2)
    with KeepAliveClients(gateway, 8) as clients:
        for number in range(10):
            gateway.write(GATE.replace('"first"', f'"version {number}"'))
            response = gateway.ask("reload")
            assert response["ok"], response
            before = clients.responses
            eventually(lambda seen=before: clients.responses > seen + 20, "requests go on")  # type: ignore[misc]
    assert clients.failed == []
    assert gateway.get("/version").text == "version 9"
    eventually(lambda: len(gateway.ask()["workers"]) == 2, "the old workers are gone", within=30)


def test_upgrade_under_load_loses_no_request(serve: Serve, origin: Origin, tmp_path: Path) -> None:
    file = tmp_path / "gate.pid"
    names = {"ORIGIN": origin.address}
    gateway = serve(GATE, names=names, workers=2, arguments=["--pid-file", str(file)])
    with KeepAliveClients(gateway, 8) as clients:
        gateway.signal(signal.SIGUSR2)
        assert gateway.process.wait(timeout=40) == 0
        before = clients.responses
        eventually(lambda: clients.responses > before + 50, "requests go on")
    assert clients.failed == []
    os.kill(int(file.read_text()), signal.SIGTERM)


def test_reload_option_watches_the_files(serve: Serve, origin: Origin) -> None:
    gateway = serve(GATE, names={"ORIGIN": origin.address}, arguments=["--reload"])
    assert gateway.get("/version").text == "first"

    def changes() -> bool:
        # Watching may begin after the first response, so the change is made again until it is seen.
        gateway.write(GATE.replace('"first"', '"watched"'))
        return gateway.get("/version").text == "watched"

    eventually(changes, "the change is seen", within=20)
    (gateway.folder / "helper.py").write_text("HELP = 1\n")
    generation = gateway.ask()["generation"]

    def touches() -> bool:
        (gateway.folder / "helper.py").write_text("HELP = 2\n")
        return bool(gateway.ask()["generation"] > generation)

    eventually(touches, "a change of another module is seen", within=20)
