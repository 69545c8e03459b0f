"""Upstreams that are spared for a while when they fail."""

from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import format_request

BAD = reply(b"bad", status="503 Bad")


def serve_one(serve: Serve, *servers: Origin, workers: int = 1, **breaker: object) -> RunningGateway:
    """A gateway whose circuit opens after three failures; the test kit's own first request has succeeded."""
    settings = {"min_requests": 4, "open": "300ms", **breaker}
    upstream = {
        "servers": [f"{one.address} max_fails=0" for one in servers],
        "balance": "first",
        "circuit_breaker": settings,
    }
    return serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "access_log": {}}, workers=workers)


def circuit(gateway: RunningGateway) -> dict[str, object] | None:
    """What `headgate status` says of the circuit."""
    servers = gateway.ask()["servers"]
    return next((one for one in servers if one["upstream"] == "u" and not one["server"]), None)


def trip(gateway: RunningGateway, count: int = 3) -> None:
    for _ in range(count):
        assert gateway.get("/bad").body == b"bad"


def test_upstream_that_fails_is_spared_then_tried(serve: Serve, origin: Origin) -> None:
    origin.on("/bad", BAD)
    origin.on("/good", reply(b"good"))
    gateway = serve_one(serve, origin, open="1h", max_open="1h", workers=2)
    while circuit(gateway) is None:  # each worker looks at a window that began with its own first request
        trip(gateway, 1)
    assert gateway.get("/good?refused").status == 503
    record = gateway.access_record(target="/good?refused")
    assert (record["error"], len(origin.at("/good"))) == ("circuit_open", 0)
    assert "upstream u: circuit open" in gateway.cli("status").stdout
    assert gateway.counter("circuits_opened") == 1 and gateway.counter("limit_circuit") == 1
    brief = serve_one(serve, origin)
    trip(brief)
    eventually(lambda: brief.get("/good").status == 200, "it is tried again")
    assert circuit(brief) is None
    assert [brief.get("/good").status for _ in range(6)] == [200] * 6
    trip(brief, 1)
    assert brief.get("/good").status == 200, "what was counted before is forgotten"


def test_share_of_failures_within_the_window_decides(serve: Serve, origin: Origin) -> None:
    origin.on("/bad", BAD)
    origin.on("/good", reply(b"good"))
    gateway = serve_one(
        serve, origin, min_requests=4, error_rate="75%", window="1h", open="1h", max_open="1h"
    )
    for _ in range(2):
        assert gateway.get("/good").status == 200
    trip(gateway, 8)
    assert circuit(gateway) is None, "eight of eleven"
    trip(gateway, 1)
    assert gateway.get("/good").status == 503, "nine of twelve"
    brief = serve_one(serve, origin, min_requests=50, window="1ms", open="1h", max_open="1h")
    with brief.client() as client:
        for _ in range(60):
            assert client.get("/bad").body == b"bad"


def test_failed_probe_opens_it_for_longer(serve: Serve, origin: Origin) -> None:
    origin.on("/bad", BAD)
    gateway = serve_one(serve, origin, open="300ms", max_open="1h")
    trip(gateway)
    eventually(lambda: gateway.get("/bad").body == b"bad", "it is tried again")
    gateway.wait_for_log("the circuit is open.*for_ms=600")
    capped = serve_one(serve, origin, open="300ms", max_open="400ms")
    trip(capped)
    eventually(lambda: capped.get("/bad").body == b"bad", "it is tried again")
    capped.wait_for_log("the circuit is open.*for_ms=400")


def test_probe_that_ends_otherwise_gives_its_place_back(serve: Serve, origin: Origin) -> None:
    origin.on("/bad", BAD)
    origin.on("/hang", hang)
    origin.on("/good", reply(b"good"))
    gateway = serve_one(serve, origin, open="1s", probes=2)
    trip(gateway)
    eventually(lambda: (circuit(gateway) or {}).get("ejected_ms") == 0, "it is half-open")
    probes = [gateway.client() for _ in range(2)]
    for number, client in enumerate(probes):
        client.send(format_request("GET", "/hang"))
        eventually(lambda number=number: len(origin.at("/hang")) == number + 1, "it is a probe")
    for client in probes:
        client.close()
    eventually(lambda: gateway.counter("client_disconnects") == 2, "the clients have left")
    assert gateway.get("/good").status == 200
    assert circuit(gateway) is not None, "one success is not enough"
    assert gateway.get("/good").status == 200
    assert circuit(gateway) is None


def test_what_counts_as_a_failure_is_configured(serve: Serve, origin: Origin) -> None:
    origin.on("/bad", BAD)
    origin.on("/missing", reply(b"missing", status="404 Not Found"))
    gateway = serve_one(serve, origin, failures=[404], open="1h", max_open="1h")
    trip(gateway, 5)
    for _ in range(6):
        assert gateway.get("/missing").status == 404
    assert gateway.get("/bad").body != b"bad", "it is open"


def test_no_retry_goes_on_when_the_circuit_has_opened(serve: Serve, origin: Origin) -> None:
    with Origin() as other:
        origin.on("/", lambda call: call.reset())
        other.on("/", reply(b"other"))
        gateway = serve_one(serve, origin, other, min_requests=1, error_rate="1%", open="1h", max_open="1h")
        assert gateway.get("/").status == 502, "the failure that opened it, not that it is open"
        assert not other.at("/")
        assert gateway.get("/").status == 503
