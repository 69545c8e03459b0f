"""Breakpoints over the Admin API: set and read by those who may run code in the workers, and by nobody else."""

from collections.abc import Mapping
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.admin import TOKEN, Admin

LESS = "a-token-of-somebody-who-operates"
SOURCE = """
from headgate import Gateway, Request, Response

gate = Gateway()
gate.listen(LISTEN)
gate.admin(f"127.0.0.1:{PORT}", tokens=[TOKEN, {"token": LESS, "role": "operate"}], **MORE)
gate.state_folder(FOLDER + "/state")


@gate.route("/*")
def shown(request: Request) -> Response:
    secret = len(request.path)
    return Response(200, "ok")
"""
ALLOWED = {"breakpoints": True}


def started(serve: Serve, more: Mapping[str, bool] = ALLOWED) -> tuple[RunningGateway, Admin]:
    port = free_port()
    names: dict[str, object] = {"PORT": port, "TOKEN": TOKEN, "LESS": LESS, "MORE": more}
    return serve(SOURCE, names=names), Admin(f"127.0.0.1:{port}", TOKEN)


def set_one(api: Admin, at: str = "gate:shown", **more: Any) -> dict[str, Any]:
    made = api.ask("POST", "/v1/breakpoints", {"at": at, **more})
    assert made.status == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def test_what_a_breakpoint_has_seen_is_read_and_it_ends_by_its_count(serve: Serve) -> None:
    gateway, api = started(serve)
    one = set_one(api, condition="request.path != '/left-out'", show=["request.path", "1 / 0"], count=2)
    assert "gate.py" in one["place"] and one["ended"] is None
    for path in ("/left-out", "/a%3Cscript%3E", "/b", "/c"):
        assert gateway.get(path).status == 200
    target = f"/v1/breakpoints/{one['number']}"
    eventually(lambda: api.get(target).json()["ended"] == "count", "it has ended")
    seen = api.get(target).json()
    assert [hit["values"]["request.path"] for hit in seen["hits"]] == ["'/a%3Cscript%3E'", "'/b'"]
    assert "ZeroDivisionError" in seen["hits"][0]["values"]["1 / 0"]
    assert [hit["number"] for hit in api.get(f"{target}?after=1").json()["hits"]] == [2]
    assert [one["number"] for one in api.get("/v1/breakpoints").json()["breakpoints"]] == [one["number"]]


def test_one_that_is_removed_looks_no_more(serve: Serve) -> None:
    gateway, api = started(serve)
    one = set_one(api)
    target = f"/v1/breakpoints/{one['number']}"
    gateway.get("/")
    eventually(lambda: api.get(target).json()["newest"] == 1, "a hit")
    assert api.delete(target).status == 204
    assert api.get(target).status == 404 and api.delete(target).status == 404
    assert api.get("/v1/breakpoints").json() == {"breakpoints": []}
    assert gateway.get("/").status == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"at": "gate:shwn"}, 409, "did you mean"),
        ({"at": ""}, 400, "`at` is missing"),
        ({}, 400, "`at` is missing"),
        ({"at": "gate:shown", "condition": "1 +"}, 400, "is not a valid expression"),
        ({"at": "gate:shown", "show": ["\0"]}, 400, "is not a valid expression"),
        ({"at": "gate:shown", "show": [1]}, 400, "is not a short text"),
        ({"at": "gate:shown", "show": ["1"] * 21}, 400, "is not a short text"),
        ({"at": "gate:shown", "condition": "1" * 1001}, 400, "is not a short text"),
        ({"at": "gate:shown", "count": 0}, 400, "`count` is not"),
        ({"at": "gate:shown", "seconds": 1e9}, 400, "`seconds` is not"),
        ({"at": "gate:shown", "handler": "os:abort"}, 400, "unknown key `handler`"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(serve: Serve, body: Any, status: int, said: str) -> None:
    _, api = started(serve)
    refused = api.ask("POST", "/v1/breakpoints", body)
    assert (refused.status, said in refused.text) == (status, True), refused.text


def test_only_so_many_are_kept_and_those_that_are_over_make_room(serve: Serve) -> None:
    gateway, api = started(serve)
    for _ in range(15):
        set_one(api)
    short = set_one(api, count=1)
    assert "already set" in api.ask("POST", "/v1/breakpoints", {"at": "gate:shown"}).text
    gateway.get("/")
    eventually(
        lambda: api.get(f"/v1/breakpoints/{short['number']}").json()["ended"] == "count", "one is over"
    )
    set_one(api)
    assert api.get(f"/v1/breakpoints/{short['number']}").status == 404


def test_they_are_off_unless_the_file_says_so(serve: Serve) -> None:
    _, api = started(serve, more={})
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/1"), ("DELETE", "/1")):
        body = {"at": "gate:shown"} if method == "POST" else None
        refused = api.ask(method, f"/v1/breakpoints{path}", body)
        assert refused.status == 403 and "breakpoints: true" in refused.text


def test_who_may_not_run_code_sets_none(serve: Serve) -> None:
    _, api = started(serve)
    less = Admin(api.address, LESS)
    assert less.ask("POST", "/v1/breakpoints", {"at": "gate:shown"}).status == 403
    assert less.get("/v1/breakpoints").status == 403
