"""What a change by the Admin API leaves as it was, and when it is there: in every worker, once it is acknowledged."""

import ssl
from pathlib import Path

import pytest
from e2e.kit import Origin, Serve, TlsClient
from e2e.kit.admin import Admin
from e2e.kit.pki import Authority

CREATED, CALLS = 1000, 16
LIMITED = 5


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


def test_a_change_of_a_weight_leaves_pools_limits_and_tickets(
    serve: Serve, origin: Origin, tmp_path: Path, authority: Authority
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
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with TlsClient(gateway.address, context, "gate.test") as first:
        session = first.socket.session
        assert first.get("/who").status == 200
    for number in range(2, LIMITED + 1):
        upstream["servers"][0]["weight"] = number
        changed = admin.put("/v1/upstreams/u", upstream)
        assert changed.status == 200, changed.body
        with TlsClient(gateway.address, context, "gate.test", session=session) as again:
            assert again.socket.session_reused
            assert again.get("/who").status == 200
            if number == LIMITED:
                assert again.get("/who").status == 429
    assert origin.connection_count == 1
