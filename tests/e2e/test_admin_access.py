"""Who may come in to the Admin API: tokens and roles, names and pages, guesses."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, TlsClient, free_port
from e2e.kit.admin import Admin
from e2e.kit.pki import Authority

from headgate.admin.openapi import openapi

ADMIN, OPERATE, READ = (f"{role}-{'0123456789abcdef' * 2}" for role in ("admin", "operate", "read"))
TOKENS = [
    {"token": ADMIN, "name": "root"},
    {"token": f"sha256:{hashlib.sha256(OPERATE.encode()).hexdigest()}", "role": "operate"},
    {"token": "env:READ_TOKEN", "role": "read"},
]
ROUTE = {"path": "/x", "respond": "x"}
CERTIFICATE = {"certificate": "/nowhere.pem"}


def described(folder: Path, port: int, **more: Any) -> dict[str, Any]:
    return {
        "admin": {
            "listen": f"127.0.0.1:{port}",
            "tokens": TOKENS,
            "hosts": "admin.example",
            "breakpoints": True,
            **more,
        },
        "state_folder": str(folder / "state"),
        "routes": [{"path": "/", "respond": "here"}],
    }


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def gateway(serve: Serve, tmp_path: Path, port: int) -> RunningGateway:
    return serve(described(tmp_path, port), environment={"READ_TOKEN": READ})


def test_roles_may_do_what_they_say_and_nothing_else(gateway: RunningGateway, port: int) -> None:
    wanted = {ADMIN: (200, 201, 201), OPERATE: (200, 200, 403), READ: (200, 403, 403)}
    for token, (read, operate, admin) in wanted.items():
        api = Admin(f"127.0.0.1:{port}", token)
        assert api.get("/v1/routes").status == read
        assert api.put("/v1/routes/r", ROUTE).status == operate
        assert api.put("/v1/certificates/c", CERTIFICATE).status == admin
    assert "created routes/r by=root" in gateway.log()
    api = Admin(f"127.0.0.1:{port}", OPERATE)
    assert api.put("/v1/routes/r", {**ROUTE, "respond": "y" * 5000}).status == 200
    assert api.delete("/v1/routes/r").status == 204
    lines = [line for line in gateway.log().splitlines() if " routes/r by=" in line]
    assert "keys=respond" in lines[-2] and '"respond\\":\\"x\\"' in lines[-2] and "y..." in lines[-2]
    assert all('by="token 2"' in line for line in lines[-2:]) and "/x" in lines[-1] and len(lines[-1]) < 4500
    for path in (
        "/v1/routes/r/",
        "//v1/routes/r",
        "/v1/routes%2Fr",
        "/V1/routes/r",
        "/v1/routes/r;a=b",
        "/v1/../v1/routes/r",
    ):
        refused = Admin(f"127.0.0.1:{port}", READ).put(path, ROUTE)
        assert refused.status in (400, 403, 404, 422), (path, refused.status)


def test_every_operation_of_the_document_asks_for_its_role(gateway: RunningGateway, port: int) -> None:
    sensitive = ("consumers", "consumer-groups", "certificates")
    for path, item in openapi()["paths"].items():
        for method in item.keys() - {"parameters"}:
            is_sensitive = any(f"/v1/{kind}/" in path for kind in sensitive)
            needs = 2 if is_sensitive else 1
            is_read = method == "get" or path == "/v1/routes/-/test"
            if is_read and path != "/v1/requests":  # where clients' own data is
                needs = 0
            if path.startswith("/v1/breakpoints"):  # which run code
                needs = 2
            if path == "/v1/compact":  # which cannot be undone
                needs = 2
            for has, token in enumerate((READ, OPERATE, ADMIN)):
                # a body of a type that nobody takes: what is allowed gets no further
                target = path.replace("{name}", "x").replace("{number}", "1")
                asked = Admin(f"127.0.0.1:{port}", token).ask(
                    method.upper(), target, b"x", {"Content-Type": "text/plain"}
                )
                assert (asked.status == 403) == (has < needs), (method, path, token, asked.status)
                assert asked.status != 401


@pytest.mark.parametrize(
    "token", [None, "", "wrong-token-wrong-token", ADMIN[:-1], f"{ADMIN}0", READ.upper()]
)
def test_nobody_else_comes_in(gateway: RunningGateway, port: int, token: str | None) -> None:
    api = Admin(f"127.0.0.1:{port}", token)
    for target in ("/v1/routes", "/v1/routes/r", "/nothing", "/openapi.json"):
        refused = api.get(target)
        assert refused.status == 401, target
        assert (refused.get("WWW-Authenticate") or "").startswith("Bearer ")
    assert api.put("/v1/routes/r", ROUTE).status == 401


def test_guessing_is_slowed_down(gateway: RunningGateway, port: int) -> None:
    wrong = Admin(f"127.0.0.1:{port}", "wrong-token-wrong-token")
    statuses = [wrong.get("/v1/routes").status for _ in range(20)]
    assert statuses[:10] == [401] * 10 and 429 in statuses[10:]
    late = wrong.get("/v1/routes")
    assert late.status == 429 and int(late.get("Retry-After") or 0) >= 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "ADMIN.example"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_pages_of_others_change_nothing(
    gateway: RunningGateway, port: int, fields: dict[str, str], status: int
) -> None:
    api = Admin(f"127.0.0.1:{port}", ADMIN)
    api.put("/v1/routes/r", ROUTE)
    response = api.ask("PUT", "/v1/routes/r", ROUTE, fields)
    assert response.status == status, response.body
    assert response.get("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize(
    "target", ["/v1/routes", "/v1/status", "/v1/config", "/openapi.json", "/nothing", "/"]
)
def test_names_that_were_made_up_read_nothing(gateway: RunningGateway, port: int, target: str) -> None:
    assert Admin(f"127.0.0.1:{port}", ADMIN).get(target, Host="evil.example").status == 421


@pytest.mark.parametrize(
    "name", ["X-Real-IP", "X-Forwarded-For", "Forwarded", "X-Client-IP", "True-Client-IP"]
)
def test_no_address_is_trusted_and_none_that_a_field_says(
    gateway: RunningGateway, port: int, name: str
) -> None:
    value = "for=127.0.0.1" if name == "Forwarded" else "127.0.0.1"
    for target in ("/v1/routes", "/v1/config"):
        assert Admin(f"127.0.0.1:{port}").get(target, **{name: value}).status == 401
    assert Admin(f"127.0.0.1:{port}").put("/v1/routes/r", ROUTE).status == 401


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("localhost", "is the Admin API of this gateway"),
        ("127.0.0.1", "is the Admin API of this gateway"),
        ("0.0.0.0", "is the Admin API of this gateway"),
        ("[::ffff:127.0.0.1]", "is the Admin API of this gateway"),
        ("127.1", "is not a server's address"),
        ("2130706433", "is not a server's address"),
    ],
)
def test_no_resource_leads_clients_to_the_api(
    gateway: RunningGateway, port: int, host: str, told: str
) -> None:
    api = Admin(f"127.0.0.1:{port}", ADMIN)
    for path, resource in (
        ("/v1/upstreams/own", {"servers": [f"{host}:{port}"]}),
        ("/v1/routes/own", {"path": "/v1/*", "to": f"{host}:{port}"}),
    ):
        refused = api.put(path, resource)
        assert refused.status == 422 and told in refused.text, refused.text
    assert gateway.get("/v1/routes").text == "here"


def test_socket_is_its_owners_alone(serve: Serve, tmp_path: Path) -> None:
    serve(
        {
            "admin": f"unix:{tmp_path}/admin.sock",
            "state_folder": str(tmp_path / "state"),
            "routes": [{"path": "/", "respond": "here"}],
        }
    )
    assert stat.S_IMODE(os.stat(tmp_path / "admin.sock").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "state").st_mode) == 0o700
    assert Admin(f"unix:{tmp_path}/admin.sock").get("/v1/routes", Host="anything").status == 200


def test_tls_guards_it_as_other_listeners(
    serve: Serve, tmp_path: Path, port: int, authority: Authority
) -> None:
    tls = {"certificates": [authority.issue("admin.example").files]}
    serve(described(tmp_path, port, tls=tls), environment={"READ_TOKEN": READ})
    with TlsClient(f"127.0.0.1:{port}", authority.client(), "admin.example") as client:
        got = client.get("/v1/routes", [("Authorization", f"Bearer {READ}")], host="admin.example")
    assert got.status == 200
    assert Admin(f"127.0.0.1:{port}", READ).get("/v1/routes").status == 400
