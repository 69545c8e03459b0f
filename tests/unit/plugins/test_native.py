"""Native actions: requests get the same by them as by the hooks in Python, which are called only where they must be.

How it works: the same requests go to two gateways, one with native actions and one without; what clients and servers
got is compared, and hooks that were called are counted.
"""

import hmac
import re
import tempfile
from collections.abc import Callable
from time import time as now
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

import headgate.plugins
from headgate import ConfigError, Gateway, Plugin, PluginContext, Request, Response, ResponseView
from headgate.native import (
    AskBeyond,
    AskIf,
    CorsFields,
    EditFields,
    EndNoted,
    KnownKey,
    Native,
    NotedField,
    Part,
    Passed,
    Remember,
    SetId,
    SetState,
    SignedTarget,
)
from headgate.native.telling import PARTS, native_hook
from headgate.plugins import BUILT_IN, Cors, KeyAuth, RateLimit, RequestId, SecurityHeaders, UriBlocker
from headgate.testing import TestGateway

SERVER = "server.test:80"
VOLATILE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|;t=\d+|csrf=[^;]+|<meta.*>")
UNSEEN = {"date", "x-request-id", "via"}
A = "https://a.example"
B = "192.0.2.77"
KEY = "0123456789abcdef"
TRAP = {"interval": 0.01, "duration": 0.001}


class Ask(NamedTuple):
    headers: dict[str, str] = {}
    target: str = "/a?b=1"
    method: str = "GET"
    address: str = "192.0.2.1"
    body: str | None = None


def origin(value: str, **more: Any) -> Ask:
    return Ask({"origin": value}, **more)


def nonce(value: str, ago: int = 0, time: str | None = None) -> Ask:
    return Ask({"x-nonce": value, "x-timestamp": str(int(now()) + ago) if time is None else time})


def signed(
    target: str,
    left: int = 500,
    *,
    method: str = "GET",
    end: str | None = None,
    after: str = "",
    key: str = KEY,
    change: Callable[[str], str] = str,
) -> Ask:
    end = str(int(now()) + left) if end is None else end
    target = f"{target}{'&' if '?' in target else '?'}expires={end}{after}"
    mac = hmac.digest(key.encode(), f"GET\n{target}".encode("utf-8", "surrogateescape"), "sha256").hex()
    return Ask(target=f"{target}&signature={change(mac)}", method=method)


PREFLIGHT = Ask({"origin": A, "access-control-request-method": "PUT"}, method="OPTIONS")
CASES: list[tuple[str, dict[str, Any], list[Ask]]] = [
    (
        "cors",
        {"origins": [A], "credentials": True, "expose": ["x-a"]},
        [Ask(), origin(A), origin("https://b.example")],
    ),
    (
        "cors",
        {"origins": [A]},
        [PREFLIGHT, Ask(method="OPTIONS"), origin(A, method="OPTIONS"), origin("null")],
    ),
    ("cors", {"origins": ["*"]}, [Ask(), origin(A), PREFLIGHT]),
    (
        "cors",
        {"origins": [A, r"~https://[a-z]+\.b\.example", "null"]},
        [origin("https://x.b.example"), origin("null"), origin(A)],
    ),
    (
        "headers",
        {
            "request": {
                "remove": ["x-gone", "x-debug-*"],
                "rename": {"x-old": "x-new"},
                "set": {"x-set": "1", "x-from": "=request.client.address", "x-how": "=request.method"},
                "add": {"x-add": "2"},
                "default": {"x-def": "3", "x-had": "4"},
            },
            "response": {
                "remove": ["x-server"],
                "set": {"x-r": "ä"},
                "add": {"vary": "x"},
                "default": {"x-s": "5"},
            },
        },
        [
            Ask(),
            Ask(
                {"X-Gone": "a", "X-Debug-A": "b", "x-DEBUG-b": "c", "X-Old": "d", "x-add": "e", "x-had": "f"}
            ),
        ],
    ),
    ("headers", {"request": {"map": [{"header": "x-a", "pattern": "b", "by": "c"}]}}, [Ask({"x-a": "abc"})]),
    ("response-rewrite", {"headers": {"set": {"x-a": "b"}, "remove": ["x-server"]}}, [Ask()]),
    ("response-rewrite", {"status": 203, "headers": {"set": {"x-a": "b"}}}, [Ask()]),
    (
        "ip-restriction",
        {"deny": ["192.0.2.0/25"]},
        [Ask(), Ask(address="192.0.2.200"), Ask(address="192.0.2.200"), Ask()],
    ),
    (
        "ip-restriction",
        {"allow": ["2001:db8::/32"]},
        [Ask(), Ask(address="2001:db8::1"), Ask(address="2001:db8::1")],
    ),
    (
        "ua-restriction",
        {"deny": ["curl"], "missing": False},
        [Ask({"user-agent": name}) for name in ("a", "a", "xCURL", "")],
    ),
    ("ua-restriction", {"deny": ["curl"]}, [Ask(), Ask({"user-agent": ""}), Ask()]),
    (
        "uri-blocker",
        {"block": ["/.git", "ä", r"~\.(bak|sql)$"]},
        [Ask(target=one) for one in ("/%C3%A4", "/%C3%84", "/a.SQL", "/a.sqlx", "/a")],
    ),
    (
        "uri-blocker",
        {"block": ["/.git", r"~\.(bak|sql)$", "~^/x"], "query": False},
        [
            Ask(target=one)
            for one in ("/a.SQL", "/a.sqlx", "/a", "/%2egit", "/%252egit", "/X", "/a?/x.sql", "/%ff")
        ],
    ),
    ("uri-blocker", {"block": ["/.git"]}, [Ask(), Ask(target="/%2egit"), Ask(), Ask(target="/a?b=/.GIT")]),
    (
        "request-size",
        {
            "target": 10,
            "query_params": 2,
            "header_fields": 2,
            "header_bytes": 60,
            "body": 3,
            "require_length": True,
        },
        [
            Ask(),
            Ask(target="/aaaaaaaaaa"),
            Ask(target="/?a&b&c"),
            Ask({"x-a": "a", "x-b": "b", "x-c": "c"}),
            Ask({"x-a": "a" * 60}),
            Ask(method="POST", body="abcd"),
            Ask(method="POST", body="abc"),
        ],
    ),
    ("request-id", {}, [Ask(), Ask({"x-correlation-id": "mine-mine"})]),
    ("request-id", {"accept": True, "response": False}, [Ask(), Ask({"x-correlation-id": "mine-mine"})]),
    (
        "request-id",
        {"accept": True, "header": "x-id"},
        [Ask({"x-id": id}) for id in ("short", "good-enough", "bad one here")],
    ),
    ("security-headers", {"frame_options": None, "permissions_policy": "camera=()"}, [Ask()]),
    ("security-headers", {"content_security_policy": "default-src 'self'", "hsts": None}, [Ask()]),
    (
        "key-auth",
        {"keys": {"alice": ["a", "ä"], "bob": "b"}},
        [
            Ask(),
            *(Ask({"x-api-key": key}) for key in ("a", "b", "c", "", "ä")),
            Ask({"x-consumer": "eve", "x-api-key": "a"}),
        ],
    ),
    (
        "key-auth",
        {"keys": {"alice": "a"}, "anonymous": "nobody"},
        [Ask(), Ask({"x-api-key": "a"}), Ask({"x-api-key": "b"})],
    ),
    ("key-auth", {"keys": {"alice": "a"}, "query": "key"}, [Ask(target="/?key=a"), Ask({"x-api-key": "a"})]),
    ("rate-limit", {"rate": "3/h"}, [Ask()] * 5 + [Ask(address="192.0.2.2"), Ask()]),
    ("rate-limit", {"rate": "3/h", "algorithm": "sliding-window"}, [Ask()] * 5),
    ("rate-limit", {"rate": ["4/h", "2/m"], "burst": 3}, [Ask()] * 5),
    ("rate-limit", {"rate": "1/h", "fields": False}, [Ask()] * 2),
    (
        "rate-limit",
        {"rate": "1/h", "by": "header:x-a"},
        [Ask({"x-a": name}) for name in ("a", "b", "a", "", "ä", "c" * 90)],
    ),
    ("rate-limit", {"rate": "1/h", "by": "{host}{path}"}, [Ask(), Ask(target="/b"), Ask(target="/b"), Ask()]),
    (
        "rate-limit",
        {"rate": "1/h", "ipv6_prefix": 48},
        [Ask(address=one) for one in ("2001:db8:1::1", "2001:db8:1:9::2", "unix:")],
    ),
    ("quota", {"amount": 3, "period": "year", "by": "address"}, [Ask()] * 5 + [Ask(address="192.0.2.2")]),
    (
        "quota",
        {"amount": 2, "period": "month", "by": "{route}{header:x-a}"},
        [Ask({"x-a": "b"})] * 4 + [Ask()],
    ),
    ("quota", {"amount": 1, "period": "year", "fields": False, "by": "address"}, [Ask()] * 2),
    (
        "csrf",
        {"secret": "0123456789abcdef", "session_cookie": "s"},
        [Ask(), Ask({"cookie": "s=1"}), Ask(method="POST")],
    ),
    ("concurrency-limit", {"limit": 1}, [Ask()] * 3 + [Ask(address="2001:db8::1")]),
    ("concurrency-limit", {"limit": 1, "by": "{cookie:a}"}, [Ask()] * 2),
    ("honeypot", {}, [Ask(), Ask(), Ask(address=B), Ask(target="/.env", address=B), Ask(address=B)]),
    ("honeypot", {"after": 2}, [Ask(target="/.env"), Ask(), Ask(), Ask(target="/%2eenv"), Ask()]),
    ("tarpit", TRAP, [Ask(), Ask(), Ask(target="/.env"), Ask(), Ask(target="/.ENV")]),
    (
        "tarpit",
        TRAP | {"remember": 60},
        [Ask(), Ask(address=B), Ask(target="/.env", address=B), Ask(address=B), Ask()],
    ),
    (
        "replay-protection",
        {},
        [
            *[
                nonce("12345678"),
                nonce("12345678"),
                nonce("123456789", -290),
                nonce("other-nonce", -310),
                Ask(),
            ],
            *[nonce("other-nonce", 310), nonce("1234567"), nonce("a" * 201), nonce("12345678", time="1e9")],
            *[nonce("abcdefgh", time="-1"), nonce("abcdefgh", time=""), nonce("ä2345678"), nonce("abcdefgh")],
        ],
    ),
    (
        "signed-urls",
        {"keys": ["another-key-12345", KEY], "longest": 1000},
        [
            *[
                Ask(),
                signed("/a"),
                signed("/a", method="HEAD"),
                signed("/a?b=1"),
                signed("/a?b=1", after="&c=%20"),
            ],
            *[
                signed("/a", -1),
                signed("/a", 2000),
                signed("/a", after="&expires=1"),
                signed("/a", after=";expires=1"),
            ],
            *[
                signed("/a", after="&"),
                signed("/a?"),
                signed("/a?&"),
                signed("/a//b"),
                signed("/a/../b"),
                signed("/%c3%a4"),
            ],
            *[signed("/a?b=?&c"), signed("/a", end="x"), signed("/a", key="0" * 16), signed("/a")],
            *[signed("/a", change=str.upper), signed("/a", change=lambda mac: mac + "0")],
            *[signed("/a", change=lambda mac: mac[:-1]), signed("/a", change=lambda mac: "%c3" + mac[3:])],
        ],
    ),
]


def made(name: str, settings: dict[str, Any]) -> Plugin:
    kind: type[Plugin] = getattr(headgate.plugins, BUILT_IN[name].rpartition(":")[2])
    return kind(**settings)


def serve(request: Request) -> Response:
    return Response(
        200, "served", headers=[("x-server", "1"), ("server", "s"), ("access-control-allow-origin", "x")]
    )


def outcome(gate: Gateway, asks: list[Ask], *, native: bool) -> list[Any]:
    """What clients and the server got, and what hooks found in `request.state`."""
    found: list[Any] = []
    with TestGateway(gate, upstreams={SERVER: serve}, native=native) as gateway:
        for ask in asks:
            before = len(gateway.received)
            response = gateway.request(
                ask.method, ask.target, headers=ask.headers, address=ask.address, body=ask.body
            )
            told = [sorted(plain(one.headers)) for one in gateway.received[before:]]
            kept = response.record.state
            state = {name: VOLATILE.sub("*", str(kept.get(name))) for name in ("request_id", "consumer")}
            found.append(
                (
                    response.status,
                    sorted(plain(response.headers)),
                    VOLATILE.sub("*", response.text),
                    told,
                    state,
                )
            )
    return found


def plain(headers: Any) -> list[tuple[str, str]]:
    fields = ((name.lower(), VOLATILE.sub("*", value)) for name, value in headers.raw)
    # a second may pass in between
    return [(name, "*" if name == "retry-after" else value) for name, value in fields if name not in UNSEEN]


def gate_of(*plugins: Plugin) -> Gateway:
    gate = Gateway()
    gate.route("/", to=gate.upstream("server", SERVER))
    for plugin in plugins:
        gate.use(plugin)
    return gate


@pytest.mark.parametrize(
    ("name", "settings", "asks"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_actions_do_what_hooks_do(name: str, settings: dict[str, Any], asks: list[Ask]) -> None:
    natively = outcome(gate_of(made(name, settings)), asks, native=True)
    in_python = outcome(gate_of(made(name, settings)), asks, native=False)
    assert natively == in_python


def counted(plugin: Plugin) -> list[str]:
    """The hooks of a plugin that are called, as they are."""
    called: list[str] = []

    def count(phase: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            called.append(phase)
            return hook(*arguments)

        return call

    for phase in type(plugin).phases:
        setattr(plugin, phase, count(phase, getattr(plugin, phase)))
    return called


@pytest.mark.parametrize(
    ("name", "settings", "asks", "calls"),
    [
        ("cors", {"origins": [A]}, [Ask(), origin(A), origin("https://b.example")], []),
        ("cors", {"origins": [A]}, [PREFLIGHT], ["request", "response"]),
        (
            "cors",
            {"origins": [A, "~https://b.example"]},
            [origin(A), origin("https://b.example")],
            ["response"],
        ),
        ("headers", {"request": {"set": {"x-a": "b"}}, "response": {"set": {"x-a": "b"}}}, [Ask()], []),
        ("headers", {"request": {"set": {"x-a": "=request.path"}}}, [Ask()], ["request"]),
        (
            "ip-restriction",
            {"deny": ["192.0.2.9"]},
            [Ask(), Ask(), Ask(address="192.0.2.9")],
            ["request"] * 2,
        ),
        (
            "uri-blocker",
            {"block": ["/.git"]},
            [
                Ask(),
                Ask(target="/a%20b"),
                Ask(target="/" + "a" * 300),
                Ask(target="/%2egit"),
                Ask(target="/%c3"),
            ],
            ["request"] * 2,
        ),
        ("request-size", {"target": 5}, [Ask(target="/aaaa"), Ask(target="/aaaaa")], ["request"]),
        ("request-id", {}, [Ask()] * 3, []),
        ("security-headers", {}, [Ask()], []),
        (
            "security-headers",
            {"content_security_policy": "script-src 'nonce-{nonce}'"},
            [Ask()],
            ["request", "response"],
        ),
        ("key-auth", {"keys": {"alice": "a"}}, [Ask({"x-api-key": "a"})], []),
        ("key-auth", {"keys": {"alice": "a"}}, [Ask({"x-api-key": "b"}), Ask()], ["request"] * 2),
        ("rate-limit", {"rate": "2/h"}, [Ask()] * 2, []),
        ("quota", {"amount": 3, "period": "year", "by": "address"}, [Ask()] * 3, ["request", "response"]),
        ("quota", {"amount": 3, "period": "year"}, [Ask()] * 2, ["request", "response"] * 2),
        ("rate-limit", {"rate": "2/h"}, [Ask()] * 3, ["request", "response"]),
        ("rate-limit", {"rate": "2/h", "by": "{cookie:a}"}, [Ask()], ["request", "response"]),
        ("concurrency-limit", {"limit": 1}, [Ask()] * 3, []),
        ("concurrency-limit", {"limit": 1, "by": "{cookie:a}"}, [Ask()], ["request", "log"]),
        ("honeypot", {}, [Ask()] * 3, []),
        ("honeypot", {}, [Ask(target="/.env"), Ask(), Ask()], ["request"] * 3),
        ("tarpit", TRAP, [Ask()] * 3, []),
        ("tarpit", TRAP | {"remember": 9}, [Ask(target="/.env"), Ask()], ["request", "log"] * 2),
        ("replay-protection", {}, [nonce("12345678"), nonce("12345679")], []),
        ("replay-protection", {}, [nonce("12345678")] * 2, ["request"]),
        ("signed-urls", {"keys": [KEY]}, [signed("/a"), signed("/a", method="HEAD")], []),
        ("signed-urls", {"keys": [KEY]}, [signed("/a", -1)], ["request"]),
        (
            "api-discovery",
            {"file": f"{tempfile.gettempdir()}/headgate-native.json"},
            [Ask()] * 3,
            ["shutdown"],
        ),
    ],
)
def test_hooks_are_called_only_where_they_must_be(
    name: str, settings: dict[str, Any], asks: list[Ask], calls: list[str]
) -> None:
    plugin = made(name, settings)
    called = counted(plugin)
    outcome(gate_of(plugin), asks, native=True)
    assert called == calls


def test_uses_with_conditions_or_in_report_mode_run_in_python() -> None:
    plugins = [RequestId(header=f"x-{n}") for n in range(3)]
    called = [counted(plugin) for plugin in plugins]
    gate = Gateway()
    gate.route("/", respond="in")
    gate.use(plugins[0], when='request.method == "GET"')
    gate.use(plugins[1], mode="report")
    with TestGateway(gate) as gateway:
        headers = gateway.get("/").headers
    assert "x-0" in headers and "x-1" not in headers
    assert called == [["request", "response"], ["request", "response"], []]


@pytest.mark.parametrize("kind", [RequestId, SecurityHeaders])
def test_two_that_tell_each_other_something_run_in_python_where_they_meet(kind: type[Plugin]) -> None:
    everywhere, there = kind(), kind()
    called = counted(everywhere), counted(there)
    gate = Gateway()
    gate.route("/a", respond="a", name="a")
    gate.route("/b", respond="b")
    gate.use(everywhere)
    gate.use(there, on="a", name="there")
    with TestGateway(gate) as gateway:
        gateway.get("/b")
        assert called == ([], [])
        gateway.get("/a")
    assert called == (["request", "response"], ["request", "response"])


def test_a_subclass_that_does_something_else_is_called() -> None:
    class Mine(Cors):
        def response(self, request: Request, response: ResponseView) -> None:
            response.headers["x-mine"] = "1"

    gate = Gateway()
    gate.route("/", respond="in")
    gate.use(Mine(origins=["*"]))
    with TestGateway(gate) as gateway:
        assert gateway.get("/").headers["x-mine"] == "1"


def test_order_among_hooks_in_python_is_kept() -> None:
    gate = Gateway()
    seen: list[tuple[str | None, str | None]] = []

    @gate.route("/", respond="in")
    def own(request: Request) -> None:
        seen.append((request.headers.get("x-a"), getattr(request.state, "consumer", None)))

    first = headgate.plugins.Headers(request={"set": {"x-a": "1"}})
    gate.use(KeyAuth(keys={"alice": "a"}))
    gate.use(first)
    with TestGateway(gate) as gateway:
        assert gateway.get("/", {"x-api-key": "a"}).status == 200
    assert seen == [("1", "alice")]


@pytest.mark.parametrize("is_told", [False, True])
def test_consumers_that_actions_tell_are_counted_by_name(is_told: bool) -> None:
    limit = RateLimit(rate="2/h", by="consumer")
    called = counted(limit)
    gate = Gateway()

    class Look(Plugin):
        order = 50

        def request(self, request: Request) -> None:
            request.state.seen = True

    gate.route("/", respond="in")
    gate.use(KeyAuth(keys={"alice": ["a", "b"], "bob": "c"}))
    gate.use(limit)
    if is_told:
        gate.use(Look())
    with TestGateway(gate) as gateway:
        statuses = [gateway.get("/", {"x-api-key": key}).status for key in "abcab"]
    assert statuses == [200, 200, 200, 429, 429]
    assert called == ["request", "response"] * (5 if is_told else 2)


def test_state_that_a_hook_has_set_stays() -> None:
    gate = Gateway()

    class Early(Plugin):
        order = -1000

        def request(self, request: Request) -> None:
            request.state.request_id = "mine"

    gate.route("/", respond="in")
    gate.use(Early())
    gate.use(RequestId())
    with TestGateway(gate) as gateway:
        assert gateway.get("/").record.state["request_id"] == "mine"


def test_while_hooks_are_inspected_they_are_called() -> None:
    import contextvars

    plugin = RequestId()
    called = counted(plugin)
    gate = Gateway()
    gate.route("/", respond="in")
    gate.use(plugin)
    with TestGateway(gate) as gateway:
        gateway._core.name_requests(contextvars.ContextVar[Any]("request"))
        gateway.get("/")
        gateway._core.name_requests(None)
        gateway.get("/")
    assert called == ["request", "response"]


class Doubtful(Plugin):
    """Fails for some, and lets the others pass."""

    passed = Passed

    class Config(BaseModel):
        """Nothing."""

    def setup(self, context: PluginContext) -> None:
        self._passed = Passed()
        self._calls: list[str] = []

    def native(self) -> Native:
        return Native(request=[Remember(["path"], self._passed)])

    def request(self, request: Request) -> Response | None:
        self._calls.append(request.path)
        if request.path == "/bad":
            raise RuntimeError("no")
        return Response(403) if request.path == "/no" else None


def test_what_failed_or_was_refused_is_not_remembered() -> None:
    plugin = Doubtful()
    gate = Gateway()
    gate.route("/*", respond="in")
    gate.use(plugin, on_error="open")
    with TestGateway(gate, raise_errors=False) as gateway:
        statuses = [gateway.get(path).status for path in ("/bad", "/bad", "/no", "/no", "/ok", "/ok", "/ok")]
        assert statuses == [200, 200, 403, 403, 200, 200, 200]
        assert plugin._calls == ["/bad", "/bad", "/no", "/no", "/ok"]
        assert len(plugin._passed) == 1
        plugin._passed.clear()
        gateway.get("/ok")
    assert plugin._calls[-1] == "/ok" and len(plugin._calls) == 6


def test_a_file_of_networks_that_changes_is_asked_again(tmp_path: Any) -> None:
    file = tmp_path / "deny"
    file.write_text("192.0.2.9\n")
    plugin = headgate.plugins.IpRestriction(deny_file=str(file))
    gate = Gateway()
    gate.route("/", respond="in")
    gate.use(plugin)
    with TestGateway(gate) as gateway:
        assert [gateway.get("/", address="192.0.2.1").status for _ in range(2)] == [200, 200]
        file.write_text("192.0.2.0/24\n")
        plugin._reread()
        assert gateway.get("/", address="192.0.2.1").status == 403


def test_parts_of_requests_are_values() -> None:
    class Tell(Plugin):
        def native(self) -> Native:
            names = ("address", "method", "host", "path", "query", "target", "scheme", "route", "header:x-a")
            return Native(
                response=[EditFields(set={f"x-{name.replace(':', '-')}": Part(name) for name in names})]
            )

        def response(self, request: Request, response: ResponseView) -> None:
            raise AssertionError("it is never called")

    gate = Gateway()
    gate.route("/*", respond="in", name="here")
    gate.use(Tell())
    with TestGateway(gate) as gateway:
        headers = gateway.get("/p?q=1", {"x-a": "b", "host": "h.example"}, address="192.0.2.5").headers
    wanted = {"address": "192.0.2.5", "method": "GET", "host": "h.example", "path": "/p", "query": "q=1"}
    wanted |= {"target": "/p?q=1", "scheme": "http", "route": "here", "header-x-a": "b"}
    assert {name: headers[f"x-{name}"] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (Native(request=[EditFields(set={"a b": "c"})]), "a b"),
        (Native(request=[EditFields(set={"content-length": "1"})]), "content-length"),
        (Native(request=[EditFields(remove=["host"])]), "host"),
        (Native(request=[AskIf(fields=["Host"])]), "Host"),
        (Native(request=[EditFields(), AskBeyond(target=1)]), "put it first"),
        (Native(response=[NotedField("x-a", "n"), NotedField("x-b", "n")]), "put it first"),
        (Native(request=[SetId("x y", "n", "s")]), "x y"),
        (Native(request=[EndNoted("n")]), "`EndNoted` and `TallyCall` are for `log`"),
        (Native(request=[SetState("s", "colour")]), "colour"),
        (Native(request=[SignedTarget(["0g"], "e", "s")]), "a key is not in hex"),
        (Native(request=[KnownKey("x-a", [("00", "alice")], "x-b", "consumer")]), "64 hex digits"),
        (Native(request=[Remember(["colour"], Passed())]), "colour"),
        (Native(request=[Remember(["header:x a"], Passed())]), "`x a` is not a field name"),
        (Native(request=[Remember(["header:é"], Passed())]), "`é` is not a field name"),
        (Native(request=[AskIf(fields=["x a"])]), "`x a` is not a field name"),
        (Native(request=[AskIf(methods=["GE T"])]), "`GE T` is not a valid method"),
        (Native(request=[AskIf(other_methods=[""])]), "`` is not a valid method"),
        (Native(request=[EditFields(remove=["x a"])]), "`x a` is not a field name"),
        (Native(request=[EditFields(rename={"x a": "x-b"})]), "`x a` is not a field name"),
        (Native(request=[EditFields(rename={"x-a": "x b"})]), "`x b` is not a field name"),
        (Native(request=[EditFields(set={"x-a": Part("header:x a")})]), "`x a` is not a field name"),
        (Native(request=[EditFields(scheme="HTTPS")]), "`HTTPS` is not a valid scheme"),
        (Native(request=[KnownKey("x-a", [], "x b", "consumer")]), "`x b` is not a field name"),
        (Native(response=[CorsFields(["https://a b"])]), "`https://a b` is not a valid origin"),
        ("all of it", "return a `headgate.native.Native`"),
    ],
)
def test_actions_that_are_not_valid_are_refused_when_loaded(said: Any, refusal: str) -> None:
    class Wrong(Plugin):
        def native(self) -> Native:
            return said  # type: ignore[no-any-return]

        def request(self, request: Request) -> None: ...

        def response(self, request: Request, response: ResponseView) -> None: ...

    with pytest.raises(ConfigError, match=re.escape(refusal)):
        native_hook(Wrong(), "response" if getattr(said, "response", None) else "request")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            Native(request=[Remember(["hots"], Passed())]),
            "`hots` is not a valid part of a request\n  hint: one of `address`, `host`, `method`, `path`, `query`, "
            "`target`, `scheme`, `route`, `header:NAME`",
        ),
        (
            Native(request=[EditFields(set={"a b": "c"})]),
            "`a b` is not a field name\n  hint: letters, digits and - . _ only",
        ),
        (
            Native(response=[EditFields(set={"x-a": "b"})]),
            "`native` of plugin `Wrong` has actions for `response`, which the plugin has no hook for\n"
            "  hint: define `response`: actions run in the place of a hook",
        ),
    ],
)
def test_a_refusal_of_actions_has_one_hint_that_says_what_to_write(said: Native, told: str) -> None:
    class Wrong(Plugin):
        def native(self) -> Native:
            return said

        def request(self, request: Request) -> None: ...

    with pytest.raises(ConfigError) as raised:
        native_hook(Wrong(), "request")
    assert str(raised.value).endswith(told)


def test_the_parts_of_requests_that_hints_name_are_those_of_the_engine() -> None:
    class Sees(Plugin):
        def native(self) -> Native:
            return Native(request=[Remember([*PARTS, "header:x-a"], Passed())])

        def request(self, request: Request) -> None: ...

    assert native_hook(Sees(), "request")


def test_times_of_native_actions_are_counted() -> None:
    gate = gate_of(RateLimit(rate="5/h"), UriBlocker(block=["/x"]))
    with TestGateway(gate, upstreams={SERVER: serve}) as gateway:
        for _ in range(3):
            gateway.get("/a")
        names = [hook.name for hook in gateway._compiled.hooks]
        calls = [times[0] for times in gateway._core.hook_times()]
    assert dict(zip(names, calls, strict=False))["RateLimit.request"] == 3


@pytest.mark.parametrize("is_told", [False, True])
def test_nonces_of_consumers_are_their_own(is_told: bool) -> None:
    plugin = headgate.plugins.ReplayProtection()
    called = counted(plugin)
    gate = Gateway()

    class Look(Plugin):
        order = 20

        def request(self, request: Request) -> None:
            request.state.seen = True

    gate.route("/", respond="in")
    gate.use(KeyAuth(keys={"alice": "a", "bob": "b"}))
    gate.use(plugin)
    if is_told:
        gate.use(Look())
    with TestGateway(gate) as gateway:
        asked = [gateway.get("/", {"x-api-key": key, **nonce("12345678").headers}).status for key in "abab"]
    assert asked == [200, 200, 403, 403]
    assert called == ["request"] * 2
