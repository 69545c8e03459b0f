"""Changes of several resources, preconditions, patches, history: what the Admin API does and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.admin import Admin
from e2e.kit.client import RawResponse

MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"
ROUTE = {"path": "/r", "respond": "first", "headers": {"x-a": "1"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admin")


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, folder: Path) -> RunningGateway:
    return serve_module(
        {
            "admin": f"unix:{folder}/admin.sock",
            "state_folder": str(folder / "state"),
            "routes": [{"name": "file", "path": "/file", "respond": "of the file"}],
        },
        workers=2,
    )


@pytest.fixture
def admin(gateway: RunningGateway, folder: Path) -> Admin:
    api = Admin(f"unix:{folder}/admin.sock")
    done = api.ask("POST", "/v1/rollback", {"revision": 0})
    assert done.status == 200, done.body
    return api


def patch(api: Admin, kind: str, body: Any, **fields: str) -> RawResponse:
    return api.ask("PATCH", "/v1/routes/r", body, {"Content-Type": kind, **fields})


@pytest.mark.parametrize(
    ("verb", "kind", "body", "made"),
    [
        ("PUT", "application/json", {**ROUTE, "respond": "x"}, 200),
        ("PATCH", MERGE, {"respond": "x"}, 200),
        ("PATCH", PATCH, [{"op": "replace", "path": "/respond", "value": "x"}], 200),
        ("DELETE", "application/json", None, 204),
    ],
)
def test_a_change_whose_response_was_lost_may_be_sent_again(
    admin: Admin, verb: str, kind: str, body: Any, made: int
) -> None:
    before = {"If-Match": admin.put("/v1/routes/r", ROUTE).get("ETag") or "", "Content-Type": kind}
    first = admin.ask(verb, "/v1/routes/r", body, before)
    again = admin.ask(verb, "/v1/routes/r", body, before)
    assert (first.status, again.status) == (made, made), again.body
    assert again.get("ETag") == first.get("ETag")
    assert again.get("X-Headgate-Revision") == first.get("X-Headgate-Revision")
    operations = [{"op": "delete", "kind": "routes", "name": "r", "if_match": 1}]
    if verb == "DELETE":
        assert admin.ask("POST", "/v1/transactions", {"operations": operations}).status == 200
    else:  # what asks for something else is still refused
        assert admin.put("/v1/routes/r", ROUTE, **{"If-Match": before["If-Match"]}).status == 412
        assert admin.ask("POST", "/v1/transactions", {"operations": operations}).status == 412


APPENDED = [
    {"op": "test", "path": "/headers/x-a", "value": "1"},
    {"op": "replace", "path": "/headers/x-a", "value": "2"},
    {"op": "add", "path": "/methods/-", "value": "PUT"},
]


def test_a_json_patch_whose_response_was_lost_is_not_done_twice(admin: Admin) -> None:
    route = {**ROUTE, "methods": ["GET"]}
    made = admin.put("/v1/routes/r", route)
    expects = {"If-Match": made.get("ETag") or ""}
    first, again = (patch(admin, PATCH, APPENDED, **expects) for _ in range(2))
    assert first.json()["methods"] == ["GET", "PUT"]
    assert (again.status, again.body, again.get("ETag")) == (200, first.body, first.get("ETag"))
    other = [*APPENDED[:2], {"op": "add", "path": "/methods/-", "value": "POST"}]
    assert patch(admin, PATCH, other, **expects).status == 412  # which asks for something else

    revision = int((first.get("ETag") or "").strip('"'))
    more = [{"op": "add", "path": "/methods/-", "value": "POST"}]
    operations = [{"op": "patch", "kind": "routes", "name": "r", "patch": more, "if_match": revision}]
    first, again = (admin.ask("POST", "/v1/transactions", {"operations": operations}) for _ in range(2))
    assert (first.status, again.status) == (200, 200), again.body
    assert again.json()["revision"] == first.json()["revision"]
    assert admin.get("/v1/routes/r").json()["methods"] == ["GET", "PUT", "POST"]

    assert patch(admin, MERGE, {"respond": "somebody else"}).status == 200
    assert admin.ask("POST", "/v1/transactions", {"operations": operations}).status == 412


def test_preconditions_hold_for_every_verb(admin: Admin) -> None:
    fresh = admin.put("/v1/routes/r", ROUTE).get("ETag") or ""
    assert admin.get("/v1/routes/r").get("ETag") == fresh
    assert admin.get("/v1/routes/r", **{"If-None-Match": fresh}).status == 304
    for tag in ('"999999"', "*x", f"W/{fresh}", '""'):
        stale = {"If-Match": tag}
        assert admin.put("/v1/routes/r", {**ROUTE, "respond": "x"}, **stale).status == 412, tag
        assert patch(admin, MERGE, {"headers": {"x-a": "2"}}, **stale).status == 412, tag
        assert admin.delete("/v1/routes/r", **stale).status == 412, tag
    assert admin.put("/v1/routes/r", ROUTE, **{"If-None-Match": "*"}).status == 412
    assert admin.get("/v1/routes/r").json() == ROUTE
    changed = patch(admin, MERGE, {"headers": {"x-a": "2"}}, **{"If-Match": f'"7777", {fresh}'})
    assert changed.status == 200 and changed.get("ETag") != fresh
    assert admin.delete("/v1/routes/r", **{"If-Match": "*"}).status == 204
    assert admin.put("/v1/routes/r", ROUTE, **{"If-Match": "*"}).status == 412
    assert admin.delete("/v1/routes/r").status == 404


def test_patches_change_what_they_say(admin: Admin) -> None:
    admin.put("/v1/routes/r", ROUTE)
    assert patch(admin, MERGE, {"headers": None, "priority": 3}).json() == {
        "path": "/r",
        "respond": "first",
        "priority": 3,
    }
    operations = [
        {"op": "test", "path": "/priority", "value": 3},
        {"op": "replace", "path": "/respond", "value": "second"},
        {"op": "add", "path": "/headers", "value": {"x/y": "1"}},
        {"op": "move", "from": "/headers/x~1y", "path": "/headers/x"},
        {"op": "remove", "path": "/priority"},
    ]
    assert patch(admin, PATCH, operations).json() == {
        "path": "/r",
        "respond": "second",
        "headers": {"x": "1"},
    }
    for bad, status in (
        ([{"op": "test", "path": "/respond", "value": "first"}], 422),
        ([{"op": "remove", "path": "/nothing"}], 422),
        ([{"op": "add", "path": "respond", "value": 1}], 400),
        ([{"op": "replace", "path": "", "value": []}], 422),
        ({"op": "add"}, 400),
    ):
        assert patch(admin, PATCH, bad).status == status, bad
    assert admin.get("/v1/routes/r").json()["respond"] == "second"


def test_a_transaction_is_done_whole_or_not_at_all(admin: Admin, gateway: RunningGateway) -> None:
    upstream = {"op": "put", "kind": "upstreams", "name": "u", "resource": {"servers": ["127.0.0.1:9"]}}
    route = {"op": "put", "kind": "routes", "name": "r", "resource": {"path": "/r", "to": "u"}}
    assert admin.put("/v1/routes/r", route["resource"]).status == 422  # its upstream is not there yet
    assert admin.ask("POST", "/v1/validate", {"operations": [route]}).status == 422
    assert admin.ask("POST", "/v1/validate", {"operations": [route, upstream]}).json()["valid"]
    assert admin.ask("POST", "/v1/transactions?dry_run=true", {"operations": [route, upstream]}).status == 200
    assert admin.get("/v1/routes/r").status == 404
    assert admin.ask("POST", "/v1/transactions", {"operations": [route, upstream]}).status == 200
    assert gateway.get("/r").status == 502
    assert admin.delete("/v1/upstreams/u").status == 422  # it is still named
    gone = [
        {"op": "delete", "kind": kind, "name": name} for kind, name in (("upstreams", "u"), ("routes", "r"))
    ]
    wrong = [*gone, {"op": "put", "kind": "routes", "name": "x", "resource": {"pth": "/"}}]
    assert admin.ask("POST", "/v1/transactions", {"operations": wrong}).status == 422
    late = [{**gone[0], "if_match": 999}, gone[1]]
    assert admin.ask("POST", "/v1/transactions", {"operations": late}).status == 412
    assert gateway.get("/r").status == 502
    assert admin.ask("POST", "/v1/transactions", {"operations": gone}).status == 200
    assert gateway.get("/r").status == 404


def test_history_diff_and_rollback_tell_and_undo(admin: Admin, gateway: RunningGateway) -> None:
    first = admin.put("/v1/routes/r", ROUTE).get("x-headgate-revision")
    admin.put("/v1/routes/r", {**ROUTE, "respond": "second", "headers": {}})
    entries = admin.get("/v1/history?resource=routes/r&limit=2").json()["entries"]
    assert [entry["edits"][0]["after"]["respond"] for entry in entries] == ["second", "first"]
    assert entries[1]["edits"][0]["before"] is None and entries[0]["author"] == "socket"
    edits = admin.get(f"/v1/diff?from={first}").json()["edits"]
    assert [(edit["name"], edit["before"]["respond"], edit["after"]["respond"]) for edit in edits] == [
        ("r", "first", "second")
    ]
    assert gateway.get("/r").text == "second"
    assert admin.ask("POST", "/v1/rollback", {"revision": int(first or 0)}).status == 200
    assert gateway.get("/r", [("x-a", "1")]).text == "first"
    assert admin.ask("POST", "/v1/rollback", {"revision": 999999}).status == 404


def test_lists_have_pages_and_are_searched(admin: Admin) -> None:
    puts = [
        {
            "op": "put",
            "kind": "routes",
            "name": f"r{n}",
            "resource": {"path": f"/r{n}", "respond": f"text {n}"},
        }
        for n in range(5)
    ]
    admin.ask("POST", "/v1/transactions", {"operations": puts})
    page = admin.get("/v1/routes?limit=2").json()
    assert [item["name"] for item in page["items"]] == ["r0", "r1"] and page["next"] == "r1"
    rest = admin.get("/v1/routes?limit=100&after=r1").json()
    assert [item["name"] for item in rest["items"]] == ["r2", "r3", "r4"] and rest["next"] is None
    assert [item["name"] for item in admin.get("/v1/routes?search=TEXT%203").json()["items"]] == ["r3"]
    for wrong in ("limit=0", "limit=x", "limit=1001", "nothing=1", "limit=1&limit=2"):
        assert admin.get(f"/v1/routes?{wrong}").status == 400, wrong


def test_what_the_file_says_stays(admin: Admin, gateway: RunningGateway) -> None:
    admin.put("/v1/routes/file", {"path": "/file", "respond": "of the store"})
    assert gateway.get("/file").text == "of the file"
    assert admin.get("/v1/status").json()["left_out"] == ["routes/file"]


def test_status_tells_what_is_in_force_and_where(admin: Admin, gateway: RunningGateway) -> None:
    revision = int(admin.put("/v1/routes/r", ROUTE).get("x-headgate-revision") or 0)
    status = admin.get("/v1/status").json()
    assert (status["revision"], status["store"]["revision"], status["store"]["not_applied"]) == (
        revision,
        revision,
        None,
    )
    assert status["store"]["connected"] and status["resources"]["routes"] == 1
    assert {worker["generation"] for worker in status["workers"]} == {status["generation"]}
    assert len(status["workers"]) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"path": "/x", "path": "/y", "respond": "x"}', 400),
        (b'{"path": "/x", "respond": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"path": "/\xff"}', 400),
        (b'{"path": "/x", "respond": "x", "priority": 1e400}', 422),
        (b'{"path": "/x", "respond": "x", "priority": ' + b"9" * 5000 + b"}", 400),
        (json.dumps({"path": "/x", "respond": "\ud800"}).encode(), 422),
        (b'{"path": "/x", "to": "localhost\\u0000:9"}', 422),
    ],
)
def test_malformed_bodies_are_refused_and_harm_nothing(
    admin: Admin, gateway: RunningGateway, body: bytes, status: int
) -> None:
    refused = admin.put("/v1/routes/bad", body)
    assert refused.status == status, refused.body
    assert refused.get("Content-Type") == "application/problem+json"
    assert admin.get("/v1/routes/bad").status == 404
    assert "Traceback" not in gateway.log()


def test_two_writers_at_once_both_win_or_hear_of_it(admin: Admin, gateway: RunningGateway) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def write(number: int) -> int:
        return admin.put(f"/v1/routes/w{number}", {"path": f"/w{number}", "respond": f"{number}"}).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(24))) == {201}
    assert [gateway.get(f"/w{number}").text for number in range(24)] == [str(number) for number in range(24)]


def test_validate_warns_of_what_is_hardly_meant_in_file_and_resources(admin: Admin) -> None:
    resources: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("upstreams", "idle", {"servers": ["127.0.0.1:9"]}),
        ("routes", "first", {"path": "/same", "respond": "x", "priority": 1}),
        ("routes", "second", {"path": "/same", "respond": "y"}),
    )
    operations = [
        {"op": "put", "kind": kind, "name": name, "resource": resource} for kind, name, resource in resources
    ]
    told = admin.ask("POST", "/v1/validate", {"operations": operations}).json()
    assert told["valid"]
    assert {(one["resource"], one["message"].split(":")[0]) for one in told["warnings"]} == {
        ("routes/second", "route `second` never matches"),
        ("upstreams/idle", "nothing leads to the upstream `idle`"),
    }
    assert all(one["hint"] for one in told["warnings"])
    assert admin.ask("POST", "/v1/validate", {"operations": []}).json()["warnings"] == []


def test_imports_of_many_owners_at_once_are_all_done(admin: Admin) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def imported(number: int) -> int:
        routes = {f"o{number}-{n}": {"path": f"/o{number}/{n}", "respond": "x"} for n in range(5)}
        body = {"resources": {"routes": routes}, "owner": f"o{number}", "prune": True}
        return admin.ask("POST", "/v1/import", body).status

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(imported, range(10))) == {200}
    assert len(admin.get("/v1/routes?search=/o").json()["items"]) == 50
