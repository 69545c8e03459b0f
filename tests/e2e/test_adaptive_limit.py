"""A limit of concurrent requests that is found by how long they take."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.client import format_request
from e2e.kit.metrics import scrape


class Busy:
    """A server that does so many requests at a time; others queue in it."""

    def __init__(self, at_once: int, took_s: float) -> None:
        self.took_s = took_s
        self._places = threading.Semaphore(at_once)

    def __call__(self, call: Call) -> None:
        with self._places:
            time.sleep(self.took_s)  # the work of a server
        call.respond(b"done")


def adapting(serve: Serve, origin: Origin, metrics: str, **limit: Any) -> RunningGateway:
    upstream = {"servers": f"{origin.address} max_fails=0", "adaptive_limit": limit}
    config = {"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "metrics": metrics}
    return serve({**config, "timeouts": {"queue": "60s"}}, workers=1)


@contextmanager
def clients(gateway: RunningGateway, count: int) -> Iterator[None]:
    """So many clients that ask again and again."""
    is_over = threading.Event()

    def ask() -> None:
        with gateway.client() as client:
            while not is_over.is_set():
                assert client.get("/work").status == 200

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def limit_of(gateway: RunningGateway, metrics: str) -> float:
    return scrape(gateway, metrics).value("headgate_upstream_adaptive_limit", upstream="u")


def test_limit_falls_when_servers_become_slow_and_rises_again(serve: Serve, origin: Origin) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    origin.on("/work", busy := Busy(at_once=40, took_s=0.02))
    gateway = adapting(serve, origin, metrics, min=2, max=60, initial=10)
    with clients(gateway, 24):
        eventually(lambda: limit_of(gateway, metrics) >= 14, "it grows while requests are quick", within=30)
        busy.took_s = 0.2
        eventually(lambda: 0 < limit_of(gateway, metrics) <= 9, "it falls", within=60)
        busy.took_s = 0.01
        eventually(lambda: limit_of(gateway, metrics) >= 14, "it rises again", within=60)


def test_limit_stays_within_its_bounds(serve: Serve, origin: Origin) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    origin.on("/work", busy := Busy(at_once=50, took_s=0.01))
    gateway = adapting(serve, origin, metrics, min=4, max=6, initial=5)
    with clients(gateway, 12):
        eventually(lambda: limit_of(gateway, metrics) == 6, "it grows as far as it may", within=30)
        busy.took_s = 0.2
        eventually(lambda: limit_of(gateway, metrics) == 4, "it falls as far as it may", within=60)


def test_requests_beyond_the_limit_wait(serve: Serve, origin: Origin) -> None:
    gate = threading.Event()

    def waits(call: Call) -> None:
        assert gate.wait(20)
        call.respond(b"done")

    origin.on("/held", waits)
    gateway = adapting(serve, origin, f"127.0.0.1:{free_port()}", min=1, max=9, initial=3)
    waiting = [gateway.client() for _ in range(5)]
    for client in waiting:
        client.send(format_request("GET", "/held"))
    eventually(lambda: gateway.counter("queued_active") == 2, "two wait")
    eventually(lambda: len(origin.at("/held")) == 3, "three are served")
    gate.set()
    for client in waiting:
        assert client.response().status == 200
        client.close()
