"""Compiling: hooks in their running order, plugins where they are used, and the snapshot the engine reads."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Plugin
from headgate.compile.order import Compiled, compile_gateway
from headgate.config.snapshot_routes import NO_BOUND


def named(compiled: Compiled, route: int | None, phase: str) -> list[str]:
    """The names of one phase's hooks, in running order; `None` is the gateway's own list."""
    snapshot = json.loads(compiled.snapshot)
    hooks = snapshot["hooks"] if route is None else snapshot["routes"][route].get("hooks", {})
    return [
        compiled.hooks[position].name.rpartition(":")[2].rpartition(".")[2]
        for position in hooks.get(phase, [])
    ]


class Tag(Plugin):
    """Sees everything."""

    def startup(self) -> None: ...

    def rewrite(self, request: Any) -> None: ...

    def request(self, request: Any) -> Any:
        return "plugin"

    async def response(self, request: Any, response: Any) -> Any:
        return "plugin"

    def error(self, request: Any, error: Any) -> None: ...

    def shutdown(self) -> None: ...


class OnRoute(Plugin):
    """Has no hook before the route is chosen."""

    def request(self, request: Any) -> None: ...


def test_requests_run_gateway_plugin_route_and_responses_run_back() -> None:
    gate = Gateway()
    route = gate.route("/", to="a:1")
    for phase in ("request", "response", "log", "upstream_request", "error"):
        other = {"request": "", "upstream_request": ", attempt", "error": ", error"}.get(phase, ", response")
        scope: dict[str, Any] = {}
        exec(f"def of_route(request{other}): ...\ndef of_gate(request{other}): ...", scope)
        getattr(route, phase)(scope["of_route"])
        getattr(gate, phase)(scope["of_gate"])
    gate.use(Tag())
    compiled = compile_gateway(gate)
    assert named(compiled, 0, "request") == ["of_gate", "request", "of_route"]
    assert named(compiled, 0, "upstream_request") == ["of_gate", "of_route"]
    assert named(compiled, 0, "response") == ["of_route", "response", "of_gate"]
    assert named(compiled, 0, "error") == ["of_route", "error", "of_gate"]
    assert named(compiled, 0, "log") == ["of_route", "of_gate"]
    assert named(compiled, None, "error") == ["error", "of_gate"]
    assert named(compiled, None, "rewrite") == ["rewrite"]


def test_startup_runs_as_listed_and_shutdown_backwards() -> None:
    gate = Gateway()

    @gate.startup
    def first() -> None: ...

    @gate.startup
    async def second() -> None: ...

    @gate.shutdown
    def close() -> None: ...

    gate.use(Tag())
    compiled = compile_gateway(gate)
    assert [hook.name.rpartition(".")[2] for hook in compiled.startup] == ["first", "second", "startup"]
    assert [hook.name.rpartition(".")[2] for hook in compiled.shutdown] == ["shutdown", "close"]
    assert [hook.phase for hook in compiled.hooks] == ["rewrite", "error"]


def test_a_hook_of_every_route_is_listed_once() -> None:
    gate = Gateway()
    gate.request(lambda request: None)
    for number in range(3):
        gate.route(f"/{number}", to="a:1")
    assert len(compile_gateway(gate).hooks) == 1


def test_a_routes_deadline_is_for_its_own_hooks() -> None:
    gate = Gateway()
    gate.request(lambda request: None)
    route = gate.route("/", to="a:1", deadline="1s", on_error="open")
    route.request(lambda request: None)
    route.request(deadline="2s", on_error="closed")(lambda request: None)
    hooks = compile_gateway(gate).hooks
    assert [(hook.deadline_ms, hook.on_error) for hook in hooks] == [
        (30000, "closed"),
        (1000, "open"),
        (2000, "closed"),
    ]


def routed(on: Any, *paths: str) -> list[list[str]]:
    gate = Gateway()
    for path in paths:
        gate.route(path, to="a:1")
    gate.use(OnRoute(), on=on)
    compiled = compile_gateway(gate)
    return [named(compiled, number, "request") for number in range(len(paths))]


def test_a_plugin_on_a_pattern_is_on_each_route_that_may_see_such_paths() -> None:
    assert routed("/api/*", "/api/v1", "/", "/other/*", "~x") == [["request"], ["request"], [], ["request"]]


def test_on_a_wider_route_a_plugin_looks_at_each_path() -> None:
    gate = Gateway()
    gate.route("/", to="a:1")
    gate.use(Tag(), on="/api/*")
    by_phase = {hook.phase: hook for hook in compile_gateway(gate).hooks}
    inside, outside = (SimpleNamespace(path=path, state=SimpleNamespace()) for path in ("/%61pi/x", "/x"))
    assert by_phase["request"].function(inside) == "plugin"
    assert by_phase["request"].function(outside) is None
    assert by_phase["response"].is_async
    assert asyncio.run(by_phase["response"].function(inside, None)) == "plugin"
    assert asyncio.run(by_phase["response"].function(outside, None)) is None


def test_a_plugin_on_a_narrower_route_is_called_directly() -> None:
    gate = Gateway()
    plugin = OnRoute()
    gate.route("/api/v1/*", to="a:1")
    gate.use(plugin, on="/api/*")
    assert compile_gateway(gate).hooks[0].function == plugin.request


def test_a_plugin_on_a_route_or_upstream_by_object_or_name() -> None:
    for by_name in (False, True):
        gate = Gateway()
        api = gate.upstream("api", "a:1")
        gate.route("/a", to=api)
        only = gate.route("/b", to="b:1", name="only")
        gate.use(OnRoute(), on="api" if by_name else api)
        gate.use(OnRoute(), on="only" if by_name else only)
        compiled = compile_gateway(gate)
        assert named(compiled, 0, "request") == ["request"]
        assert named(compiled, 1, "request") == ["request"]


def test_a_plugin_used_twice_runs_once() -> None:
    gate = Gateway()
    plugin = OnRoute()
    gate.route("/a/b", to="a:1")
    gate.use(plugin, on="/a/*")
    gate.use(plugin)
    assert named(compile_gateway(gate), 0, "request") == ["request"]


@pytest.mark.parametrize(("first", "second"), [("/a/*", None), (None, "/a/*")])
def test_a_plugin_used_everywhere_and_on_a_pattern_runs_once(first: str | None, second: str | None) -> None:
    gate = Gateway()
    plugin = OnRoute()
    gate.route("/", to="a:1")
    gate.use(plugin, on=first)
    gate.use(plugin, on=second)
    compiled = compile_gateway(gate)
    assert named(compiled, 0, "request") == ["request"]
    assert compiled.hooks[0].function == plugin.request


def test_a_plugin_on_two_patterns_runs_once_where_either_fits() -> None:
    gate = Gateway()
    plugin = Tag()
    gate.route("/", to="a:1")
    gate.route("/b/c", to="a:1")
    gate.use(plugin, on="/a/*")
    gate.use(plugin, on="/b*")
    compiled = compile_gateway(gate)
    assert named(compiled, 0, "request") == named(compiled, 1, "request") == ["request"]
    guarded = next(hook.function for hook in compiled.hooks if hook.phase == "request")
    paths = ("/a/x", "/b", "/c")
    assert [guarded(SimpleNamespace(path=path, state=SimpleNamespace())) for path in paths] == [
        "plugin",
        "plugin",
        None,
    ]
    assert len(compiled.startup) == 1


def test_what_a_plugin_is_used_on_must_exist() -> None:
    with pytest.raises(ConfigError, match="no route, upstream or listener `apo`"):
        routed("apo", "/")


def test_a_rewrite_hook_cannot_belong_to_a_route() -> None:
    gate = Gateway()
    route = gate.route("/", to="a:1")
    gate.use(Tag(), on=route)
    with pytest.raises(ConfigError, match="`rewrite` hook, which runs before a route is chosen"):
        compile_gateway(gate)


def test_a_route_that_does_nothing_is_refused() -> None:
    gate = Gateway()
    gate.route("/")
    with pytest.raises(ConfigError, match="route `/` does nothing"):
        compile_gateway(gate)
    gate.use(OnRoute())
    compile_gateway(gate)


def test_a_matcher_is_a_hook_of_its_own() -> None:
    gate = Gateway()
    gate.route("/", to="a:1", when=lambda request: True)
    compiled = compile_gateway(gate)
    assert json.loads(compiled.snapshot)["routes"][0]["function"] == 0
    assert (compiled.hooks[0].phase, compiled.hooks[0].is_async) == ("match", False)


def test_the_snapshot_says_all_the_engine_needs(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    gate = Gateway()
    gate._parts.folder = tmp_path
    gate.limits(max_body_bytes=0)
    gate.timeouts(connect="250ms")
    gate.access_log(to="file:access.log")
    gate.upstream("api", "a:1 fail_timeout=1m", timeouts={"upstream_head": "9s"})
    gate.route(
        "/a/*",
        to="api",
        host=["a.com", "*"],
        methods=["get"],
        headers={"x-a": "1"},
        query="q",
        strip_prefix="/a",
    )
    gate.route("/b", redirect="/c", priority=3)
    gate.route("/d", respond="hi")
    gate.route("/e/*", files="public", timeouts={"send": "1s"}, max_body_bytes="1k")
    gate.route("/f").request(lambda request: None)
    snapshot = json.loads(compile_gateway(gate).snapshot)
    assert snapshot["limits"]["max_body_bytes"] == NO_BOUND
    assert snapshot["timeouts"]["connect"] == 250
    assert snapshot["access_log"] == {
        "format": "json",
        "to": f"file:{tmp_path}/access.log",
        "flush": 1000,
        "buffer_bytes": 65536,
    }
    (api,) = snapshot["upstreams"]
    assert api["timeouts"] == {"queue": 5000, "connect": 250, "upstream_head": 9000, "upstream_idle": 60000}
    assert api["servers"][0] == {
        "address": "a:1",
        "tls": False,
        "weight": 1,
        "max_fails": 1,
        "fail_timeout": 60000,
        "backup": False,
        "max_connections": 0,
        "priority": 0,
        "zone": None,
        "metadata": {},
    }
    proxied, redirected, fixed, files, hooked = snapshot["routes"]
    assert proxied["action"] == {"proxy": {"upstream": 0}}
    assert (proxied["methods"], proxied["strip_prefix"]) == (["GET"], "/a")
    assert (proxied["headers"], proxied["queries"]) == ([["x-a", "1"]], [["q", None]])
    assert not {"hosts", "timeouts", "hooks", "priority"} & proxied.keys(), "as the engine's defaults are"
    assert redirected["action"] == {"redirect": {"status": 308, "location": "/c"}}
    assert redirected["priority"] == 3
    assert fixed["action"]["respond"]["headers"] == [["content-type", "text/plain; charset=utf-8"]]
    assert files["action"] == {"files": {"root": str(tmp_path / "public"), "index": ["index.html"]}}
    assert (files["timeouts"], files["max_body_bytes"]) == ({"send": 1000}, 1024)
    assert hooked["action"] == {"hooks": {}}


def test_routes_alike_get_names_apart() -> None:
    gate = Gateway()
    for _ in range(3):
        gate.route("/", to="a:1")
    assert [route["name"] for route in json.loads(compile_gateway(gate).snapshot)["routes"]] == [
        "/",
        "/ #2",
        "/ #3",
    ]


def test_the_engine_accepts_the_snapshot() -> None:
    core = pytest.importorskip("headgate._core")
    gate = Gateway()
    gate.upstream("api", "10.0.0.1:1 weight=2", "unix:/run/app.sock backup", balance="ip_hash")
    gate.route(
        "/{a}/x-{b}.json/{c:path}", to="api", host=["*.a.com", "b.*", "~^c"], headers={"x": "~1", "y": False}
    )
    gate.route(r"~^/(?<version>v\d+)/", redirect="https://{host}{path}?{query}", query={"a": True, "b": "1"})
    gate.route("/img*", respond=204, methods=["GET", "PURGE"])
    gate.access_log("{client} {status}", to="syslog:/dev/log")
    core.check(compile_gateway(gate).snapshot)
