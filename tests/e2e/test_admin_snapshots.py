"""What a change by the Admin API leaves as it was, and when it is there: in every worker, once it is acknowledged."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, Serve, TlsClient
from e2e.kit.admin import Admin
from e2e.kit.behaviours import reply
from e2e.kit.pki import Authority

CREATED, CALLS = 1000, 16
LIMITED = 5


@pytest.fixture
def other_origin() -> Iterator[Origin]:
    with Origin() as made:
        yield made


@pytest.mark.slow
def test_what_was_created_is_served_at_once_by_every_worker(serve: Serve, tmp_path: Path) -> None:
    description = {"admin": f"unix:{tmp_path}/admin.sock", "state_folder": str(tmp_path / "state")}
    gateway = serve({**description, "routes": [{"path": "/", "respond": "here"}]}, workers=2)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    clients = [gateway.client() for _ in range(CALLS)]
    assert all(client.get("/").status == 200 for client in clients)
    held = [worker["connections"] for worker in gateway.ask()["workers"]]
    assert len(held) == 2 and all(held), "both workers have connections of ours"
    for number in range(CREATED):
        path = f"/created/{number}"
        created = admin.put(f"/v1/routes/created-{number}", {"path": path, "respond": path})
        assert created.status == 201, created.body
        for client in clients if number % 50 == 0 else clients[number % 8 :: 8]:
            assert client.get(path).text == path
    for client in clients:
        client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_change_of_a_weight_leaves_pools_limits_and_tickets(
    serve: Serve, origin: Origin, tmp_path: Path, authority: Authority, version: ssl.TLSVersion
) -> None:
    files = authority.issue("gate.test").files
    source = f"""
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{files!r}]}})
gate.admin("unix:{tmp_path}/admin.sock")
gate.state_folder("{tmp_path}/state")
gate.route("/", respond="here")
"""
    gateway = serve(source, workers=1)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    limit = {"plugin": "rate-limit", "on": "/who", "config": {"rate": f"{LIMITED}/h"}}
    upstream = {"servers": [{"address": origin.address, "weight": 1}]}
    assert admin.put("/v1/upstreams/u", upstream).status == 201
    assert admin.put("/v1/routes/r", {"path": "/who", "to": "u"}).status == 201
    assert admin.put("/v1/plugins/limit", limit).status == 201
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    others = origin.connection_count  # of tests before
    with TlsClient(gateway.address, context, "gate.test") as first:
        assert first.get("/who").status == 200
        session = first.socket.session  # tickets of TLS 1.3 come after the handshake
    for number in range(2, LIMITED + 1):
        upstream["servers"][0]["weight"] = number
        changed = admin.put("/v1/upstreams/u", upstream)
        assert changed.status == 200, changed.body
        with TlsClient(gateway.address, context, "gate.test", session=session) as again:
            assert again.socket.session_reused
            assert again.get("/who").status == 200
            if number == LIMITED:
                assert again.get("/who").status == 429
    assert origin.connection_count == others + 1


def test_a_change_of_a_weight_leaves_circuits_and_sessions(
    serve: Serve, tmp_path: Path, origin: Origin, other_origin: Origin
) -> None:
    origin.on("/bad", reply(b"bad", status="503 Bad"))
    gateway = serve(
        {"admin": f"unix:{tmp_path}/admin.sock", "state_folder": str(tmp_path / "state")}, workers=1
    )
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    breaker = {"min_requests": 3, "open": "1h", "max_open": "1h"}
    spared: dict[str, Any] = {
        "servers": [{"address": origin.address, "weight": 1, "max_fails": 0}],
        "circuit_breaker": breaker,
    }
    sticky: dict[str, Any] = {
        "servers": [{"address": one.address, "weight": 1} for one in (origin, other_origin)],
        "balance": "sticky",
    }
    for name, upstream in (("spared", spared), ("sticky", sticky)):
        assert admin.put(f"/v1/upstreams/{name}", upstream).status == 201
    for path, name in (("/bad", "spared"), ("/good", "spared"), ("/who", "sticky")):
        assert admin.put(f"/v1/routes/{path[1:]}", {"path": path, "to": name}).status == 201
    while gateway.get("/good").status != 503:
        gateway.get("/bad")
    arrived = len(origin.at("/good")) + len(origin.at("/bad"))
    sessions = []
    for _ in range(6):
        begun = gateway.get("/who")
        cookie = (begun.get("set-cookie") or "").partition(";")[0]
        sessions.append((cookie, begun.json()["origin"]))
    assert {server for _, server in sessions} == {origin.address, other_origin.address}
    for weight in (2, 3, 50):
        for name, upstream in (("spared", spared), ("sticky", sticky)):
            upstream["servers"][0]["weight"] = weight
            assert admin.put(f"/v1/upstreams/{name}", upstream).status == 200
        assert gateway.get("/good").status == 503
        for cookie, server in sessions:
            again = gateway.get("/who", [("Cookie", cookie)])
            assert (again.json()["origin"], again.get("set-cookie")) == (server, None)
    assert len(origin.at("/good")) + len(origin.at("/bad")) == arrived
