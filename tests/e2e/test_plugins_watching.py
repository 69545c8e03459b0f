"""Plugins that judge, hold up, learn and alert, over real sockets with several workers."""

import base64
import ctypes
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.client import RawClient

from headgate.plugins._modsecurity import LIBRARY
from headgate.plugins._signatures import signature
from headgate.plugins.waf import RULES


def has_rules() -> bool:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return Path(RULES).parent.is_dir()


def document(origin: Origin, *plugins: dict[str, Any]) -> dict[str, Any]:
    return {"routes": [{"path": "/", "to": origin.address}], "plugins": list(plugins)}


def status(
    gateway: RunningGateway, target: str, body: bytes | None = None, kind: str = "application/json"
) -> int:
    fields = [("User-Agent", "Mozilla/5.0"), ("Accept", "*/*")]
    fields += [("Content-Type", kind)] if body else []
    with RawClient(gateway.address) as client:
        return client.request("POST" if body else "GET", target, fields, body=body).status


@pytest.mark.skipif(
    not has_rules(), reason="needs libmodsecurity3 and modsecurity-crs; hint: `make services`"
)
def test_the_core_rule_set_judges_in_every_worker_and_what_is_made_to_take_long_stops_nobody(
    serve: Serve, origin: Origin
) -> None:
    # clients of the kit have one host, as an address: the Core Rule Set does not like that
    config = {"directives": "SecRuleRemoveById 920350", "seconds": 0.2, "penalty": 0}
    gateway = serve(document(origin, {"plugin": "waf", "on": "/app/*", "config": config}), workers=2)
    attack = "/app/?q=1%27%20union%20select%20a%20from%20users--"
    slow = json.dumps({"a": "<" * 30_000}).encode()
    with ThreadPoolExecutor(8) as pool:
        late = [pool.submit(status, gateway, "/app/", slow) for _ in range(3)]
        asked = [*["/app/?q=shoes", attack] * 15]
        assert list(pool.map(lambda one: status(gateway, one), asked)) == [200, 403] * 15
        assert [one.result() for one in late] == [403] * 3
    assert all("union" not in call.target for call in origin.calls)
    gateway.wait_for_log("took too long to judge")
    gateway.wait_for_log("942100")
    gateway.stop()  # fails if a process of the engine is left


def test_all_workers_write_one_document(serve: Serve, origin: Origin, tmp_path: Path) -> None:
    file = tmp_path / "api.json"
    config = {"file": str(file), "interval": 0.3}
    gateway = serve(document(origin, {"plugin": "api-discovery", "config": config}), workers=2)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda number: status(gateway, f"/users/{number}/orders?page=1"), range(60))
        assert set(found) == {200}

    def calls() -> bool:
        if not file.exists():
            return False
        paths = json.loads(file.read_text())["paths"]
        said = paths.get("/users/{user_id}/orders", {}).get("get", {})
        return bool(said) and said["x-headgate"]["calls"] == 60

    eventually(calls, lambda: file.read_text() if file.exists() else "there is a document", within=20)


def test_failures_of_all_workers_are_told_once_to_a_signed_webhook(serve: Serve, origin: Origin) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    def fail(call: Call) -> None:
        call.respond(b"", status="503 Service Unavailable")

    origin.on("/fails", fail)
    with Origin() as receiver:
        config = {
            "name": "site",
            "objective": 99,
            "url": f"http://{receiver.address}/alerts",
            "secrets": [secret],
            "check": 0.3,
            "windows": [{"long": 60, "short": 5, "burn": 10}],
        }
        gateway = serve(
            document(origin, {"plugin": "slo-alert", "on": "/fails", "config": config}), workers=2
        )
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: status(gateway, "/fails"), range(60))) == {503}
        eventually(lambda: receiver.at("/alerts"), "the receiver is told", within=20)
        call = receiver.at("/alerts")[0]
        body = call.read_body()
        said = json.loads(body)
        assert said["type"] == "slo.burn.firing" and said["data"]["bad"] == said["data"]["requests"]
        key = base64.b64decode(secret.removeprefix("whsec_"))
        id, moment = call.get("webhook-id") or "", call.get("webhook-timestamp") or ""
        assert call.get("webhook-signature") == signature(key, id, moment, body)
        eventually(lambda: len(receiver.at("/alerts")) == 2, "it is told that it is over", within=30)
        assert json.loads(receiver.at("/alerts")[1].read_body())["type"] == "slo.burn.resolved"


@pytest.mark.parametrize("path", ["/.env"])
def test_who_asks_for_a_trap_waits_and_others_do_not(serve: Serve, origin: Origin, path: str) -> None:
    config = {"interval": 0.2, "duration": 1, "max_per_client": 2, "status": 404}
    gateway = serve(document(origin, {"plugin": "tarpit", "config": config}), workers=1)
    with ThreadPoolExecutor(4) as pool:
        with RawClient(gateway.address) as one, RawClient(gateway.address) as two:
            held = [pool.submit(client.get, path) for client in (one, two)]
            eventually(lambda: status(gateway, "/") == 200, "others are served")
            responses = [each.result() for each in held]
    assert all(each.status == 404 and each.body.count(b"<meta") >= 3 for each in responses)
    assert origin.at(path) == []
