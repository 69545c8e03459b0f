"""The gateway object: each call is checked at once, and told with the line it stands on."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Plugin, Response
from headgate.compile.order import compile_gateway


def line() -> int:
    """The line this is called on."""
    frame = inspect.currentframe()
    assert frame
    assert frame.f_back
    return frame.f_back.f_lineno


def test_the_designs_example_compiles() -> None:
    gate = Gateway()
    gate.listen(":8080")
    api = gate.upstream("api", "10.0.0.1:9000", "10.0.0.2:9000 weight=2", balance="least_conn")

    @gate.route("/api/{version}/*", host="*.example.com", to=api)
    async def api_access(request: Any) -> None: ...

    @api_access.response
    def stamp(request: Any, response: Any) -> None: ...

    gate.route("/", to=api)
    compiled = compile_gateway(gate)
    assert [listener.address for listener in compiled.listeners] == [":8080"]
    assert [(hook.phase, hook.is_async) for hook in compiled.hooks] == [
        ("request", True),
        ("response", False),
    ]
    assert compiled.config.upstreams["api"].servers[1].weight == 2


def test_a_decorator_works_bare_and_with_options() -> None:
    gate = Gateway()

    @gate.request
    def first(request: Any) -> None: ...

    @gate.request(deadline="2s", on_error="open")
    async def second(request: Any) -> None: ...

    gate.route("/", to="a:1")
    one, two = compile_gateway(gate).hooks
    assert (one.deadline_ms, one.on_error, one.function) == (30000, "closed", first)
    assert (two.deadline_ms, two.on_error, two.function) == (2000, "open", second)


def test_a_route_as_decorator_gives_the_route() -> None:
    gate = Gateway()
    route = gate.route("/x")
    assert route(lambda request: None) is route


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda gate: gate.listen("8080x"), "write `:8080`"),
        (lambda gate: gate.upstream("api", "a:1", balance="leastconn"), "did you mean `least_conn`?"),
        (lambda gate: gate.upstream("api", "a:1 wait=1"), "did you mean `weight`?"),
        (lambda gate: gate.upstream("a b", "a:1") and gate.config, "use letters"),
        (lambda gate: gate.limits(max_hed_bytes=1), "did you mean `max_head_bytes`?"),
        (lambda gate: gate.timeouts(connect="soon"), "write seconds"),
        (lambda gate: gate.access_log("jsn"), "did you mean `json`?"),
        (lambda gate: gate.error_log(level="inof"), "did you mean `info`?"),
        (lambda gate: gate.route("api"), "write `/api`"),
        (lambda gate: gate.route("/", to="a:1", on_error="opne"), "did you mean `open`?"),
        (lambda gate: gate.use(Plugin), "write `Plugin(...)`"),
        (lambda gate: gate.use(object()), "a plugin is a subclass"),
        (lambda gate: gate.route("/", to=Gateway().upstream("b", "b:1")), None),
        (lambda gate: gate.route("/", respond=Response(200, b"\xff")), "respond in a request hook"),
    ],
)
def test_a_wrong_call_is_told_at_once(call: Any, hint: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        call(Gateway())
    assert refused.value.file == __file__
    assert (refused.value.hint or "").startswith(hint or "")


def test_the_line_of_the_call_is_told() -> None:
    gate = Gateway()
    with pytest.raises(ConfigError) as refused:
        gate.workers(0)
    here = line() - 1
    assert refused.value.line == here


def test_an_upstream_is_named_once() -> None:
    gate = Gateway()
    gate.upstream("api", "a:1")
    with pytest.raises(ConfigError, match="`api` is already defined"):
        gate.upstream("api", "b:1")


def test_an_unknown_upstream_is_told_with_the_routes_line() -> None:
    gate = Gateway()
    gate.upstream("api", "a:1")
    gate.route("/", to="apo")
    here = line() - 1
    with pytest.raises(ConfigError) as refused:
        compile_gateway(gate)
    assert (refused.value.line, refused.value.hint) == (here, "did you mean `api`?")


def test_settings_are_merged_over_several_calls() -> None:
    gate = Gateway()
    gate.limits(max_body_bytes="1m")
    gate.limits(max_connections=5)
    gate.timeouts(connect=1)
    gate.forwarding(via=True)
    gate.access_log("combined", to="stderr")
    gate.request_id(None)
    gate.workers(3)
    gate.hook_defaults(deadline="1s", on_error="open")
    config = gate.config
    assert (config.limits.max_body_bytes, config.limits.max_connections) == (1 << 20, 5)
    assert (config.timeouts.connect, config.timeouts.send) == (1.0, 60.0)
    assert config.forwarding.via
    assert config.access_log and (config.access_log.format, config.access_log.to) == ("combined", "stderr")
    assert config.request_id_header is None
    assert (config.workers, config.hook_deadline, config.hook_on_error) == (3, 1.0, "open")


def test_a_response_can_be_fixed() -> None:
    gate = Gateway()
    gate.route("/", respond=Response.json({"up": True}, 201))
    response = gate.config.routes[0].respond
    assert response
    assert (response.status, response.body, response.headers) == (
        201,
        '{"up":true}',
        {"content-type": "application/json"},
    )


def test_files_start_at_the_folder_of_the_gateways_file() -> None:
    assert Gateway()._parts.folder == Path(__file__).parent
