"""The interpreter is shared: other threads of a worker make progress under load, and the load beside them."""

import threading

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.client import format_request

GATE = """
import asyncio, hashlib, threading
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
api = gate.upstream("api", ORIGIN)
state = {"counted": 0, "computes": False}

def compute():
    while state["computes"]:
        state["counted"] += 1
        for _ in range(1000):
            pass

@gate.route("/compute/{switch}")
def switch(request):
    state["computes"] = request.params["switch"] == "on"
    if state["computes"]:
        threading.Thread(target=compute, daemon=True).start()
    return Response(200, "switched")

@gate.route("/counted")
def counted(request):
    return Response(200, str(state["counted"]))

@gate.route("/hash")
async def hashed(request):
    def work():
        digest = b"start"
        for _ in range(20000):
            digest = hashlib.sha256(digest).digest()
        return digest.hex()
    return Response(200, await asyncio.to_thread(work))

gate.route("/", to=api)
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


class Load:
    """Clients that ask without a pause, in threads, until told to stop."""

    def __init__(self, gateway: RunningGateway, clients: int) -> None:
        self.responses = 0
        self._gateway = gateway
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.responses > 100, "the load is on", within=20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=20)

    def _ask(self) -> None:
        batch = format_request("GET", "/counted") * 20
        with self._gateway.client(timeout=30) as client:
            while not self._stopping.is_set():
                client.send(batch)
                for _ in range(20):
                    assert client.response().status == 200
                    self.responses += 1


@pytest.fixture
def computing(gateway: RunningGateway) -> object:
    """A thread of the worker that computes all the time."""
    assert gateway.get("/compute/on").status == 200
    yield None
    gateway.get("/compute/off")


def test_computing_thread_progresses_under_load(gateway: RunningGateway, computing: object) -> None:
    with Load(gateway, clients=4):
        with gateway.client(timeout=30) as client:
            first = int(client.get("/counted").text)
            eventually(
                lambda: int(client.get("/counted").text) > first + 100, "the thread counts on", within=20
            )


def test_requests_progress_beside_a_computing_thread(gateway: RunningGateway, computing: object) -> None:
    with gateway.client(timeout=30) as client:
        for _ in range(50):
            assert client.get("/plain").status == 200


def test_work_in_threads_ends_under_load(gateway: RunningGateway) -> None:
    with Load(gateway, clients=4):
        assert len(gateway.get("/hash", timeout=30).text) == 64
