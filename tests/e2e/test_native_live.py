"""Native actions in running gateways: over HTTP/2, and while sets of plugins come, change and go."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.admin import Admin
from e2e.kit.behaviours import hang
from e2e.kit.client import RawClient
from e2e.kit.http2 import Http2Client
from e2e.kit.net import eventually


def limit(rate: str, algorithm: str = "sliding-window") -> dict[str, Any]:
    use = {"plugin": "rate-limit", "config": {"rate": rate, "algorithm": algorithm}}
    return {"plugins": [use], "on": "/*"}


def statuses(gateway: RunningGateway, path: str, count: int) -> Counter[int]:
    return Counter(gateway.get(path).status for _ in range(count))


def live(serve: Serve, folder: Path, **more: Any) -> tuple[RunningGateway, Admin]:
    described: dict[str, Any] = {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(folder / "state"),
        "routes": [{"path": "/*", "respond": "here"}],
        **more,
    }
    return serve(described, workers=2), Admin(f"unix:{folder}/admin.sock")


def test_counts_go_on_while_sets_of_plugins_change(serve: Serve, tmp_path: Path) -> None:
    gateway, admin = live(serve, tmp_path)
    assert admin.put("/v1/plugin-sets/limit", limit("10/h")).status == 201
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(statuses, gateway, "/a", 4) for _ in range(4)]
        for number in range(5):
            other = {"plugin": "headers", "config": {"response": {"set": {"x-set": str(number)}}}}
            assert admin.put("/v1/plugin-sets/other", {"plugins": [other], "on": "/*"}).status in (200, 201)
        counted: Counter[int] = sum((one.result() for one in asked), Counter())
    assert counted == {200: 10, 429: 6}
    assert {gateway.get("/a").get("x-set") for _ in range(4)} == {"4"}


def test_a_limit_that_changes_holds_at_once_and_goes_with_its_set(serve: Serve, tmp_path: Path) -> None:
    gateway, admin = live(serve, tmp_path)
    assert admin.put("/v1/plugin-sets/limit", limit("3/h")).status == 201
    assert statuses(gateway, "/a", 5) == {200: 3, 429: 2}
    assert admin.put("/v1/plugin-sets/limit", limit("5/h")).status == 200
    assert statuses(gateway, "/a", 4) == {200: 2, 429: 2}
    assert admin.put("/v1/plugin-sets/limit", limit("1/h", "token-bucket")).status == 200
    assert statuses(gateway, "/a", 3) == {200: 1, 429: 2}
    assert admin.put("/v1/plugin-sets/limit", limit("2/second", "token-bucket")).status == 200
    assert gateway.get("/a").status == 200
    assert admin.delete("/v1/plugin-sets/limit").status in (200, 204)
    assert statuses(gateway, "/a", 4) == {200: 4}


def test_fields_in_http2_are_judged_as_in_http1(serve: Serve, origin: Origin) -> None:
    plugins = [
        {"plugin": "key-auth", "config": {"keys": {"alice": "a"}}},
        {"plugin": "ua-restriction", "config": {"deny": ["curl"]}},
        {"plugin": "csrf", "config": {"secret": "0123456789abcdef", "session_cookie": "s"}},
    ]
    gateway = serve({"upstreams": {"app": origin.address}, "routes": [{"to": "app"}], "plugins": plugins})
    key = ("x-api-key", "a")
    asked: list[list[tuple[str, str]]] = [
        [key],
        [key, key],
        [key, ("x-consumer", "eve")],
        [key, ("user-agent", "a"), ("user-agent", "curl")],
        [key, ("user-agent", "curl"), ("user-agent", "a")],
        [key, ("user-agent", "")],
        [key, ("cookie", "a=b"), ("cookie", "s=1")],
        [("x-api-key", "")],
    ]
    for fields in asked:
        seen = []
        for _ in range(2):  # the second one may be remembered
            with Http2Client(gateway.address) as client:
                response = client.get("/", fields=fields)
                seen.append((response.status, response.get("set-cookie") is None))
            if fields[-1][0] != "cookie":
                first = gateway.get("/", fields)
                seen.append((first.status, first.get("set-cookie") is None))
        assert len(set(seen)) == 1, (fields, seen)
    consumers = {
        value for call in origin.calls for name, value in call.fields if name.lower() == "x-consumer"
    }
    assert consumers == {"alice"}


def test_a_nonce_passes_once_whichever_worker_sees_it_and_while_sets_change(
    serve: Serve, tmp_path: Path
) -> None:
    gateway, admin = live(serve, tmp_path)
    use = {"plugin": "replay-protection", "config": {}}
    assert admin.put("/v1/plugin-sets/once", {"plugins": [use], "on": "/*"}).status == 201

    def ask(nonce: str) -> int:
        return gateway.get("/a", [("x-nonce", nonce), ("x-timestamp", str(int(time.time())))]).status

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(ask, [f"a-nonce-{number % 5}" for number in range(40)]))
    assert Counter(seen) == {200: 5, 403: 35}
    other = {"plugin": "headers", "config": {"response": {"set": {"x-set": "1"}}}}
    assert admin.put("/v1/plugin-sets/other", {"plugins": [other], "on": "/*"}).status == 201
    assert [ask("a-nonce-1"), ask("a-nonce-5")] == [403, 200]


def test_slots_that_are_taken_stay_taken_while_sets_change(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    origin.on("/slow", hang)
    gateway, admin = live(serve, tmp_path, routes=[{"path": "/*", "to": origin.address}])
    use = {"plugin": "concurrency-limit", "config": {"limit": 3}}
    assert admin.put("/v1/plugin-sets/limit", {"plugins": [use], "on": "/*"}).status == 201
    with ExitStack() as stack:
        for number in range(3):
            client = stack.enter_context(RawClient(gateway.address))
            client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda n=number: len(origin.calls) == n + 1, lambda: "the origin is asked")
        assert gateway.get("/a").status == 429
        other = {"plugin": "headers", "config": {"response": {"set": {"x-set": "1"}}}}
        assert admin.put("/v1/plugin-sets/other", {"plugins": [other], "on": "/*"}).status == 201
        assert gateway.get("/a").status == 429
    eventually(lambda: gateway.get("/a").status != 429, lambda: "a slot is free")
