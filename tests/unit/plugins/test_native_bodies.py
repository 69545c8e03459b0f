"""Native actions around bodies: what decides on them is not called for what it does not concern, and chance is fair."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Plugin, Request, Response, ResponseView
from headgate.native import AskIf, AskSet, Native, Sample
from headgate.plugins import Compression, HarCapture, ResponseFaults
from headgate.testing import TestGateway

SERVER = "server.test:80"
TEXT = "some text that is said again and again " * 100
GZIP = {"accept-encoding": "gzip"}


def running(plugin: Plugin, server: Response | None = None, *, native: bool = True) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    return TestGateway(gate, upstreams={SERVER: server or page()}, native=native)


def page(*fields: tuple[str, str], status: int = 200, kind: str = "text/html") -> Response:
    return Response(status, TEXT, headers=[("content-type", kind), *fields])


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
    ("fields", "server", "calls"),
    [
        (GZIP, page(), ["response_body"]),
        ({}, page(), []),
        ({"accept-encoding": "br"}, page(), []),
        (GZIP, page(kind="image/png"), []),
        (GZIP, page(("content-encoding", "br")), []),
        (GZIP, Response(304), []),
        (GZIP | {"if-none-match": '"a"'}, page(), ["request", "response", "response_body"]),
        ({"accept-encoding": "gzip\xe9"}, page(), ["request", "response"]),
        (GZIP, page(kind="text/ht\xe9ml"), ["response", "response_body"]),
    ],
)
def test_only_bodies_that_are_compressed_are_seen(
    fields: dict[str, str], server: Response, calls: list[str]
) -> None:
    plugin = Compression()
    called = counted(plugin)
    with running(plugin, server) as gateway:
        response = gateway.get("/", fields)
    assert called == calls
    assert ("content-encoding" in response.headers) == (
        "response_body" in calls or "content-encoding" in server.headers
    )


@pytest.mark.parametrize("accept", ["", "gzip", "gzip;q=0", "x-gzip", "identity, gzip;q=0.1", "*", "br, a b"])
@pytest.mark.parametrize(
    "server",
    [
        page(("etag", '"a"'), ("vary", "Origin")),
        page(("vary", "accept-encoding"), ("cache-control", "No-Transform")),
        page(("etag", 'W/"a"'), ("vary", "*"), status=404),
        page(("etag", '"a"'), kind="TEXT/x ; charset=utf-8"),
        page(kind="text"),
        page(kind=""),
        page(("content-range", "bytes 0-1/2")),
        page(("content-encoding", "identity, x")),
        Response(200, "short", headers=[("content-type", "text/plain")]),
    ],
)
def test_heads_are_the_same_both_ways(accept: str, server: Response) -> None:
    told = []
    for native in (True, False):
        with running(Compression(), server, native=native) as gateway:
            response = gateway.get("/", {"accept-encoding": accept})
            fields = [one for one in response.headers.items() if one[0] not in ("date", "x-request-id")]
            told.append((response.status, fields, response.body))
    assert told[0] == told[1]


@pytest.mark.parametrize(("accept", "tag"), [("gzip", 'W/"a"'), ("", '"a"')])
def test_a_head_without_its_body_has_the_tag_that_it_would_have(accept: str, tag: str) -> None:
    for method, server in [
        ("HEAD", page(("etag", '"a"'))),
        ("GET", Response(304, headers=[("etag", '"a"')])),
    ]:
        with running(Compression(), server) as gateway:
            headers = gateway.request(method, "/", {"accept-encoding": accept}).headers
        assert headers["etag"] == tag and headers["vary"] == "Accept-Encoding"
        assert "content-encoding" not in headers
        # how long it would be is not known
        assert ("content-length" in headers) == (method == "HEAD" and not accept)


def test_a_request_that_is_not_sampled_is_seen_by_no_hook(tmp_path: Path) -> None:
    plugin = HarCapture(folder=tmp_path, percent=1e-9)
    called = counted(plugin)
    with running(plugin) as gateway:
        assert gateway.request("POST", "/", body="a").text == TEXT
    assert called == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("native", [True, False])
def test_a_request_that_is_sampled_is_written(tmp_path: Path, native: bool) -> None:
    with running(HarCapture(folder=tmp_path, percent=100), native=native) as gateway:
        gateway.request("POST", "/", body="a")
    [file] = tmp_path.iterdir()
    [entry] = json.loads(file.read_text())["log"]["entries"]
    assert entry["request"]["postData"]["text"] == "a"
    assert entry["response"]["content"]["text"] == TEXT


def test_about_as_many_are_sampled_as_should_be(tmp_path: Path) -> None:
    plugin = HarCapture(folder=tmp_path, percent=30)
    called = counted(plugin)
    with running(plugin) as gateway:
        for _ in range(400):
            gateway.get("/")
    # six standard deviations around 120
    assert 65 <= called.count("request") <= 175
    assert called.count("log") == called.count("request")


@pytest.mark.parametrize("native", [True, False])
def test_each_fault_hits_as_often_as_is_said(native: bool) -> None:
    settings = {"truncate": {"percent": 40}, "slow": {"bytes_per_second": 1e9, "percent": 30}}
    plugin = ResponseFaults(**settings)
    seen: list[tuple[bool, bool]] = []
    choose = plugin.response

    def noted(request: Request, response: ResponseView) -> None:
        choose(request, response)
        fault = vars(request.state).get(plugin._key)
        if fault is not None:
            seen.append((fault.truncate is not None, fault.slow is not None))

    async def unharmed(*_: Any) -> None:
        pass

    plugin.response, plugin.response_body = noted, unharmed  # type: ignore[method-assign, assignment]
    with running(plugin, native=native) as gateway:
        for _ in range(400):
            gateway.get("/")
    breaks, slows = (sum(one[at] for one in seen) for at in (0, 1))
    both = seen.count((True, True))
    # six standard deviations around 160, 120 and 48 of 400
    assert 102 <= breaks <= 218 and 65 <= slows <= 175 and 9 <= both <= 87


def test_a_fault_that_is_not_chosen_leaves_the_body_alone() -> None:
    plugin = ResponseFaults(truncate={"percent": 1e-9})
    called = counted(plugin)
    with running(plugin) as gateway:
        assert gateway.get("/").text == TEXT
    assert called == []


class Marked(Plugin):
    """Sees bodies of requests that another hook has marked."""

    def native(self) -> Native:
        return Native(request_body=[AskSet("marked")], response_body=[AskSet("marked")])

    def request(self, request: Request) -> None:
        if "x-mark" in request.headers:
            request.state.marked = None

    def request_body(self, request: Request, chunk: bytes, last: bool) -> bytes:
        return chunk.upper()

    def response_body(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
        return chunk.upper()


def test_hooks_tell_actions_of_bodies_what_they_have_set() -> None:
    with running(Marked()) as gateway:
        assert gateway.request("POST", "/", body="a").text == TEXT
        assert gateway.request("POST", "/", {"x-mark": "1"}, body="a").text == TEXT.upper()
        assert [one.body for one in gateway.received] == [b"a", b"A"]


class Wrong(Plugin):
    def native(self) -> Native:
        return self.said

    def request(self, request: Request) -> None:
        pass

    def response_body(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> None:
        pass


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (Native(response_body=[AskIf(fields=["x-a"])]), "does not fit hooks of phase `response_body`"),
        (Native(response_body=[Sample(1, "a")]), "does not fit hooks of phase `response_body`"),
        (Native(request=[Sample(101, "a")]), "`101` is not a valid percentage"),
        (Native(request_body=[]), "has no hook for"),
    ],
)
def test_wrong_actions_are_refused(said: Native, problem: str) -> None:
    plugin = Wrong()
    plugin.said = said  # type: ignore[attr-defined]
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    with pytest.raises(ConfigError, match=problem):
        TestGateway(gate)
