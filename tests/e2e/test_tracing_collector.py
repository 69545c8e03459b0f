"""Spans in OpenTelemetry's own collector: what it has read of them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import Origin, Serve, eventually, free_port
from e2e.kit.receivers import BUILD_COLLECTOR, Collector, Span, collector, collector_program

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(collector_program() is None, reason=f"no collector here (hint: `{BUILD_COLLECTOR}`)"),
]

TARGET = "/shop/cart%0A'x"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVER, CLIENT, INTERNAL = 2, 3, 1
GATE = """
from headgate import Gateway, Request, Response
gate = Gateway()
gate.listen(LISTEN)
gate.tracing(COLLECTOR, sample=0, service="edge")
app = gate.upstream("app", {"address": DEAD, "max_fails": 0}, ORIGIN)

@gate.route("/shop/*", to=app, name="shop")
async def look(request: Request) -> None:
    await request.fetch("/inner")

@gate.route("/inner", name="inner")
def inner(request: Request) -> Response:
    return Response(200, "in")

gate.route("/broken", to=DEAD, name="broken")
gate.route("/", to=ORIGIN, name="rest")
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Collector]:
    with Origin() as sink, collector(tmp_path, sink) as running:
        yield running


def names(receiver: Collector, origin: Origin) -> dict[str, str]:
    return {"COLLECTOR": receiver.otlp, "DEAD": f"127.0.0.1:{free_port()}", "ORIGIN": origin.address}


def server_of(span: Span) -> str:
    return f"{span.attributes['server.address']}:{span.attributes['server.port']}"


def test_a_request_with_its_attempts_hooks_and_fetches_is_one_trace(
    serve: Serve, origin: Origin, receiver: Collector
) -> None:
    given = names(receiver, origin)
    gateway = serve(GATE, names=given)
    fields = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "shop=1"), ("user-agent", "\xff")]
    before = time.time_ns()
    for _ in range(2):  # one of them begins at the server that is not there
        assert gateway.get(f"{TARGET}?secret=1", fields).status == 200

    def spans() -> list[Span]:
        return [span for span in receiver.spans if span.trace == TRACE]

    def failed() -> list[Span]:
        return [span for span in spans() if span.attributes.get("error.type") == "connect_failed"]

    eventually(failed, "the attempt that failed", within=60)
    own = eventually(lambda: [one for one in spans() if one.id == failed()[0].parent], "its request")[0]
    # the request: the client's span is its parent, which is not here
    assert (own.parent, own.service, own.name, own.kind) == (PARENT, "edge", "GET shop", SERVER)
    wanted = {
        "http.request.method": "GET",
        "http.route": "shop",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": TARGET,
        "client.address": "127.0.0.1",
        "server.address": "gate.test",
    }
    assert wanted.items() <= own.attributes.items()
    assert own.attributes.keys() == {*wanted, "headgate.request_id"} and not own.is_error
    assert before < own.start_ns <= own.end_ns < time.time_ns()
    below = [span for span in spans() if span.parent == own.id]
    # to a microsecond, which is what the worker's clock tells
    assert all(own.start_ns <= span.start_ns <= span.end_ns <= own.end_ns + 1_000 for span in below)
    # its attempts: the first one failed, the second one is what the server was told as its parent
    first, second = [span for span in below if span.kind == CLIENT and span.name == "GET"]
    assert (server_of(first), first.is_error) == (given["DEAD"], True)
    assert (server_of(second), second.is_error) == (origin.address, False)
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    calls = origin.at(TARGET)
    assert f"00-{TRACE}-{second.id}-01" in [call.get("traceparent") for call in calls]
    assert {call.get("tracestate") for call in calls} == {"shop=1"}
    # its hook, and what that has fetched
    (hook,) = [span for span in below if span.kind == INTERNAL]
    assert hook.name.startswith("request ") and hook.name.endswith("look")
    (fetch,) = [span for span in below if span.name == "GET fetch"]
    assert (fetch.kind, fetch.attributes["url.path"]) == (CLIENT, "/inner")
    assert gateway.counter("trace_spans_dropped") == 0


def test_what_failed_comes_though_it_was_not_sampled(
    serve: Serve, origin: Origin, receiver: Collector
) -> None:
    gateway = serve(GATE, names=names(receiver, origin))
    for _ in range(10):
        assert gateway.get("/fine").status == 200
    assert gateway.get("/broken").status == 502
    eventually(lambda: len(of_broken(receiver)) == 2, "the spans of what failed", within=20)
    own, attempt = of_broken(receiver)
    assert (own.name, own.parent, own.is_error) == ("GET broken", "", True)
    assert own.attributes["http.response.status_code"] == 502
    assert own.attributes["error.type"] == attempt.attributes["error.type"] == "connect_failed"
    assert (attempt.parent, attempt.is_error) == (own.id, True)
    assert not [span for span in receiver.spans if span.attributes.get("url.path") == "/fine"]


def of_broken(receiver: Collector) -> list[Span]:
    traces = {span.trace for span in receiver.spans if span.attributes.get("http.route") == "broken"}
    return sorted((span for span in receiver.spans if span.trace in traces), key=lambda span: span.kind)


def test_all_of_what_is_sampled_comes(serve: Serve, origin: Origin, receiver: Collector) -> None:
    gateway = serve(GATE.replace("sample=0", "sample=1"), names=names(receiver, origin))
    for number in range(50):
        gateway.get(f"/{number}")
    gateway.stop()  # which sends what is left
    own = {span.attributes.get("url.path"): span for span in receiver.spans if span.kind == SERVER}
    parents = [span.parent for span in receiver.spans if span.kind == CLIENT]
    assert all(parents.count(own[f"/{number}"].id) == 1 for number in range(50))
