"""Consumers: of the file, of the store, known to plugins as soon as they are changed."""

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.admin import Admin

GATE = """
from headgate import Gateway, Plugin, Response

gate = Gateway()
gate.listen(LISTEN)
gate.admin(f"unix:{FOLDER}/admin.sock")
gate.state_folder(f"{FOLDER}/state")
gate.consumer("alice", keys="alice-key", groups="staff", labels={"plan": "large"})


class Who(Plugin):
    def setup(self, context):
        self.consumers = context.consumers

    def request(self, request):
        found = None
        kind, _, shown = request.headers.get("x-credential", "").partition(" ")
        match kind:
            case "key":
                found = self.consumers.with_key(shown)
            case "basic":
                found = self.consumers.with_password(*shown.split(":"))
            case "certificate":
                found = self.consumers.with_certificate(shown)
            case "jwt" | "hmac":
                key = self.consumers.jwt_key(shown) if kind == "jwt" else self.consumers.hmac_key(shown)
                found = key.consumer if key and key.key == "a-shared-secret" else None
        if found is None:
            return Response(401)
        return Response(200, f"{found.name} {','.join(found.groups)} {found.labels.get('plan', '')}")


gate.use(Who())
gate.route("/", respond="never")
"""
PRINT = "ab" * 32


@pytest.fixture
def gateway(serve: Serve) -> RunningGateway:
    return serve(GATE, workers=2)


@pytest.fixture
def admin(gateway: RunningGateway) -> Admin:
    return Admin(f"unix:{gateway.folder}/admin.sock")


def who(gateway: RunningGateway, credential: str) -> str:
    responses = [gateway.get("/", [("x-credential", credential)]) for _ in range(6)]
    assert len({response.status for response in responses}) == 1
    return responses[0].text if responses[0].status == 200 else str(responses[0].status)


def test_consumers_are_found_by_every_credential_as_soon_as_they_are_there(
    gateway: RunningGateway, admin: Admin
) -> None:
    assert who(gateway, "key alice-key") == "alice staff large"
    workers = gateway.workers
    bob: dict[str, Any] = {
        "keys": ["bob-key", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        "basic": {"username": "bob", "password": "bobs-password"},
        "jwt": [{"id": "bob-jwt", "key": "a-shared-secret"}],
        "hmac": [{"id": "bob-hmac", "secret": "a-shared-secret"}],
        "certificates": PRINT,
        "groups": ["staff", "night"],
    }
    assert admin.put("/v1/consumers/bob", bob).status == 201
    credentials = (
        *("key bob-key", "key test", "basic bob:bobs-password", "jwt bob-jwt", "hmac bob-hmac"),
        f"certificate {PRINT.upper()}",
    )
    for credential in credentials:
        assert who(gateway, credential) == "bob staff,night ", credential
    assert [who(gateway, wrong) for wrong in ("key bob", "basic bob:x", "basic x:x", "jwt bob-hmac")] == [
        "401"
    ] * 4
    assert gateway.workers == workers
    assert admin.delete("/v1/consumers/bob").status == 204
    assert [who(gateway, credential) for credential in credentials] == ["401"] * len(credentials)
    assert who(gateway, "key alice-key") == "alice staff large"


def test_credentials_are_never_shown(gateway: RunningGateway, admin: Admin) -> None:
    secrets = [f"PLANTED-{number}" for number in range(6)]
    document = {
        "keys": secrets[0],
        "basic": [{"username": "eve", "password": secrets[1]}],
        "jwt": {"id": "eve", "key": secrets[2]},
        "hmac": {"id": "eve", "secret": secrets[3]},
    }
    shown = [admin.put("/v1/consumers/eve", document)]
    shown.append(admin.put("/v1/consumers/eve", {**document, "keys": [secrets[0], secrets[4]]}))
    for bad in ({**document, "keyz": secrets[5]}, {**document, "keys": [{"a": secrets[5]}]}):
        shown.append(admin.put("/v1/consumers/eve", bad))
        assert shown[-1].status == 422
    for target in (
        "consumers/eve",
        "consumers?search=eve",
        "consumers?search=PLANTED",
        "history",
        "diff?from=0",
        "export",
    ):
        shown.append(admin.get(f"/v1/{target}"))
    shown += [admin.get(f"/v1/{target}") for target in ("status", "config")]
    for response in shown:
        assert b"PLANTED" not in response.body, response.body
    assert admin.get("/v1/consumers?search=PLANTED").json()["items"] == []
    assert "PLANTED" not in gateway.log() + gateway.output()
    masked = admin.get("/v1/consumers/eve").json()
    assert masked["basic"] == [{"username": "eve", "password": "**********"}]
    refused = admin.put("/v1/consumers/eve", masked)
    assert refused.status == 422 and "masked" in refused.json()["detail"]
    changed = admin.ask(
        "PATCH", "/v1/consumers/eve", {"groups": ["a"]}, {"Content-Type": "application/merge-patch+json"}
    )
    assert changed.status == 200
    assert who(gateway, f"key {secrets[4]}") == "eve a "


def test_two_consumers_with_one_credential_are_refused_without_showing_it(
    gateway: RunningGateway, admin: Admin
) -> None:
    refused = admin.put("/v1/consumers/mallory", {"keys": "alice-key"})
    assert refused.status == 422 and b"alice-key" not in refused.body
    assert refused.json()["errors"][0]["resource"] == "consumers/mallory"


def test_key_auth_takes_the_keys_of_consumers(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(
        {
            "admin": f"unix:{tmp_path}/admin.sock",
            "state_folder": str(tmp_path / "state"),
            "consumers": {"alice": "alice-key"},
            "plugins": ["key-auth"],
            "routes": [{"path": "/", "respond": "in"}],
        }
    )
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert gateway.get("/", [("x-api-key", "alice-key")]).text == "in"
    assert gateway.get("/", [("x-api-key", "bob-key")]).status == 401
    assert admin.put("/v1/consumers/bob", {"keys": "bob-key"}).status == 201
    assert gateway.get("/", [("x-api-key", "bob-key")]).text == "in"
