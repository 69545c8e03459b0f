"""api-discovery: which parameters are inferred, what is never written down, what bounds it, and what is unknown."""

import json
import random
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.native import Tally
from headgate.plugins import ApiDiscovery, ProxyRewrite
from headgate.plugins._discovered import Seen, Tree, kind_of
from headgate.plugins._discovered_document import document, restore
from headgate.testing import Received, TestGateway

SERVER = "server.test:80"
UUID = "0198f5a2-7c1e-7000-8000-0123456789ab"


def tree_of(*asked: str, most: int = 1000, distinct: int = 10) -> Tree:
    tree = Tree(most, distinct)
    for one in asked:
        method, _, path = one.partition(" ")
        tree.add(path, method.lower(), Seen(1, 0, 5, 5, statuses={"200": set()}))
    return tree


def shown(tree: Tree) -> list[str]:
    return sorted(f"{method.upper()} {path}" for path, _, method, _ in tree.endpoints())


def served(received: Received) -> Response:
    status = {"/api/secret": 401, "/api/broken": 500}.get(received.path, 200)
    return Response(status, "{}", headers=[("content-type", "application/json; charset=utf-8")])


def running(file: Path, **settings: Any) -> tuple[TestGateway, ApiDiscovery]:
    gate = Gateway()
    gate.route("/api/*", to=SERVER)
    plugin = ApiDiscovery(file=file, **settings)
    plugin.config.interval = 1000
    gate.use(plugin)
    gate.use(ProxyRewrite(path=[{"match": "/api/old/(.*)", "to": r"/api/new/\1"}]))
    return TestGateway(gate, upstreams={SERVER: served}), plugin


def written(gateway: TestGateway, plugin: ApiDiscovery) -> dict[str, Any]:
    gateway.run(plugin._report())
    gateway.run(plugin._write())
    read: dict[str, Any] = json.loads(plugin.config.file.read_text())
    return read


@pytest.mark.parametrize(
    ("segment", "kind"),
    [
        ("users", ""),
        ("v1", ""),
        ("42", "integer"),
        ("-1", "integer"),
        ("1.5", "number"),
        (UUID, "uuid"),
        ("2026-11-30", "date"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "string"),
        ("9f86d081884c7d65", "string"),
        ("someone@example.com", "string"),
        ("caf%C3%A9", "string"),
        ("get-user-account-details", ""),
        ("true", ""),
        ("9" * 30, "string"),
        ("x" * 65, "string"),
        ("", ""),
    ],
)
def test_what_looks_like_a_value_is_a_parameter(segment: str, kind: str) -> None:
    assert kind_of(segment) == kind


def test_parameters_are_named_after_what_stands_before_them() -> None:
    tree = tree_of("GET /users/1", "GET /users/2/orders/3", f"GET /categories/{UUID}/4", "GET /9/8")
    assert shown(tree) == [
        "GET /categories/{category_id}/{id}",
        "GET /users/{user_id}",
        "GET /users/{user_id}/orders/{order_id}",
        "GET /{id}/{id2}",
    ]


def test_kinds_that_differ_become_the_one_that_has_both() -> None:
    (found,) = tree_of("GET /x/1", "GET /x/1.5").endpoints()
    assert found[1] == [("x_id", "number")]
    (found,) = tree_of("GET /x/1", f"GET /x/{UUID}").endpoints()
    assert found[1] == [("x_id", "string")]


def test_too_many_names_in_a_place_are_a_parameter_but_those_asked_for_often_stay() -> None:
    names = [f"{letter}ob" for letter in string.ascii_lowercase[:11]]
    asked = [f"GET /users/{name}/orders" for name in names]
    tree = tree_of(*["GET /users/me/orders"] * 200, *asked, "GET /users/zed/orders", "POST /users/zed")
    assert shown(tree) == ["GET /users/me/orders", "GET /users/{user_id}/orders", "POST /users/{user_id}"]
    calls = {path: seen.calls for path, _, _, seen in tree.endpoints()}
    assert calls["/users/{user_id}/orders"] == 12 and calls["/users/me/orders"] == 200


def test_a_flood_of_paths_needs_no_more_room_than_was_given() -> None:
    chance = random.Random(3)
    tree = Tree(100, 10_000)
    for _ in range(5000):
        path = "".join(f"/{''.join(chance.choices(string.ascii_lowercase, k=6))}" for _ in range(3))
        tree.add(path, "get", Seen(1, statuses={"200": set()}))
    assert tree.size == len(list(tree.endpoints())) == 100
    assert tree.add("/one/more", "get", Seen(1)) is None
    assert tree.add("/" + "/".join("x" * 25), "get", Seen(1)) is None
    assert tree.add("/x", "brew", Seen(1)) is None


def test_the_document_is_read_back_as_it_was() -> None:
    tree = tree_of("GET /users/1", "DELETE /users/1", f"GET /orders/{UUID}/lines/2026-01-01", "GET /")
    tree.add("/users/7", "post", Seen(2, 1, 3, 9, "/users/{x}", {"q": "integer"}, {"a/b"}, {"201": {"c/d"}}))
    made = document(tree, "x")
    again = Tree(1000, 10)
    restore(again, json.loads(json.dumps(made)))
    assert document(again, "x") == made


def test_traffic_becomes_a_document_without_values(tmp_path: Path) -> None:
    gateway, plugin = running(tmp_path / "api.json")
    with gateway:
        for target in ("/api/users/1?page=2&q=hush", "/api/users/2?page=x", "/api/old/thing"):
            gateway.get(target, {"authorization": "Bearer hush"})
        gateway.post("/api/users", '{"name": "hush"}', {"content-type": "application/json"})
        found = written(gateway, plugin)
    assert "hush" not in json.dumps(found) and found["openapi"] == "3.1.0"
    assert set(found["paths"]) == {"/api/users", "/api/users/{user_id}", "/api/old/thing"}
    operation = found["paths"]["/api/users/{user_id}"]["get"]
    assert operation["parameters"] == [
        {"name": "user_id", "in": "path", "required": True, "schema": {"type": "integer"}},
        {"name": "page", "in": "query", "schema": {"type": "string"}},
        {"name": "q", "in": "query", "schema": {"type": "string"}},
    ]
    assert operation["responses"]["200"]["content"] == {"application/json": {}}
    assert (operation["x-headgate"]["calls"], operation["x-headgate"]["without_credentials"]) == (2, 0)
    post = found["paths"]["/api/users"]["post"]
    assert post["requestBody"] == {"content": {"application/json": {}}}
    assert post["x-headgate"]["without_credentials"] == 1
    assert plugin.config.file.stat().st_mode & 0o777 == 0o600


def test_only_what_is_there_becomes_an_endpoint(tmp_path: Path) -> None:
    gateway, plugin = running(tmp_path / "api.json")
    with gateway:
        for target in ("/api/secret", "/api/broken", "/nowhere", "/api/fine", "/api/fine"):
            gateway.get(target)
        found = written(gateway, plugin)
    assert set(found["paths"]) == {"/api/fine"}


def test_names_that_are_none_are_not_written(tmp_path: Path) -> None:
    gateway, plugin = running(tmp_path / "api.json")
    with gateway:
        gateway.get("/api/%22%3E%3Cscript%3E?%3Cb%3E=1&" + "&".join(f"n{n}=1" for n in range(500)))
        gateway.get("/api/x?ok=1", {"content-type": "<b>/<c>"})
        gateway.get("/api/" + "x" * 3000)
        found = written(gateway, plugin)
    assert set(found["paths"]) == {"/api/x", "/api/{api_id}"} and "<" not in json.dumps(found)
    assert plugin._dropped.value == 1


def test_what_the_document_does_not_have_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = tmp_path / "known.yaml"
    item = "{get: {responses: {}}}"
    known.write_text(
        "openapi: 3.1.0\ninfo: {title: x, version: '1'}\nservers: [{url: /api}]\npaths:\n"
        f"  /users/{{id}}: {item}\n  /users: {item}\n  /gone: {item}\n"
    )
    gateway, plugin = running(tmp_path / "api.json", openapi=str(known))
    with gateway:
        for target in ("/api/users/1", "/api/users", "/api/shadow/7", "/api/shadow/8"):
            gateway.get(target)
        gateway.post("/api/users", "{}")
        written(gateway, plugin)
        gateway.get("/api/shadow/9")
        found = written(gateway, plugin)
    told = [one for one in caplog.records if "is not in the document" in one.message]
    assert sorted(f"{vars(one)['method']} {vars(one)['path']}" for one in told) == [
        "GET /api/shadow/{integer}",
        "POST /api/users",
    ]
    assert plugin._unknown.value == 2 and found["x-headgate-unused"] == ["GET /gone"]
    assert found["paths"]["/api/users"]["get"]["x-headgate"]["documented_as"] == "/users"


def test_it_goes_on_with_the_file_and_begins_anew_with_a_broken_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "api.json"
    for kept, asked, paths in (
        (None, "/api/a", {"/api/a"}),
        (None, "/api/b", {"/api/a", "/api/b"}),
        ("[]", "/api/c", {"/api/c"}),
        ('{"paths": {"/x": {"get": 1}}}', "/api/d", {"/api/d"}),
    ):
        if kept is not None:
            file.write_text(kept)
        gateway, plugin = running(file)
        with gateway:
            gateway.get(asked)
            assert set(written(gateway, plugin)["paths"]) == paths
    assert sum("begins anew" in one.message for one in caplog.records) == 2


def test_many_long_paths_do_not_make_a_report_too_large(tmp_path: Path) -> None:
    gateway, plugin = running(tmp_path / "api.json", memory="1m")
    with gateway:
        gateway.get("/api/users")
        for number in range(2500):
            path = f"/{'x' * 60}" * 30 + f"/a{number}"
            assert plugin._tally.add(path, "GET", 200, None, None, True) == (number < 1999)
        gateway.run(plugin._report())
        assert plugin._tally.take() == [] and plugin._table.llen("seen") > 1
        gateway.get("/api/orders")
        assert "/api/orders" in written(gateway, plugin)["paths"]


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        ApiDiscovery(file=tmp_path / "none" / "x.json")
    with pytest.raises(ConfigError, match="distinct"):
        ApiDiscovery(file=tmp_path / "x.json", distinct=1)


@pytest.mark.parametrize("native", [True, False])
def test_calls_of_one_shape_are_looked_at_once(tmp_path: Path, native: bool) -> None:
    gate = Gateway()
    gate.route("/*", respond="ok")
    plugin = ApiDiscovery(file=tmp_path / "api.json")
    gate.use(plugin)
    with TestGateway(gate, native=native) as gateway:
        for number in range(300):
            gateway.get(f"/users/{number}/orders/{UUID}?page={number}&q=a%20{number}")
        gateway.get("/users/me/orders/1", {"cookie": "a=b"})
        taken = plugin._tally.take()
    counts = sorted((count, is_anonymous) for *_, is_anonymous, count, _, _ in taken)
    assert counts == [(1, False), (300, True)]


def test_what_is_counted_as_one_is_one_in_the_document(tmp_path: Path) -> None:
    chance = random.Random(7)
    pieces = ["users", "1", "-2", "1.5", "1.", ".5", "true", UUID, UUID[:-1], "2026-11-30", "2026-1-30"]
    pieces += ["9" * 18, "9" * 19, "a@b", "x" * 64, "x" * 65, "caf%C3%A9", "{integer}", "{x}", "abcdef012345"]
    pieces += ["abcdef01234", "a1b2c3d4e5f6g7h8", "a-b_c=d1e2f3g4h5", "", "%31", "a+b", "TRUE", "v1", "-"]
    _, plugin = running(tmp_path / "x.json")

    def inferred(target: str) -> str:
        ((key, seen),) = plugin._inferred([(target, "GET", 200, "", "", True, 1, 1, 1)]).items()
        return f"{key} {seen}"

    tally, wanted, found = Tally(), Counter[str](), Counter[str]()
    for _ in range(1500):
        one, two, three, four = chance.choices(pieces, k=4)
        target = f"/{one}/{two}?{three}={four}&x=1"
        assert tally.add(target, "GET", 200, None, None, True)
        wanted[inferred(target)] += 1
    for target, *_, count, _, _ in tally.take():
        found[inferred(target)] += count
    assert found == wanted
