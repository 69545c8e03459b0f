"""Traces: what clients and servers are told, what is recorded, and that a collector delays nobody."""

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.client import format_request
from e2e.kit.origin import PROBE_PATH
from e2e.kit.otlp import exported, rejecting

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """Takes exports, and responds as configured."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        """The statuses of the next responses; then always 200."""
        self.retry_after = ""
        """What a refusal says of it."""
        self.response, self.content_type = b"", "application/x-protobuf"
        """That to an export which is taken."""
        self.exports = 0
        self.services: list[str] = []
        self.origin = Origin()
        self.origin.on("/v1/traces", self._take)

    def _take(self, call: Call) -> None:
        self.exports += 1
        call.read_body()
        if self.statuses:
            fields = [("Retry-After", self.retry_after)] if self.retry_after else []
            call.respond(b"{}", fields=fields, status=f"{self.statuses.pop(0)} Told")
            return
        assert call.get("content-type") == "application/x-protobuf"
        services, spans = exported(call.read_body())
        self.services += services
        self.all += spans
        call.respond(self.response, fields=[("Content-Type", self.content_type)])

    @property
    def url(self) -> str:
        return f"http://{self.origin.address}"

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All but those of the kit's probes."""
        probes = {span["traceId"] for span in self.all if attribute(span, "url.path") == PROBE_PATH}
        return [span for span in self.all if span["traceId"] not in probes]

    def of_kind(self, kind: int) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["kind"] == kind]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.origin.stop()


def traced(serve: Serve, origin: Origin, collector: Collector, **options: Any) -> RunningGateway:
    return serve(
        {
            "tracing": {"otlp": collector.url, "service": "edge", **options},
            "upstreams": {"app": {"servers": [origin.address]}},
            "routes": [{"to": "app", "name": "api"}],
            "access_log": {"flush": "50ms"},
        }
    )


def attribute(span: dict[str, Any], key: str) -> Any:
    found = [one["value"] for one in span["attributes"] if one["key"] == key]
    return next(iter(found[0].values())) if found else None


def server_of(span: dict[str, Any]) -> str:
    return f"{attribute(span, 'server.address')}:{attribute(span, 'server.port')}"


def test_a_request_is_one_trace_from_the_client_to_the_server(
    serve: Serve, origin: Origin, collector: Collector
) -> None:
    gateway = traced(serve, origin, collector, sample=0)
    fields = [("traceparent", PARENT + "1"), ("tracestate", "a=1"), ("baggage", "user=7")]
    assert gateway.get("/in-trace?x=1", fields).status == 200
    told = origin.wait_for("/in-trace")
    assert (told.get("tracestate"), told.get("baggage")) == ("a=1", "user=7")
    version, trace, span, flags = (told.get("traceparent") or "").split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    eventually(lambda: len(collector.spans) == 2, "both spans", within=20)
    (server,), (client,) = collector.of_kind(2), collector.of_kind(3)
    assert server["traceId"] == client["traceId"] == TRACE
    assert server["parentSpanId"] == "b7ad6b7169203331" and client["parentSpanId"] == server["spanId"]
    assert client["spanId"] == span
    assert server["name"] == "GET api" and attribute(server, "http.response.status_code") == "200"
    assert attribute(server, "url.path") == "/in-trace"
    assert server_of(client) == origin.address and attribute(client, "http.request.resend_count") is None
    start, end = int(server["startTimeUnixNano"]), int(server["endTimeUnixNano"])
    assert start <= int(client["startTimeUnixNano"]) <= int(client["endTimeUnixNano"]) <= end
    assert abs(start / 1e9 - time.time()) < 60
    record = gateway.access_record(target="/in-trace?x=1")
    assert (record["trace_id"], record["span_id"]) == (TRACE, server["spanId"])
    assert gateway.counter("trace_spans_sent") >= 2 and set(collector.services) == {"edge"}


@pytest.mark.parametrize(
    ("said", "options", "flags"),
    [
        ("1", {"sample": 0}, "01"),
        ("0", {"sample": "100%"}, "00"),
        ("1", {"sample": 0, "parent_based": False}, "00"),
        ("0", {"sample": 1, "parent_based": False}, "01"),
        (None, {"sample": 0}, "00"),
        (None, {"sample": 1}, "01"),
    ],
)
def test_servers_are_told_the_decision(
    serve: Serve,
    origin: Origin,
    collector: Collector,
    said: str | None,
    options: dict[str, Any],
    flags: str,
) -> None:
    gateway = traced(serve, origin, collector, **options)
    fields = [("traceparent", PARENT + said)] if said else []
    gateway.get("/decided", fields)
    told = origin.wait_for("/decided").get("traceparent") or ""
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-" + flags, told)
    assert (TRACE in told) is (said is not None)


@pytest.mark.parametrize(
    "fields",
    [
        [("traceparent", "00-zz")],
        [("traceparent", PARENT + "1"), ("traceparent", PARENT + "1")],
        [("traceparent", "\x7f" * 55)],
        [("traceparent", f"00-{'0' * 32}-b7ad6b7169203331-01")],
    ],
)
def test_a_parent_that_is_not_valid_begins_a_new_trace(
    serve: Serve, origin: Origin, collector: Collector, fields: list[tuple[str, str]]
) -> None:
    gateway = traced(serve, origin, collector)
    with gateway.client() as client:
        client.send(format_request("GET", "/new", [*fields, ("tracestate", "a=1")]))
        if client.response().status == 400:
            return  # no field value at all
    told = origin.wait_for("/new")
    assert len(told.all("traceparent")) == 1 and TRACE not in (told.get("traceparent") or "")
    assert told.get("tracestate") is None


def test_errors_and_slow_requests_are_recorded_though_nobody_asked(
    serve: Serve, origin: Origin, collector: Collector
) -> None:
    def late(call: Call) -> None:
        threading.Event().wait(3.2)  # what is measured is this delay
        call.respond(b"late")

    origin.on("/late", late)
    origin.on("/broken", lambda call: call.respond(b"broken", status="503 Broken"))
    gateway = traced(serve, origin, collector, sample=0, slow="3s")
    for path in ("/fast", "/late", "/broken"):
        gateway.get(path)
    eventually(
        lambda: len(collector.spans) == 4, "the slow one and the broken one, with their attempts", within=20
    )
    slow, broken = collector.of_kind(2)
    assert (attribute(slow, "url.path"), slow["status"]) == ("/late", {})
    assert (attribute(broken, "url.path"), broken["status"]) == ("/broken", {"code": 2})
    for kept, attempt in zip((slow, broken), collector.of_kind(3), strict=True):
        assert (attempt["traceId"], attempt["parentSpanId"]) == (kept["traceId"], kept["spanId"])
        told = origin.wait_for(attribute(kept, "url.path")).get("traceparent")
        assert told == f"00-{kept['traceId']}-{attempt['spanId']}-00"  # which was decided before


def test_each_attempt_and_each_hook_has_a_span(serve: Serve, origin: Origin, collector: Collector) -> None:
    dead = f"127.0.0.1:{free_port()}"
    gateway = serve(
        """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.tracing(COLLECTOR, sample=1)
app = gate.upstream("app", {"address": DEAD, "max_fails": 0}, ORIGIN)  # tried again after the kit's probe

@gate.route("/*", to=app)
def look(request):
    assert "traceparent" in request.headers
""",
        names={"COLLECTOR": collector.url, "DEAD": dead, "ORIGIN": origin.address},
    )
    gateway.get("/twice")
    gateway.get("/twice")

    def both() -> list[dict[str, Any]] | None:
        failed = [span for span in collector.of_kind(3) if server_of(span) == dead]
        return failed if failed and collector.of_kind(1) else None

    failed = eventually(both, "an attempt at the dead server", within=20)
    assert (
        failed
        and failed[0]["status"] == {"code": 2}
        and attribute(failed[0], "error.type") == "connect_failed"
    )
    again = [
        span
        for span in collector.of_kind(3)
        if span["traceId"] == failed[0]["traceId"] and span["spanId"] != failed[0]["spanId"]
    ]
    assert [attribute(span, "http.request.resend_count") for span in again] == ["1"]
    assert attribute(collector.of_kind(1)[0], "headgate.phase") == "request"


FETCHING = """
from headgate import FetchError, Gateway, Request, Response
gate = Gateway()
gate.listen(LISTEN)
gate.tracing(COLLECTOR, sample=1)

@gate.route("/both")
async def both(request: Request) -> Response:
    one = await request.fetch("/inner?secret=1")
    two = await request.fetch("/gone", headers={"traceparent": OWN})
    try:
        await request.fetch("/slow", timeout=0.05)
    except FetchError:
        pass
    told = await one.text()
    return Response(200, f"{two.status} {request.headers['baggage']} {told}")

@gate.route("/inner")
def inner(request: Request) -> Response:
    return Response(200, request.headers["traceparent"])

@gate.route("/slow")
async def slow(request: Request) -> Response:
    import asyncio
    await asyncio.sleep(1)
    return Response(200)
"""


def test_a_fetch_from_the_own_routes_is_a_span_which_what_it_fetches_is_told_as_its_parent(
    serve: Serve, collector: Collector
) -> None:
    own = f"00-{'1' * 32}-{'2' * 16}-00"
    gateway = serve(FETCHING, names={"COLLECTOR": collector.url, "OWN": own})
    response = gateway.get("/both", fields=[("traceparent", f"{PARENT}1"), ("baggage", "user=7")])
    status, baggage, told = response.text.split()
    assert (status, baggage) == ("404", "user=7")
    eventually(lambda: collector.of_kind(2), "the request's span", within=20)
    spans = {attribute(span, "url.path"): span for span in collector.of_kind(2)}
    fetches = {attribute(span, "url.path"): span for span in collector.of_kind(3)}
    # a fetch whose hook names a parent of its own is its own affair
    assert sorted(fetches) == ["/inner", "/slow"]
    assert {fetch["parentSpanId"] for fetch in fetches.values()} == {spans["/both"]["spanId"]}
    assert told == f"00-{TRACE}-{fetches['/inner']['spanId']}-01"
    assert {span["traceId"] for span in collector.spans} == {TRACE}
    assert attribute(fetches["/inner"], "http.response.status_code") == "200"
    assert fetches["/inner"]["status"] == {}
    assert attribute(fetches["/slow"], "error.type") == "timeout" and fetches["/slow"]["status"] == {
        "code": 2
    }


def test_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    serve: Serve, origin: Origin, collector: Collector
) -> None:
    gateway = traced(serve, origin, collector, sample=1)
    eventually(lambda: collector.all, "the export of the kit's probes", within=20)
    before = collector.exports
    collector.statuses = [503, 429]
    gateway.get("/again")
    eventually(lambda: len(collector.spans) == 2, "the third export", within=30)
    assert gateway.counter("trace_spans_dropped") == 0
    collector.statuses = [400]
    gateway.get("/refused")
    eventually(lambda: gateway.counter("trace_spans_dropped") == 2, "both are dropped", within=20)
    assert collector.exports == before + 4


@pytest.mark.parametrize(
    ("status", "lost"), [(429, 0), (502, 0), (503, 0), (504, 0), (400, 2), (404, 2), (413, 2), (500, 2)]
)
def test_only_what_may_pass_is_sent_again_when_the_collector_says(
    serve: Serve, origin: Origin, collector: Collector, status: int, lost: int
) -> None:
    gateway = traced(serve, origin, collector, sample=1)
    eventually(lambda: collector.all, "the export of the kit's probes", within=20)
    sent = gateway.counter("trace_spans_sent")
    collector.statuses = [status]
    collector.retry_after = "0"
    gateway.get("/told")
    taken = 2 - lost
    eventually(
        lambda: (
            gateway.counter("trace_spans_sent") == sent + taken
            and gateway.counter("trace_spans_dropped") == lost
            and len(collector.spans) == taken
        ),
        "both spans are taken or lost",
        within=20,
    )


def test_spans_that_the_collector_has_rejected_are_counted_as_lost(
    serve: Serve, origin: Origin, collector: Collector
) -> None:
    gateway = traced(serve, origin, collector, sample=1)
    eventually(lambda: collector.all, "the export of the kit's probes", within=20)
    sent, exports = gateway.counter("trace_spans_sent"), collector.exports
    collector.response = rejecting(1, "too old")
    gateway.get("/half")
    eventually(lambda: gateway.counter("trace_spans_dropped") == 1, "the rejected one", within=20)
    assert (gateway.counter("trace_spans_sent"), collector.exports) == (sent + 1, exports + 1)
    # one that responds in JSON to what was no JSON
    collector.content_type = "application/json"
    collector.response = b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}'
    gateway.get("/none")
    eventually(lambda: gateway.counter("trace_spans_dropped") == 3, "both are rejected", within=20)
    assert (gateway.counter("trace_spans_sent"), collector.exports) == (sent + 1, exports + 2)


def test_collector_that_never_answers_delays_neither_requests_nor_the_stop(
    serve: Serve, origin: Origin
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        gateway = serve(
            {
                "tracing": {"otlp": f"http://127.0.0.1:{deaf.getsockname()[1]}", "sample": 1},
                "routes": [{"to": origin.address}],
            }
        )
        for _ in range(20):
            assert gateway.get("/").status == 200
        began = time.monotonic()
        gateway.signal(signal.SIGQUIT)
        assert gateway.process.wait(timeout=20) == 0
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\r\n\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n" + b"\xff" * 9,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{]\x00\xff",
        b"HTTP/1.1 503 Later\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["no HTTP", "cut", "long", "no Protocol Buffers", "no JSON", "a pause without end"],
)
def test_collector_that_says_garbage_harms_neither_requests_nor_the_stop(
    serve: Serve, origin: Origin, garbage: bytes
) -> None:
    asked = threading.Event()

    def respond() -> None:
        while True:
            try:
                line, _ = listener.accept()
                with line:
                    line.recv(65536)
                    line.sendall(garbage)
                    line.shutdown(socket.SHUT_WR)
            except OSError:
                if listener.fileno() < 0:
                    return
            asked.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=respond, daemon=True).start()
        gateway = serve(
            {
                "tracing": {"otlp": f"http://127.0.0.1:{listener.getsockname()[1]}", "sample": 1},
                "routes": [{"to": origin.address}],
            }
        )
        (worker,) = gateway.workers
        assert gateway.get("/first").status == 200
        assert asked.wait(20)
        for _ in range(20):
            assert gateway.get("/").status == 200
        assert gateway.workers == [worker] and "panic" not in gateway.log()
        began = time.monotonic()
        gateway.signal(signal.SIGQUIT)
        assert gateway.process.wait(timeout=20) == 0
        assert time.monotonic() - began < 10


def test_what_is_recorded_last_is_sent_before_the_worker_ends(
    serve: Serve, origin: Origin, collector: Collector
) -> None:
    gateway = traced(serve, origin, collector, sample=1)
    assert gateway.get("/last").status == 200
    gateway.signal(signal.SIGQUIT)
    assert gateway.process.wait(timeout=20) == 0
    assert "/last" in [attribute(span, "url.path") for span in collector.of_kind(2)]


def test_hostile_values_are_escaped(serve: Serve, origin: Origin, collector: Collector) -> None:
    gateway = traced(serve, origin, collector, sample=1)
    gateway.get("/%00\\u{}'script'%0a\\", [("User-Agent", '"}]}')])
    eventually(lambda: collector.of_kind(2), "an export that can be read", within=20)
    assert attribute(collector.of_kind(2)[0], "url.path").startswith("/%00\\u{}'script'")
