"""What a plugin is used on, under which condition, and what becomes of its decision in mode `report`."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Plugin, Request, Response, ResponseView
from headgate.compile.order import compile_gateway
from headgate.plugins import KeyAuth
from headgate.testing import TestGateway


class Refuse(Plugin):
    def request(self, request: Request) -> Response:
        return Response(403)


class Pair(Plugin):
    """Takes and gives back."""

    def setup(self) -> None:
        self._held = 0

    def request(self, request: Request) -> None:
        self._held += 1

    def log(self, request: Request, response: object) -> None:
        self._held -= 1


class Mark(Plugin):
    def response(self, request: Request, response: ResponseView) -> None:
        response.headers["x-marked"] = "yes"


def gate_with(plugin: Plugin, **use: Any) -> Gateway:
    gate = Gateway()
    gate.listen(":8080", name="public")
    gate.route("/", to="server.test:80")
    gate.use(plugin, **use)
    return gate


def test_a_condition_decides_for_each_request() -> None:
    gate = gate_with(Refuse(), when='request.method == "POST" && "x-a" in request.headers')
    with TestGateway(gate, upstreams={"server.test:80": "ok"}) as gateway:
        statuses = [gateway.get("/").status, gateway.request("POST", "/").status]
        assert [*statuses, gateway.request("POST", "/", {"x-a": ""}).status] == [200, 200, 403]


def test_path_and_condition_hold_together() -> None:
    gate = gate_with(Refuse(), on="/api/*", when='request.query != ""')
    with TestGateway(gate, upstreams={"server.test:80": "ok"}) as gateway:
        assert [gateway.get(one).status for one in ("/api/x", "/x?a", "/api/x?a")] == [200, 200, 403]


def test_one_of_several_uses_is_enough() -> None:
    gate, plugin = Gateway(), Refuse()
    gate.route("/", respond="in")
    gate.use(plugin, when='request.path == "/a"')
    gate.use(plugin, when='request.path == "/b"')
    with TestGateway(gate) as gateway:
        assert [gateway.get(one).status for one in ("/a", "/b", "/c")] == [403, 403, 200]


def test_the_response_decides_where_there_is_one() -> None:
    gate = gate_with(Mark(), when='response.status == 404 && response.headers["x"] == "y"')
    with TestGateway(gate, upstreams={"server.test:80": Response(404, headers={"x": "y"})}) as gateway:
        assert gateway.get("/").headers.get("x-marked") == "yes"
    with TestGateway(gate, upstreams={"server.test:80": Response(200, headers={"x": "y"})}) as gateway:
        assert gateway.get("/").headers.get("x-marked") is None


def test_what_was_taken_is_given_back_whatever_became_of_the_request() -> None:
    plugin = Pair()
    gate = gate_with(plugin, when='"x-a" in request.headers', order=-10)

    @gate.request
    def later(request: Request) -> None:
        del request.headers["x-a"]
        request.path = "/other"

    with TestGateway(gate, upstreams={"server.test:80": "ok"}) as gateway:
        gateway.get("/", {"x-a": "1"})
    assert plugin._held == 0


def test_a_plugin_on_a_path_gives_back_although_the_path_was_rewritten() -> None:
    plugin = Pair()
    gate = gate_with(plugin, on="/api/*")

    @gate._parts.routes[0].request
    def later(request: Request) -> None:
        request.path = "/other"

    with TestGateway(gate, upstreams={"server.test:80": "ok"}) as gateway:
        gateway.get("/api/x")
        gateway.get("/x")
    assert plugin._held == 0


def test_it_is_used_on_a_consumer_after_that_is_known() -> None:
    gate = gate_with(Refuse(), on="consumer:bob")
    gate.use(KeyAuth(keys={"alice": "a", "bob": "b"}))
    with TestGateway(gate, upstreams={"server.test:80": "ok"}) as gateway:
        assert [gateway.get("/", {"x-api-key": key}).status for key in "ab"] == [200, 403]


def test_a_condition_on_the_consumer_waits_for_it_too() -> None:
    class Early(Refuse):
        order = -500

    gate = gate_with(Early(), when='request.consumer == "bob"')
    gate.use(KeyAuth(keys={"alice": "a", "bob": "b"}))
    with TestGateway(gate, upstreams={"server.test:80": "ok"}) as gateway:
        assert [gateway.get("/", {"x-api-key": key}).status for key in "ab"] == [200, 403]


def test_it_is_used_on_a_listener() -> None:
    compiled = compile_gateway(gate_with(Refuse(), on="public"))
    hook = next(one for one in compiled.hooks if one.phase == "request").function
    client = [SimpleNamespace(client=SimpleNamespace(listener=name)) for name in ("public", "internal")]
    assert [hook(one) and hook(one).status for one in client] == [403, None]


def test_hooks_of_connections_run_on_their_listener_only() -> None:
    class Watch(Plugin):
        def connect(self, connection: Any) -> None:
            pass

    gate = Gateway()
    public = gate.listen(":8080", name="public")
    gate.listen(":8081", name="internal")
    gate.route("/", respond="in")
    gate.use(Watch(), on=public)
    import json

    listeners = json.loads(compile_gateway(gate).snapshot)["listeners"]
    told = {one["name"]: one["hooks"]["connect"] for one in listeners}
    assert len(told["public"]) == 1 and told["internal"] == []


class Greedy(Plugin):
    """Does all that a hook can do to a request."""

    async def request(self, request: Request) -> Response:
        request.headers["x-consumer"] = "admin"
        request.headers.add("x-more", "1")
        request.headers.update({"x-more": "2"})
        assert request.headers.setdefault("x-more", "3") == "3"
        assert request.headers.pop("x-a", "") == "1"
        request.path = "/other"
        request.set_body("other")
        request.state.seen = request.headers["x-a"]
        return Response(403)

    def response(self, request: Request, response: ResponseView) -> Response:
        response.status = 500
        response.set_cookie("a", "b")
        del response.headers["x-s"]
        return Response(418)

    def response_body(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
        return b"changed"


def test_report_logs_and_counts_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    plugin = Greedy()
    gate = gate_with(plugin, mode="report", name="greedy")
    server = Response(200, "as it was", headers={"x-s": "1"})
    with caplog.at_level(logging.WARNING), TestGateway(gate, upstreams={"server.test:80": server}) as gateway:
        response = gateway.get("/path", {"x-a": "1"})
        received = gateway.received[0]
    assert (response.status, response.text, response.headers["x-s"]) == (200, "as it was", "1")
    assert "set-cookie" not in response.headers
    assert (received.target, received.headers["x-a"], received.body) == ("/path", "1", b"")
    assert {"x-consumer", "x-more"} & set(received.headers) == set()
    assert response.record.state["seen"] == "1"
    told = [
        (record.message, vars(record)["status"]) for record in caplog.records if "would" in record.message
    ]
    assert told == [("would have replied", 403), ("would have replied", 418)]
    assert plugin._headgate_context and plugin._headgate_context.counter("reported").value == 2


def test_who_somebody_is_never_comes_from_a_client_in_mode_report() -> None:
    gate = gate_with(KeyAuth(keys={"alice": "a"}), mode="report")
    with TestGateway(gate, upstreams={"server.test:80": "ok"}) as gateway:
        assert gateway.get("/", [("X_Consumer", "admin")]).status == 200
        assert {one.lower().replace("_", "-") for one in gateway.received[0].headers} & {
            "x-consumer"
        } == set()


@pytest.mark.parametrize(
    ("plugin", "use", "message"),
    [
        (Refuse(), {"when": "request.methd == 'GET'"}, "did you mean `method`"),
        (
            Refuse(),
            {"when": "response.status == 200"},
            "the `request` hook of plugin `Refuse` runs before it",
        ),
        (Refuse(), {"on": "publik"}, "did you mean `public`"),
        (Refuse(), {"on": "consumer:"}, "there is no route, upstream or listener"),
        (Refuse(), {"mode": "dry"}, "cannot be `dry`"),
    ],
)
def test_what_cannot_be_is_refused(plugin: Plugin, use: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compile_gateway(gate_with(plugin, **use))
