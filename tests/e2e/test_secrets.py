"""Secrets are planted everywhere, everything is exercised, and then none of them is to be read anywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.admin import Admin
from e2e.kit.client import RawResponse

TOKEN = "PLANTED-token-0123456789"
MERGE = {"Content-Type": "application/merge-patch+json"}


def described(folder: Path) -> dict[str, Any]:
    (folder / "secret").write_text("PLANTED-of-a-file\n")
    return {
        "admin": {"listen": f"unix:{folder}/admin.sock", "tokens": {"token": TOKEN, "name": "t"}},
        "state_folder": str(folder / "state"),
        "consumers": {
            "file": {
                "keys": f"file:{folder}/secret",
                "basic": {"username": "f", "password": "PLANTED-basic"},
            },
            "variable": "env:PLANTED_KEY",
        },
        "plugin_sets": {"s": {"plugin": "key-auth", "on": "/set", "config": {"keys": {"a": "PLANTED-set"}}}},
        "plugins": [
            {
                "plugin": "csrf",
                "on": "/csrf",
                "config": {"session_cookie": "s", "secret": "PLANTED-csrf-0123456789abcdef0123"},
            }
        ],
        "routes": [{"path": "/", "respond": "here"}],
    }


def test_planted_secrets_are_nowhere_to_be_read(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(described(tmp_path), environment={"PLANTED_KEY": "PLANTED-of-the-environment"})
    admin = PatientAdmin(f"unix:{tmp_path}/admin.sock", TOKEN)
    shown = [response.body.decode() for response in exercise(admin, tmp_path)]
    shown += [command(gateway, arguments) for arguments in commands(gateway)]
    for text in (*shown, gateway.log(), gateway.output()):
        assert "PLANTED-" not in text, text
    assert gateway.get("/set", [("x-api-key", "PLANTED-set")]).status == 200


class PatientAdmin(Admin):
    """Asks again while a reload, which a plugin's code needs, replaces the agent."""

    def ask(
        self, method: str, target: str, body: Any = None, fields: Mapping[str, str] | None = None
    ) -> RawResponse:
        def there() -> RawResponse | None:
            response = super(PatientAdmin, self).ask(method, target, body, fields)
            return response if response.status != 503 else None

        response = eventually(there, "an agent that responds", within=60)
        assert response is not None
        return response


def exercise(admin: Admin, folder: Path) -> list[Any]:
    """Writes and reads of every kind, good ones and bad ones."""
    consumer = {
        "keys": "PLANTED-1",
        "hmac": {"id": "h", "secret": "PLANTED-2"},
        "jwt": {"id": "j", "key": "PLANTED-3"},
    }
    use = {
        "plugin": "quota",
        "config": {"amount": 9, "period": "day", "file": str(folder / "q"), "redis": None},
    }
    url = {
        "plugin": "quota",
        "config": {"amount": 9, "period": "day", "redis": "redis://me:PLANTED-4@127.0.0.1:1"},
    }
    pem = "-----BEGIN PRIVATE KEY-----\nPLANTED-5\n-----END PRIVATE KEY-----\n"
    done = [
        admin.put("/v1/consumers/c", consumer),
        admin.put("/v1/consumers/c", {**consumer, "keys": ["PLANTED-6"]}),
        admin.put("/v1/consumers/d", {"keys": "PLANTED-6"}),
        admin.put("/v1/consumers/d", {"keys": [["PLANTED-7"]]}),
        admin.put("/v1/consumers/d", {"basic": "PLANTED-8"}),
        admin.put("/v1/consumers/d", "PLANTED-9"),
        admin.put("/v1/consumers/d", b'{"keys": "PLANTED-10"'),
        admin.put("/v1/plugins/p", use),
        admin.put("/v1/plugins/p", url),
        admin.put("/v1/plugins/p", {"plugin": "key-auth", "config": {"keys": {"a": {"b": "PLANTED-11"}}}}),
        admin.put("/v1/plugin-sets/q", {"plugins": [{"plugin": "key-auth", "config": {"keys": {"a": "PLANTED-12"}}}]}),
        admin.put("/v1/plugin-sets/q", {"plugins": [{"plugin": "key-auth", "config": {"keys": "PLANTED-13"}}]}),
        admin.put("/v1/routes/r", {"path": "/r", "respond": {"body": pem}}),
        admin.ask("PATCH", "/v1/consumers/c", {"keys": "PLANTED-14"}, MERGE),
        admin.ask("PATCH", "/v1/consumers/c", {"keys": {"a": ["PLANTED-15"]}}, MERGE),
        admin.ask("PATCH", "/v1/consumers/c", [{"op": "test", "path": "/keys", "value": "PLANTED-16"}],
                  {"Content-Type": "application/json-patch+json"}),
        admin.ask("POST", "/v1/transactions", {"operations": [
            {"op": "put", "kind": "consumers", "name": "e", "resource": {"keys": "PLANTED-17"}},
            {"op": "put", "kind": "routes", "name": "x", "resource": {"paths": "PLANTED"}},
        ]}),
        admin.ask("POST", "/v1/validate", {"operations": [
            {"op": "put", "kind": "consumers", "name": "e", "resource": {"keys": "PLANTED-17"}},
        ]}),
        admin.ask("POST", "/v1/import?dry_run=true", {"resources": {"consumers": {"i": {"keys": "PLANTED-18"}}}}),
        admin.ask("POST", "/v1/rollback", {"revision": 1}),
        PatientAdmin(admin.address, "PLANTED-wrong-token-0123").get("/v1/routes"),
    ]  # fmt: skip
    assert sum(response.status in (200, 201) for response in done) >= 9
    assert {response.status for response in done} <= {200, 201, 400, 401, 422}
    targets = (
        "config",
        "status",
        "history",
        "export",
        "diff?from=0",
        "history?resource=consumers/c",
        "consumers/c",
    )
    kinds = ("consumers", "plugins", "plugin-sets", "routes", "consumers?search=PLANTED-1")
    return [*done, *(admin.get(f"/v1/{target}") for target in (*targets, *kinds))]


def commands(gateway: RunningGateway) -> list[tuple[str, ...]]:
    """Of the command line, all that show something."""
    file = str(gateway.file)
    api = [
        ("get", "consumers"),
        ("get", "plugins", "--output", "json"),
        ("history",),
        ("get", "consumers", "c"),
    ]
    return [("status", "--json"), ("status",), ("config", "show", file), ("check", file), *api]


def command(gateway: RunningGateway, arguments: tuple[str, ...]) -> str:
    gateway.environment["HEADGATE_TOKEN"] = TOKEN
    done = gateway.cli(*arguments)
    assert done.returncode == 0, done.stderr
    return str(done.stdout + done.stderr)
