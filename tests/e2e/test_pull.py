"""Pull dispatch: workers connect, say that they are idle, and are handed one request."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from e2e.kit import RawClient, RawResponse, RunningGateway, Serve, eventually, free_port
from e2e.kit.metrics import scrape
from e2e.kit.pki import Authority
from e2e.kit.pull import TOKEN, PullWorker, figures, jobs


def gated(serve: Serve, *, workers: int = 1, listen: str | None = None, **more: Any) -> RunningGateway:
    """A gateway with one queue."""
    pull = {"tokens": TOKEN, "status_path": "/_queue", **more.pop("pull", {})}
    whole = {
        "upstreams": {"jobs": {"balance": "pull", "pull": pull, **more.pop("upstream", {})}},
        "routes": [{"path": "/*", "to": "jobs"}],
        **more,
    }
    gateway = serve(whole, workers=workers, listen=listen)
    eventually(lambda: gateway.get("/_queue").status == 200, "the dispatcher listens")
    return gateway


class Asked:
    """A request in a thread."""

    def __init__(self, ask: Callable[[], RawResponse]) -> None:
        self._response: RawResponse | None = None

        def run() -> None:
            self._response = ask()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def response(self) -> RawResponse:
        """Waits for it."""
        self._thread.join(30)
        assert self._response is not None
        return self._response


def test_requests_of_all_workers_of_the_gateway_go_into_one_queue(serve: Serve) -> None:
    gateway = gated(serve, workers=2)
    asked = [Asked(lambda: gateway.get("/early")) for _ in range(4)]
    eventually(lambda: figures(gateway)["waiting"] == 4, "all wait")
    with PullWorker(gateway), PullWorker(gateway):
        assert {one.response().status for one in asked} == {200}
        body = os.urandom(1_000_000)
        assert gateway.post("/body", body).body == body
        eventually(lambda: figures(gateway)["idle"] == 2, "both are idle")
        assert figures(gateway)["requests"] == 0
    assert sorted(jobs(gateway)) == sorted(["GET /early 1"] * 4 + ["POST /body 1"])


def test_worker_that_is_killed_loses_no_request_that_may_run_twice(serve: Serve) -> None:
    gateway = gated(serve)
    with PullWorker(gateway) as killed:
        asked = Asked(lambda: gateway.get("/?wait=go"))
        eventually(lambda: jobs(gateway) == ["GET /?wait=go 1"], "it has begun")
        waiting = Asked(lambda: gateway.post("/waiting", b"x"))
        eventually(lambda: figures(gateway)["waiting"] == 1, "the other waits")
        (gateway.folder / "go").touch()
        killed.signal(signal.SIGSTOP)
        killed.signal(signal.SIGKILL)
        with PullWorker(gateway):
            assert asked.response().status == 200
            assert waiting.response().status == 200
    assert jobs(gateway).count("POST /waiting 1") == 1


def test_request_that_may_not_run_twice_fails_with_its_worker(serve: Serve) -> None:
    gateway = gated(serve, access_log={"format": "json"})
    with PullWorker(gateway) as killed, PullWorker(gateway):
        asked = Asked(lambda: gateway.post("/?wait=never", b"x"))
        eventually(lambda: len(jobs(gateway)) == 1, "one has begun")
        killed_pid = (gateway.folder / "jobs.log").read_text().split()[0]
        os.kill(int(killed_pid), signal.SIGKILL)
        assert asked.response().status == 502
        assert gateway.get("/").status == 200
        assert jobs(gateway).count("POST /?wait=never 1") == 1
        assert killed is not None


def test_worker_that_has_fallen_silent_is_lost(serve: Serve) -> None:
    gateway = gated(serve, pull={"ping": 0.5})
    with PullWorker(gateway) as silent:
        silent.signal(signal.SIGSTOP)
        eventually(lambda: figures(gateway)["workers"] == 0, "it is lost")
        asked = Asked(lambda: gateway.get("/"))
        with PullWorker(gateway):
            assert asked.response().status == 200


def test_client_that_leaves_frees_its_place(serve: Serve) -> None:
    gateway = gated(serve)
    with RawClient(gateway.address) as client:
        client.send(b"GET /left HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        eventually(lambda: figures(gateway)["waiting"] == 1, "it waits")
    eventually(lambda: figures(gateway)["waiting"] == 0, "it is gone")
    with PullWorker(gateway):
        assert gateway.get("/stays").status == 200
    assert jobs(gateway) == ["GET /stays 1"]


def test_full_queue_and_long_waits_are_refused_and_counted(serve: Serve) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    gateway = gated(serve, pull={"queue": 1, "wait": 1}, metrics={"listen": metrics})
    waiting = Asked(lambda: gateway.get("/"))
    eventually(lambda: figures(gateway)["waiting"] == 1, "one waits")
    refused = gateway.get("/")
    assert refused.status == 503
    assert int(refused.get("retry-after") or 0) >= 1
    assert waiting.response().status == 503

    def counted(failure: str) -> float:
        return scrape(gateway, metrics).value(
            "headgate_pull_failures_total", upstream="jobs", failure=failure
        )

    assert counted("pull_queue_full") == counted("pull_wait_timeout") == 1


def test_failures_have_names_of_their_own_for_hooks_and_the_access_log(serve: Serve) -> None:
    source = f"""
from headgate import Failure, Gateway, Request, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(format="json")
jobs = gate.upstream(
    "jobs", balance="pull", pull={{"tokens": {TOKEN!r}, "queue": 0, "status_path": "/_queue"}}
)
gate.route("/*", to=jobs)
told = gate.route("/told/*", to=jobs)


@told.error
def tell(request: Request, error: Failure) -> Response:
    return Response.json({{"kind": error.kind, "source": error.source}}, error.status)
"""
    gateway = serve(source)
    eventually(lambda: gateway.get("/_queue").status == 200, "the dispatcher listens")
    refused = gateway.get("/plain", [("accept", "application/json")])
    assert refused.status == 503
    assert int(refused.get("retry-after") or 0) >= 1
    assert refused.get("headgate-failure") is None
    assert b"too many requests are waiting" in refused.body
    assert gateway.access_record(target="/plain")["error"] == "pull_queue_full"
    assert gateway.get("/told/x").json() == {"kind": "pull_queue_full", "source": "gateway"}
    with PullWorker(gateway):
        killed = Asked(lambda: gateway.post("/told/x?wait=never", b"x"))
        eventually(lambda: len(jobs(gateway)) == 1, "it has begun")
        os.kill(int((gateway.folder / "jobs.log").read_text().split()[0]), signal.SIGKILL)
        response = killed.response()
    assert (response.status, response.json()["kind"]) == (502, "pull_worker_lost")


def test_worker_that_takes_too_long_is_a_504(serve: Serve) -> None:
    gateway = gated(serve, upstream={"timeouts": {"upstream_head": "200ms"}})
    with PullWorker(gateway):
        assert gateway.get("/?wait=never").status == 504


@pytest.mark.parametrize("token", ["wrong" * 5, "x"])
def test_worker_with_a_wrong_token_ends_and_says_why(serve: Serve, token: str) -> None:
    gateway = gated(serve)
    worker = PullWorker(gateway, token=token)
    assert worker.process.wait(timeout=40) == 1
    assert "does not accept the token" in worker.log()
    assert figures(gateway)["workers"] == 0


def test_workers_connect_over_tls_and_a_unix_socket(serve: Serve, authority: Authority) -> None:
    port, plain = free_port(), f"127.0.0.1:{free_port()}"
    path = serve.parent / "gate.sock"
    tls = {"address": f"127.0.0.1:{port}", "tls": {"certificates": authority.issue("localhost").files}}
    gateway = gated(serve, listeners=[plain, tls, f"unix:{path}"], listen=plain)
    for place, more in (
        (f"https://localhost:{port}/_workers", ("--ca", str(authority.ca))),
        (f"unix:{path}:/_workers", ()),
    ):
        with PullWorker(gateway, *more, to=place):
            assert gateway.get("/").status == 200


def test_reload_with_code_moves_workers_and_loses_nothing(serve: Serve) -> None:
    source = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
jobs = gate.upstream("jobs", balance="pull", pull={"tokens": TOKEN, "status_path": "/_queue"})
gate.route("/*", to=jobs)
"""
    gateway = serve(f"TOKEN = {TOKEN!r}\n{source}")
    eventually(lambda: gateway.get("/_queue").status == 200, "the dispatcher listens")
    with PullWorker(gateway) as worker:
        asked = Asked(lambda: gateway.get("/?wait=go"))
        eventually(lambda: len(jobs(gateway)) == 1, "it has begun")
        dispatcher = gateway.ask()["dispatcher"]
        gateway.write(f"TOKEN = {TOKEN!r}\n{source}\nVERSION = 2\n")
        assert gateway.cli("reload").returncode == 0
        (gateway.folder / "go").touch()
        assert asked.response().status == 200
        worker.wait_connected(2)
        assert gateway.get("/after").status == 200
        assert gateway.ask()["dispatcher"] == dispatcher


def test_stop_serves_what_waits_and_workers_do_not_hold_it_up(serve: Serve) -> None:
    gateway = gated(serve)
    with PullWorker(gateway):
        first = Asked(lambda: gateway.get("/?wait=go"))
        eventually(lambda: len(jobs(gateway)) == 1, "it has begun")
        second = Asked(lambda: gateway.get("/second"))
        eventually(lambda: figures(gateway)["waiting"] == 1, "the other waits")
        gateway.signal(signal.SIGQUIT)
        (gateway.folder / "go").touch()
        assert (first.response().status, second.response().status) == (200, 200)
        gateway.process.wait(timeout=20)


def test_dispatcher_that_dies_is_replaced_and_workers_connect_again(serve: Serve) -> None:
    gateway = gated(serve)
    with PullWorker(gateway) as worker:
        os.kill(gateway.ask()["dispatcher"], signal.SIGKILL)
        worker.wait_connected(2)
        eventually(lambda: gateway.get("/").status == 200, "it serves again")
