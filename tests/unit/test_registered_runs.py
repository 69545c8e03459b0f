"""What is registered runs, or is refused when it is loaded: each thing that takes hooks, times each phase."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headgate import Gateway, Plugin, Response
from headgate.compile.order import compile_gateway
from headgate.config.errors import ConfigError
from headgate.listener import Listener, StreamListener
from headgate.phases import PHASES
from headgate.route import Route
from headgate.testing import Fault, TestGateway

OF_REQUESTS = [name for name, phase in PHASES.items() if phase.scope in ("gateway", "route")]
OF_ROUTES = [name for name, phase in PHASES.items() if phase.scope == "route"]
TO_SERVERS = {name for name, phase in PHASES.items() if phase.to_server}
ELSEWHERE = {"websocket_message", "error", "retry"}
"""Phases of their own kinds of request: the tests below have one each."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise ValueError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"from the application"})


def proxied(gate: Gateway, folder: Path) -> Route:
    return gate.route("/x/*", to="server.test:80")


def mounted(gate: Gateway, folder: Path) -> Route:
    return gate.mount("/x", app)


def files(gate: Gateway, folder: Path) -> Route:
    (folder / "page").write_text("a file")
    return gate.route("/x/*", files=str(folder), strip_prefix="/x")


def redirected(gate: Gateway, folder: Path) -> Route:
    return gate.route("/x/*", redirect="/elsewhere")


def fixed(gate: Gateway, folder: Path) -> Route:
    return gate.route("/x/*", respond="a fixed reply")


def hooked(gate: Gateway, folder: Path) -> Route:
    return gate.route("/x/*")(lambda request: Response(200, "from the function"))


KINDS: list[Callable[[Gateway, Path], Route]] = [proxied, mounted, files, redirected, fixed, hooked]


def spy(phase: str, seen: list[str], name: str = "") -> Callable[..., None]:
    arguments = ", ".join(PHASES[phase].arguments)
    made: dict[str, Any] = {}
    exec(f"def make(seen):\n def hook({arguments}): seen.append({name or phase!r})\n return hook", made)
    return made["make"](seen)


class Spying(Plugin):
    """Has a hook of each phase of a request."""

    def setup(self) -> None:
        self.seen: list[str] = []


for one in OF_REQUESTS:
    arguments = ", ".join(("self", *PHASES[one].arguments))
    body: dict[str, Any] = {}
    exec(f"def {one}({arguments}): self.seen.append({one!r})", body)
    setattr(Spying, one, body[one])
Spying.phases = tuple(OF_REQUESTS)


def reached(kind: Callable[[Gateway, Path], Route]) -> set[str]:
    """The phases of a request that this kind of route serves without an error."""
    return set(OF_ROUTES) - ELSEWHERE - (set() if kind is proxied else TO_SERVERS)


def ask(gate: Gateway, fault: Any = None) -> None:
    servers = (
        {"server.test:80": fault or Response(200, "from the server")} if gate.config.every_upstream() else {}
    )
    with TestGateway(gate, upstreams=servers) as gateway:
        is_file = any(route.files for route in gate.config.routes)
        response = gateway.get("/x/page") if is_file else gateway.post("/x/page", "a body")
        assert (response.status < 400) == (fault is None)
        gateway.until(lambda: gateway.records)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", OF_ROUTES)
def test_hook_of_a_route(kind: Callable[[Gateway, Path], Route], phase: str, tmp_path: Path) -> None:
    gate, seen = Gateway(), list[str]()
    route = kind(gate, tmp_path)
    getattr(route, phase)(spy(phase, seen))
    never = kind not in (proxied, hooked) and phase in TO_SERVERS
    if never and not (kind is mounted and phase == "websocket_message"):  # applications have WebSockets
        with pytest.raises(ConfigError, match=f"the `{phase}` hook `.*` would never run: "):
            compile_gateway(gate)
        return
    if phase in ELSEWHERE:
        compile_gateway(gate)
        return
    ask(gate)
    assert bool(seen) == (phase in reached(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_of_the_gateway(kind: Callable[[Gateway, Path], Route], tmp_path: Path) -> None:
    gate, seen = Gateway(), list[str]()
    for phase in OF_REQUESTS:
        getattr(gate, phase)(spy(phase, seen))
    kind(gate, tmp_path)
    ask(gate)
    assert set(seen) == reached(kind) | {"rewrite"}


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_of_a_plugin(kind: Callable[[Gateway, Path], Route], tmp_path: Path) -> None:
    gate, plugin = Gateway(), Spying()
    kind(gate, tmp_path)
    gate.use(plugin)
    ask(gate)
    assert set(plugin.seen) == reached(kind) | {"rewrite"}


def test_plugin_on_what_reaches_no_server_is_refused() -> None:
    class Checks(Plugin):
        def request_body(self, request: Any, chunk: bytes, last: bool) -> None: ...

    for on in ("/x/*", "app"):
        gate = Gateway()
        gate.mount("/x", app, name="app")
        gate.use(Checks(), on=on)
        with pytest.raises(ConfigError, match="`request_body` hook of plugin `Checks` would never run"):
            compile_gateway(gate)


@pytest.mark.parametrize("kind", KINDS)
def test_an_access_check_below_the_responding_hook_runs_before_it(
    kind: Callable[[Gateway, Path], Route], tmp_path: Path
) -> None:
    gate = Gateway()
    route = kind(gate, tmp_path)
    route.request(lambda request: Response(403, "not from here"))
    servers = {"server.test:80": "from the server"} if kind is proxied else {}
    with TestGateway(gate, upstreams=servers) as gateway:
        response = gateway.get("/x/page")
        assert (response.status, response.text) == (403, "not from here")


def test_an_application_gets_the_body_that_a_check_has_read() -> None:
    read: list[bytes] = []

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            read.append((await receive())["body"])
            await app(scope, receive, send)

    async def check(request: Any) -> None:
        read.append(await request.body())

    gate = Gateway()
    gate.mount("/x", echo).request(check)
    with TestGateway(gate) as gateway:
        assert gateway.post("/x", "the body").status == 200
    assert read == [b"the body", b"the body"]


@pytest.mark.parametrize("of", ["gateway", "route", "plugin"])
def test_error_hooks_run_when_the_server_fails(of: str, tmp_path: Path) -> None:
    gate, seen, plugin = Gateway(), list[str](), Spying()
    route = proxied(gate, tmp_path)
    if of == "plugin":
        gate.use(plugin)
    else:
        (route if of == "route" else gate).error(spy("error", seen))
    ask(gate, Fault.REFUSE)
    assert "error" in (*seen, *plugin.seen)


@pytest.mark.parametrize("of", ["gateway", "route", "plugin"])
def test_retry_hooks_run_when_another_server_may_be_asked(of: str) -> None:
    gate, seen, plugin = Gateway(), list[str](), Spying()
    servers = gate.upstream("app", "first.test:80", "second.test:80", balance="first")
    route = gate.route("/x", to=servers)
    if of == "plugin":
        gate.use(plugin)
    else:
        (route if of == "route" else gate).retry(spy("retry", seen))
    responses: dict[str, Any] = {"first.test:80": Fault.REFUSE, "second.test:80": "from the second"}
    with TestGateway(gate, upstreams=responses) as gateway:
        assert gateway.get("/x").text == "from the second"
    assert [one for one in (*seen, *plugin.seen) if one == "retry"] == ["retry"]


def test_error_hooks_of_the_gateway_run_without_a_route() -> None:
    gate, seen = Gateway(), list[str]()
    gate.error(spy("error", seen))
    gate.log(spy("log", seen))
    with TestGateway(gate) as gateway:
        assert gateway.get("/nowhere").status == 404
        gateway.until(lambda: "log" in seen)
    assert seen == ["error", "log"]


def test_subrequests_pass_the_hooks_of_their_route(tmp_path: Path) -> None:
    gate, seen = Gateway(), list[str]()
    fixed(gate, tmp_path).request(spy("request", seen))

    @gate.route("/outer")
    async def outer(request: Any) -> Response:
        inner = await request.fetch("/x/page")
        return Response(inner.status)

    with TestGateway(gate) as gateway:
        assert gateway.get("/outer").status == 200
    assert seen == ["request"]


def plain(gate: Gateway) -> Listener | StreamListener:
    return gate.listen(":8080")


def udp(gate: Gateway) -> Listener | StreamListener:
    return gate.listen_udp(":53", to="127.0.0.1:9053")


def tcp(gate: Gateway) -> Listener | StreamListener:
    return gate.listen_tcp(":25", to="127.0.0.1:9025")


@pytest.mark.parametrize("listen", [plain, tcp, udp])
def test_hooks_on_tls_where_there_is_none_are_refused(
    listen: Callable[[Gateway], Listener | StreamListener],
) -> None:
    gate = Gateway()
    listen(gate).client_hello(spy("client_hello", []))
    with pytest.raises(ConfigError, match=r"would never run: listener `.*` has neither"):
        compile_gateway(gate)
    gate = Gateway()
    listen(gate)
    gate.client_hello(spy("client_hello", []))
    with pytest.raises(ConfigError, match="would never run: no listener has `tls`"):
        compile_gateway(gate)


def test_things_without_requests_of_their_own_take_no_hooks() -> None:
    gate = Gateway()
    gate.listen(":443", tls_passthrough=True)
    upstream = gate.upstream("server", "127.0.0.1:9000")
    assert not any(hasattr(upstream, phase) for phase in PHASES)
    assert gate.tls_route("example.com", to=upstream) is None  # type: ignore[func-returns-value]


def test_access_check_of_the_example_application_holds() -> None:
    example = Path(__file__).parents[2] / "examples" / "asgi_app.py"
    with TestGateway(example) as gateway:
        assert gateway.get("/admin/x").status == 200
        assert gateway.get("/admin/x", address="192.0.2.7").status == 403
