"""The plugins that several nodes run by one Redis, while its Sentinels replace a primary that has died."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RawClient, RawResponse, RunningGateway, Serve, eventually
from e2e.kit.redis_servers import Start, redis_servers, sentinels

HOUR = 3600


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with redis_servers(tmp_path) as start:
        yield start


def document(url: str) -> dict[str, Any]:
    store = {"redis": url, "redis_timeout": 5}
    away = {"when_away": "closed"}
    uses: dict[str, dict[str, Any]] = {
        "rate-limit": {"rate": "4/h", "batch": 0, **away},
        "quota": {"amount": 4, "period": "year", "by": "address", **away},
        "concurrency-limit": {"limit": 4, **away},
        "replay-protection": {"skew": HOUR},
        "waiting-room": {"seats": 1, "secret": "a secret of thirty-two characters", **away},
    }
    return {
        "routes": [{"path": "/", "respond": "in"}],
        "plugins": [
            {"plugin": name, "on": f"/{name}", "config": {**store, **config}} for name, config in uses.items()
        ],
    }


def asked(gateway: RunningGateway, path: str, *fields: tuple[str, str]) -> RawResponse:
    with RawClient(gateway.address) as client:
        return client.request("GET", path, fields)


def status(gateway: RunningGateway, path: str, *fields: tuple[str, str]) -> int:
    return asked(gateway, path, *fields).status


def once(nonce: str) -> tuple[tuple[str, str], ...]:
    return ("X-Nonce", nonce), ("X-Timestamp", str(int(time.time())))


def test_what_nodes_share_outlives_a_primary_that_dies(serve: Serve, start: Start, tmp_path: Path) -> None:
    primary = start()
    replica = start("--replicaof", "127.0.0.1", str(primary.port))
    watching = sentinels(start, primary, tmp_path, down_after_ms=2000)
    addresses = ",".join(f"127.0.0.1:{one.port}" for one in watching)
    first, second = (serve(document(f"redis+sentinel://{addresses}/main"), workers=1) for _ in range(2))
    nonces = once("first-nonce")
    for path in ("/rate-limit", "/quota"):
        assert [status(node, path) for node in (first, second)] == [200, 200]
    assert status(first, "/concurrency-limit") == 200
    assert (status(first, "/replay-protection", *nonces), status(second, "/replay-protection", *nonces)) == (
        200,
        403,
    )
    entered, waits = asked(first, "/waiting-room"), asked(second, "/waiting-room")
    assert (entered.status, waits.status) == (200, 503)
    tickets = [("Cookie", (one.get("set-cookie") or "").partition(";")[0]) for one in (entered, waits)]
    with primary.client() as client:
        assert client.execute_command("WAIT", 1, 20_000) == 1  # the replica has all of it

    primary.stop()
    # no store, no decision: as it was chosen
    assert status(first, "/quota") == 503
    with replica.client() as client:
        eventually(lambda: client.execute_command("ROLE")[0] == "master", "another is the primary", within=60)

    for node in (first, second):
        eventually(lambda one=node: status(one, "/concurrency-limit") == 200, "the store is back", within=60)
    first.wait_for_log("the store is available again")
    for node in (first, second):
        for path in ("/rate-limit", "/quota"):  # each asks for itself; who gets a 503 was not counted
            eventually(lambda one=node, path=path: status(one, path) == 200, f"{path} is decided", within=60)
    for path in ("/rate-limit", "/quota"):
        assert [status(node, path) for node in (first, second)] == [429, 429]
    eventually(lambda: status(second, "/replay-protection", *nonces) != 503, "the store is back", within=60)
    assert status(second, "/replay-protection", *nonces) == 403
    eventually(lambda: status(second, "/waiting-room", tickets[0]) == 200, "the seat is kept", within=60)
    assert status(second, "/waiting-room", tickets[1]) == 503
