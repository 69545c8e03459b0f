"""A StatsD server gets the numbers that scrapers read: what was counted since the last time, over a real socket."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.log_targets import DatagramServer
from e2e.kit.metrics import scrape

REQUESTS = "headgate_requests_total"


@pytest.fixture
def server() -> Iterator[DatagramServer]:
    with DatagramServer() as made:
        yield made


def counting(serve: Serve, server: DatagramServer, workers: int = 1, **more: Any) -> RunningGateway:
    statsd = {"to": f"127.0.0.1:{server.port}", "interval": "100ms", **more}
    routes = [{"path": "/ok", "respond": "ok", "name": "api"}]
    return serve({"routes": routes, "metrics": {"statsd": statsd}}, workers=workers)


def lines(server: DatagramServer) -> list[str]:
    return [line for datagram in list(server.datagrams) for line in datagram.decode().split("\n")]


def summed(server: DatagramServer, start: str) -> float:
    """What a server of StatsD comes to by adding up."""
    return sum(float(re.findall(r":([^|]+)\|c", line)[0]) for line in lines(server) if line.startswith(start))


def test_counters_of_all_workers_come_as_differences_and_the_last_ones_with_the_end(
    serve: Serve, server: DatagramServer
) -> None:
    gateway = counting(serve, server, workers=2)
    for _ in range(20):
        gateway.get("/ok")
    api = ("route:api", "status:2xx")
    wanted = f"{REQUESTS}:"

    def counted() -> float:
        found = [line for line in lines(server) if line.startswith(wanted) and all(t in line for t in api)]
        return sum(float(re.findall(r":([^|]+)\|c", line)[0]) for line in found)

    eventually(lambda: counted() == 20, lambda: f"twenty requests: {counted()}")
    ready = "headgate_workers:2|g|#state:ready"
    eventually(lambda: ready in lines(server), "the state of the workers")
    gateway.get("/ok")
    gateway.stop()
    assert counted() == 21
    assert any(
        re.fullmatch(r"headgate_request_duration_seconds:[0-9.]+\|h(\|@[0-9.]+)?\|#route:api", line)
        for line in lines(server)
    )
    assert all(len(one) <= 1432 for one in server.datagrams)


def test_without_tags_labels_are_parts_of_the_names(serve: Serve, server: DatagramServer) -> None:
    gateway = counting(serve, server, tags=False, prefix="site1.")
    gateway.get("/ok")
    eventually(
        lambda: summed(server, "site1.headgate_requests_total.api.none.GET.2xx:") == 1,
        lambda: f"one request: {[line for line in lines(server) if 'requests_total' in line]}",
    )
    assert not [line for line in lines(server) if "#" in line or not line.startswith("site1.headgate_")]
    assert any(
        line.startswith("site1.headgate_request_duration.api:") and "|ms" in line for line in lines(server)
    )


def test_a_server_that_is_not_there_harms_nobody_and_one_that_comes_gets_what_follows(serve: Serve) -> None:
    port, address = free_port(), f"127.0.0.1:{free_port()}"
    statsd = {"to": f"localhost:{port}", "interval": "100ms"}
    source = {"routes": [{"respond": "ok", "name": "api"}], "metrics": {"statsd": statsd, "listen": address}}
    gateway = serve(source, workers=1)
    assert gateway.get("/").status == 200
    sent = "headgate_statsd_datagrams_total"
    eventually(
        lambda: scrape(gateway, address).value(sent, outcome="sent") > 2, "datagrams that nobody has read"
    )


@pytest.mark.parametrize("how", ["reload", "upgrade"])
def test_nothing_is_counted_twice_or_lost_over_a_new_version(
    serve: Serve, server: DatagramServer, how: str
) -> None:
    gateway = counting(serve, server)
    for _ in range(5):
        gateway.get("/ok")
    statsd = {"to": f"127.0.0.1:{server.port}", "interval": "150ms"}
    routes = [{"path": "/ok", "respond": "ok", "name": "api"}, {"path": "/n", "respond": "n", "name": "n"}]
    gateway.write({"metrics": {"statsd": statsd}, "routes": routes})
    assert gateway.ask(how)["ok"]
    if how == "upgrade":
        gateway.process.wait(timeout=20)
    for _ in range(5):
        gateway.get("/ok")

    def counted() -> float:
        found = [line for line in lines(server) if line.startswith(f"{REQUESTS}:") and "route:api" in line]
        return sum(float(re.findall(r":([^|]+)\|c", line)[0]) for line in found)

    eventually(lambda: counted() == 10, lambda: f"ten requests: {counted()}")
    if how == "upgrade":
        (supervisor,) = [int(one.stem) for one in (gateway.folder / "run").glob("*.sock")]
        os.kill(supervisor, signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{supervisor}").exists(), "the successor has ended", within=20)
    else:
        gateway.stop()
    assert counted() == 10
