"""A worker that a hook holds for ever: it is seen, its clients go elsewhere, and it is replaced."""

from e2e.kit import RawClient, RunningGateway, Serve, eventually
from e2e.kit.client import format_request

GATE = """
import os
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.watchdog(kill=KILL)

@gate.route("/spin")
def spin(request):
    while True:
        pass

@gate.route("/pid")
def pid(request):
    return Response(200, str(os.getpid()))
"""


def spin(gateway: RunningGateway) -> RawClient:
    client = gateway.client()
    client.send(format_request("GET", "/spin"))
    return client


def blocked(gateway: RunningGateway) -> list[int]:
    return [worker["pid"] for worker in gateway.ask()["workers"] if worker["state"] == "blocked"]


def test_a_blocked_worker_is_told_with_its_stack_and_replaced(serve: Serve) -> None:
    gateway = serve(GATE, names={"KILL": "6s"})
    (old,) = gateway.workers
    with spin(gateway) as client:
        gateway.wait_for_log(r"worker is blocked: it has not responded for 2 s", within=20)
        assert blocked(gateway) == [old]
        assert client.read_to_end() == b"", "its connection is cut when it is killed"
    gateway.wait_for_log(rf"worker exited: blocked for \d s, so it was killed[^\n]* worker={old} ", within=20)
    told = gateway.log()
    assert "Stack (innermost first):" in told and " in spin\n" in told
    eventually(
        lambda: len(gateway.workers) == 1 and gateway.workers != [old], "another one serves", within=20
    )
    assert gateway.get("/pid").text == str(gateway.workers[0])


def test_siblings_accept_what_a_blocked_worker_does_not(serve: Serve) -> None:
    gateway = serve(GATE, workers=2, names={"KILL": None})
    with spin(gateway):
        gateway.wait_for_log("another worker is blocked; accepting in its place", within=20)
        (stuck,) = blocked(gateway)
        # by the hash of their ports, half of these are given to the blocked worker's socket
        assert {gateway.get("/pid").text for _ in range(40)} == {str(pid) for pid in gateway.workers} - {
            str(stuck)
        }
        assert f"{stuck}  blocked" in gateway.cli("status").stdout
        assert blocked(gateway) == [stuck], "null never kills"


def test_a_worker_that_responds_again_is_not_killed(serve: Serve) -> None:
    gate = GATE.replace("while True:\n        pass", "import time; time.sleep(3.5)")
    gateway = serve(gate, names={"KILL": "30s"})
    before = gateway.workers
    with spin(gateway):
        gateway.wait_for_log("worker is blocked", within=20)
        gateway.wait_for_log("worker responds again", within=20)
        assert gateway.workers == before
