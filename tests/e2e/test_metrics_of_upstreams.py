"""Metrics of queues, connections and pools of upstreams, and buckets of routes; right whatever becomes of processes."""

import os
import signal
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.client import format_request
from e2e.kit.gatekeeper import Gatekeeper
from e2e.kit.metrics import Scrape, scrape

TOOK = "headgate_request_duration_seconds"
WAITED, CONNECTED = "headgate_upstream_queue_seconds", "headgate_upstream_connect_seconds"


def until(gateway: RunningGateway, address: str, what: str, is_there: Any, **options: Any) -> Scrape:
    """A scrape that tells what is waited for."""

    def look() -> Scrape | None:
        found = scrape(gateway, address, **options)
        return found if is_there(found) else None

    found = eventually(look, what, within=20)
    assert found is not None
    return found


def queued(address: str, origin: Origin) -> dict[str, Any]:
    """A gateway whose only server takes one request at a time."""
    return {
        "metrics": address,
        "upstreams": {
            "app": {
                "servers": [{"address": origin.address, "max_connections": 1}],
                "queue": {"max_pending": 7},
                "keepalive": {"max_idle": 5},
            }
        },
        "routes": [{"to": "app", "name": "api"}],
    }


def test_queues_connections_and_what_bounds_them_are_told_by_upstream(serve: Serve, origin: Origin) -> None:
    origin.on("/hold", keeper := Gatekeeper())
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(queued(address, origin), workers=1)
    clients = [gateway.client() for _ in range(3)]
    for client in clients:
        client.send(format_request("GET", "/hold"))
    found = until(
        gateway,
        address,
        "two wait",
        lambda one: one.value("headgate_upstream_queued_requests", upstream="app") == 2,
    )
    assert found.value("headgate_upstream_queue_limit", upstream="app") == 7
    assert found.value("headgate_upstream_requests_limit", upstream="app") == 0
    assert found.value("headgate_upstream_server_requests_limit", server=origin.address) == 1
    assert found.value("headgate_upstream_idle_connections_limit", upstream="app") == 5
    keeper.let(3)
    for client in clients:
        assert client.response().status == 200
        client.close()
    found = until(
        gateway,
        address,
        "their waits",
        lambda one: one.value(f"{WAITED}_count", upstream="app") == 2,
        openmetrics=True,
    )
    assert found.value("headgate_upstream_queued_requests", upstream="app") == 0
    assert found.value(f"{WAITED}_sum", upstream="app") > 0
    assert found.value(f"{CONNECTED}_count", upstream="app") >= 1
    assert found.value(f"{CONNECTED}_bucket", upstream="app", le="+Inf") >= 1


@pytest.mark.parametrize("how", ["kill", "reload", "upgrade"])
def test_waits_and_connections_are_never_forgotten(serve: Serve, origin: Origin, how: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    origin.on("/hold", keeper := Gatekeeper())
    gateway = serve(queued(address, origin), workers=1)

    def two_at_once() -> None:
        clients = [gateway.client() for _ in range(2)]
        for client in clients:
            client.send(format_request("GET", "/hold"))
        until(
            gateway,
            address,
            "one waits",
            lambda one: one.value("headgate_upstream_queued_requests", upstream="app") == 1,
        )
        keeper.let(2)
        for client in clients:
            assert client.response().status == 200
            client.close()

    def seen(least: int) -> Scrape:
        return until(
            gateway, address, "the waits", lambda one: one.value(f"{WAITED}_count", upstream="app") >= least
        )

    two_at_once()
    before = seen(1)
    if how == "kill":
        killed = gateway.workers[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: killed not in gateway.workers and gateway.workers, "another worker serves")
    else:
        changed = queued(address, origin)
        changed["upstreams"]["app"]["keepalive"] = {"max_idle": 6}
        gateway.write(changed)
        assert gateway.ask(how)["ok"]
    if how == "upgrade":
        gateway.process.wait(timeout=20)
    for name in (f"{WAITED}_count", f"{CONNECTED}_count", f"{WAITED}_sum", f"{CONNECTED}_sum"):
        assert scrape(gateway, address).value(name) >= before.value(name) > 0, name
    two_at_once()
    after = seen(2)
    assert after.value(f"{WAITED}_count", upstream="app") == 2
    assert after.value("headgate_upstream_queued_requests", upstream="app") == 0
    if how == "upgrade":
        (supervisor,) = [int(one.stem) for one in (gateway.folder / "run").glob("*.sock")]
        os.kill(supervisor, signal.SIGTERM)


def test_a_route_may_have_buckets_of_its_own(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"

    def source(*buckets: str | float) -> dict[str, Any]:
        own = {"path": "/own", "respond": "ok", "name": "own", "metrics": {"buckets": list(buckets)}}
        return {"metrics": address, "routes": [own, {"respond": "ok", "name": "usual"}]}

    def bounds(found: Scrape, route: str) -> list[str]:
        return [one.labels["le"] for one in found.all(f"{TOOK}_bucket", route=route)]

    gateway = serve(source("1s", 5, "1m"), workers=2)
    for _ in range(3):
        assert gateway.get("/own").status == gateway.get("/usual").status == 200

    def counted(least: int, **options: Any) -> Scrape:
        return until(
            gateway,
            address,
            "its requests",
            lambda one: one.value(f"{TOOK}_count", route="own") >= least,
            **options,
        )

    for is_open in (False, True):
        found = counted(3, openmetrics=is_open)
        assert bounds(found, "own") == ["1.0", "5.0", "60.0", "+Inf"]
        assert len(bounds(found, "usual")) == 38
        assert found.value(f"{TOOK}_bucket", route="own", le="1.0") == 3
        assert found.text.count(f"# TYPE {TOOK} histogram") == 1
    # other buckets begin anew, in workers that go on; each set of labels is there once
    gateway.write(source("2s", "1m"))
    assert gateway.ask("reload")["ok"]
    gateway.get("/own")
    found = until(
        gateway,
        address,
        "the new buckets",
        lambda one: bounds(one, "own") == ["2.0", "60.0", "+Inf"],
        openmetrics=True,
    )
    assert [one.value for one in found.all(f"{TOOK}_count", route="own")] == [1]
    # and a worker that is killed takes none of them along
    killed = gateway.workers[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: killed not in gateway.workers and len(gateway.workers) == 2, "it is replaced")
    assert [one.value for one in scrape(gateway, address).all(f"{TOOK}_count", route="own")] == [1]
