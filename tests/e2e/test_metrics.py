"""Metrics: what a gateway counts, and that the sums are right whatever becomes of its processes."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import HEADGATE, Call, Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.client import format_request
from e2e.kit.metrics import Scrape, get, scrape
from e2e.kit.pki import Authority

REQUESTS = "headgate_requests_total"
TOOK = "headgate_request_duration_seconds"


def gate(serve: Serve, source: dict[str, Any], **options: Any) -> tuple[RunningGateway, str]:
    """A gateway with metrics, and where they are."""
    address = f"127.0.0.1:{free_port()}"
    return serve({"metrics": address, **source}, **options), address


def until(gateway: RunningGateway, address: str, what: str, is_there: Any, **options: Any) -> Scrape:
    """A scrape that tells what is waited for."""

    def look() -> Scrape | None:
        found = scrape(gateway, address, **options)
        return found if is_there(found) else None

    found = eventually(look, what, within=20)
    assert found is not None
    return found


def test_requests_are_counted_by_route_upstream_method_and_status(serve: Serve, origin: Origin) -> None:
    gateway, address = gate(
        serve,
        {
            "upstreams": {"app": {"servers": [origin.address]}},
            "routes": [
                {"path": "/app/*", "to": "app", "name": "api"},
                {"path": "/fixed", "respond": {"status": 201, "body": "made"}, "name": 'a"b\\c\nd'},
            ],
        },
        workers=2,
    )
    for _ in range(3):
        assert gateway.get("/app/x").status == 200
    with gateway.client() as client:
        client.request("BREW", "/fixed")
    assert gateway.get("/nowhere").status == 404
    with gateway.client() as client:
        client.send(b"GET /\x01 HTTP/1.1\r\n\r\n")
        assert client.response().status == 400
    found = until(
        gateway,
        address,
        "all are counted",
        lambda one: one.value(REQUESTS, status="4xx", method="other") >= 1,
    )
    assert found.value(REQUESTS, route="api", upstream="app", method="GET", status="2xx") == 3
    assert found.value(REQUESTS, route='a"b\\c\nd', method="other", status="2xx", upstream="") == 1
    assert found.value("headgate_responses_total", code="201") == 1
    assert found.value(f"{TOOK}_count", route="api") == 3
    assert found.value(f"{TOOK}_bucket", route="api", le="+Inf") == 3
    assert 0 < found.value(f"{TOOK}_sum", route="api") < 30
    assert found.value("headgate_upstream_response_seconds_count", upstream="app", server=origin.address) == 3
    assert found.value("headgate_upstream_server_up", upstream="app") == 1
    assert found.value("headgate_response_bytes_total", route="api") > 0
    assert found.value("headgate_failures_total", kind="no_route", source="client") >= 1
    assert found.value("headgate_workers", state="ready") == 2
    assert found.value("headgate_build_info") == 1
    assert found.value("headgate_connections_accepted_total") >= 4


def test_retries_and_failed_attempts_are_told_by_server(serve: Serve, origin: Origin) -> None:
    dead = f"127.0.0.1:{free_port()}"
    gateway, address = gate(
        serve,
        {
            "upstreams": {"app": {"servers": [{"address": dead, "max_fails": 1000}, origin.address]}},
            "routes": [{"to": "app"}],
        },
    )
    for _ in range(6):
        assert gateway.get("/").status == 200
    found = until(
        gateway,
        address,
        "attempts at the dead server",
        lambda one: one.value("headgate_upstream_failures_total", server=dead) >= 2,
    )
    assert found.value("headgate_upstream_retries_total", server=origin.address) >= 2
    assert found.value("headgate_upstream_failures_total", server=origin.address) == 0


def test_both_formats_are_what_their_parsers_take_and_exemplars_are_in_one(
    serve: Serve, origin: Origin
) -> None:
    gateway, address = gate(serve, {"routes": [{"to": origin.address, "name": "api"}]})
    gateway.get("/")
    found = until(gateway, address, "an exemplar", lambda one: " # {" in one.text, openmetrics=True)
    assert found.text.endswith("# EOF\n")
    exemplars = [one.exemplar for one in found.all(f"{TOOK}_bucket", route="api") if one.exemplar]
    assert len(exemplars) == 1 and re.fullmatch("[0-9a-f]{32}", exemplars[0].labels["request_id"])
    plain = scrape(gateway, address)
    assert "EOF" not in plain.text and " # {" not in plain.text
    for accept, kind in [
        ("*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0"),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.1", "text/plain; version=0.0.4"),
        ("", "text/plain; version=0.0.4"),
    ]:
        assert (get(address, Accept=accept).get("content-type") or "").startswith(kind), accept


def test_buckets_are_fine_enough_for_percentiles(serve: Serve) -> None:
    gateway, address = gate(serve, {"routes": [{"respond": "ok", "name": "api"}]})
    gateway.get("/")
    found = until(gateway, address, "a bucket", lambda one: one.all(f"{TOOK}_bucket", route="api"))
    bounds = [float(one.labels["le"]) for one in found.all(f"{TOOK}_bucket", route="api")]
    assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf")
    for decade in (0.001, 0.01, 0.1, 1.0):
        assert len([bound for bound in bounds if decade <= bound < 10 * decade]) >= 4
    for constant in (0.005, 1.0, 5.0, 5.001):  # as `histogram_quantile` of Prometheus estimates it
        upper = next(bound for bound in bounds if constant <= bound)
        lower = max((bound for bound in bounds if bound < upper), default=0.0)
        assert abs(lower + 0.99 * (upper - lower) - constant) <= 0.25 * constant, (lower, upper)


def test_a_scan_grows_nothing(serve: Serve, origin: Origin) -> None:
    gateway, address = gate(serve, {"routes": [{"path": "/app", "to": origin.address}]}, workers=2)
    gateway.get("/app")
    until(gateway, address, "a request", lambda one: one.value(REQUESTS, status="4xx") >= 0)

    def scan(first: int) -> None:
        with gateway.client() as client:
            for number in range(first, first + 500):
                client.send(
                    b"".join(
                        format_request(method, f"/{number}", host=f"host-{number}.test")
                        for method in ("GET", f"M{number}")
                    )
                )
                client.response(), client.response()

    def counted(least: int) -> Scrape:
        return until(
            gateway, address, "the scan is counted", lambda one: one.value(REQUESTS, status="4xx") >= least
        )

    scan(0)
    before = counted(1000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(scan, range(500, 4500, 500)))
    after = counted(9000)
    assert len(after.samples) <= len(before.samples) + 2
    assert abs(len(after.text) - len(before.text)) < 500


def test_what_clients_and_servers_say_is_no_label(serve: Serve, origin: Origin) -> None:
    routes = [
        {"path": "/app/{status}", "to": origin.address, "name": "app"},
        {"path": "/old/*", "redirect": "/new/{path}", "name": "old"},
    ]
    gateway, address = gate(serve, {"routes": routes})

    def odd(call: Call) -> None:
        status = call.path.rpartition("/")[2]
        call.respond(b"odd", status=f"{status} Odd", fields=[("grpc-status", status)])

    statuses = (*range(200, 204), 209, 218, 299, 390, 418, 444, 499, 520, 530, 599, *range(600, 1000, 57))

    def ask(number: int, status: int) -> None:
        host = f"host-{number}.test"
        for target in (f"/app/{status}", f"/old/{number}", f"/nowhere/{number}"):
            with gateway.client() as client:
                client.send(format_request("GET", target, [("x-consumer", host)], host=host))
                client.response()
        for line in (f"GET /\x01{number} HTTP/1.1", f"GET /{number} HTTP/{number}", f"M@{number} / HTTP/1.1"):
            with gateway.client() as client:
                client.send(f"{line}\r\nhost: {host}\r\n\r\n".encode())
                assert client.response().status >= 400

    for status in statuses:
        origin.on(f"/app/{status}", odd)
    rounds = 0
    for rounds, status in enumerate(statuses, 1):
        ask(rounds, status)
    found = until(
        gateway,
        address,
        "all are counted",
        lambda one: one.value("headgate_responses_total") >= 6 * rounds,
    )
    shown = {value for one in found.samples for name, value in one.labels.items() if name != "le"}
    assert not [value for value in shown if "host-" in value or "nowhere" in value or "@" in value]
    codes = {one.labels["code"] for one in found.all("headgate_responses_total")}
    assert "other" in codes and not codes & {"209", "218", "444", "520", "599", "600", "999"}
    assert {one.labels["route"] for one in found.all(REQUESTS)} <= {"", "app", "old"}
    assert {one.labels["status"] for one in found.all(REQUESTS)} <= {"2xx", "3xx", "4xx", "5xx", "other"}


def test_counters_never_fall_when_workers_are_killed_and_replaced(serve: Serve) -> None:
    gateway, address = gate(serve, {"routes": [{"respond": "ok"}]}, workers=2)
    sent = 0
    least = 0.0
    for _ in range(3):
        for _ in range(5):
            gateway.get("/")
            sent += 1
        until(gateway, address, "all", lambda one, n=sent: one.value(REQUESTS, status="2xx") >= n)
        victim = gateway.workers[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda v=victim: v not in gateway.workers and len(gateway.workers) == 2, "it is replaced")
        now = scrape(gateway, address).value(REQUESTS)
        assert now >= least
        least = now
    found = until(
        gateway,
        address,
        "three exits",
        lambda one: one.value("headgate_worker_exits_total", how="killed") == 3,
    )
    assert found.value(REQUESTS, status="2xx") >= sent
    assert found.value("headgate_connections_accepted_total") >= sent


@pytest.mark.parametrize("how", ["reload", "upgrade"])
def test_counters_go_on_over_a_new_version(serve: Serve, how: str) -> None:
    source = {"routes": [{"respond": "ok", "name": "kept"}]}
    gateway, address = gate(serve, source)
    for _ in range(5):
        gateway.get("/")
    until(gateway, address, "five", lambda one: one.value(REQUESTS, route="kept", status="2xx") >= 5)
    gateway.write(
        {"metrics": address, "routes": [{"respond": "ok", "name": "kept"}, {"path": "/n", "respond": "n"}]}
    )
    assert gateway.ask(how)["ok"]
    if how == "upgrade":
        gateway.process.wait(timeout=20)
    for _ in range(5):
        gateway.get("/n")
    found = until(gateway, address, "five of the new route", lambda one: one.value(REQUESTS, route="/n") >= 5)
    assert found.value(REQUESTS, route="kept", status="2xx") >= 5
    assert found.value("headgate_connections_accepted_total") >= 10
    if how == "reload":
        assert found.value("headgate_reloads_total", outcome="applied") == 1
        assert found.value("headgate_generation") == 2
    else:
        (supervisor,) = [int(one.stem) for one in (gateway.folder / "run").glob("*.sock")]
        os.kill(supervisor, signal.SIGTERM)


def test_metrics_move_with_their_address(serve: Serve) -> None:
    gateway, first = gate(serve, {"routes": [{"respond": "ok"}]})
    second = f"127.0.0.1:{free_port()}"
    gateway.write({"metrics": {"listen": second}, "routes": [{"respond": "ok"}]})
    assert gateway.ask("reload")["ok"]
    assert get(second, "/readyz").status == 200
    with pytest.raises(OSError):
        get(first, "/readyz")


def test_address_in_use_is_told_and_the_old_version_serves_on(serve: Serve) -> None:
    gateway, address = gate(serve, {"routes": [{"respond": "ok"}]})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway.write({"metrics": other, "routes": [{"respond": "new"}]})
        reply = gateway.ask("reload")
    assert not reply["ok"] and f"cannot listen on `{other}`" in reply["error"]
    assert get(address, "/readyz").status == 200 and gateway.get("/").text == "ok"
    found = until(gateway, address, "it is counted", lambda one: one.value("headgate_reloads_total") == 1)
    assert found.value("headgate_reloads_total", outcome="failed") == 1


def test_ready_ends_with_the_stop_and_live_does_not(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(
        "import asyncio\nfrom headgate import Gateway, Response\ngate = Gateway()\ngate.listen(LISTEN)\n"
        "gate.metrics(listen=METRICS)\n@gate.route('/slow')\nasync def slow(request):\n"
        "    await asyncio.sleep(600)\n    return Response(200)\n",
        names={"METRICS": address},
    )
    assert (get(address, "/livez").status, get(address, "/readyz").status) == (200, 200)
    with gateway.client() as client:
        client.send(format_request("GET", "/slow"))
        eventually(lambda: gateway.counter("requests_active") >= 1, "the request is in flight")
        gateway.signal(signal.SIGQUIT)
        eventually(lambda: get(address, "/readyz").status == 503, "it is not ready any more")
        assert get(address, "/livez").status == 200
        assert get(address).status == 200


def test_live_fails_while_no_worker_responds(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(
        "import time\nfrom headgate import Gateway, Response\ngate = Gateway()\ngate.listen(LISTEN)\n"
        "gate.metrics(listen=METRICS)\ngate.watchdog(None, kill=None)\n@gate.route('/hang')\n"
        "def hang(request):\n    time.sleep(6)\n    return Response(200)\n",
        names={"METRICS": address},
    )
    with gateway.client() as client:
        client.send(format_request("GET", "/hang"))
        eventually(lambda: get(address, "/livez").status == 503, "no worker responds", within=20)
        eventually(lambda: get(address, "/livez").status == 200, "it responds again", within=20)


def test_scrapers_that_never_read_and_a_thousand_at_once_hold_nobody(serve: Serve) -> None:
    routes = [{"path": f"/r{number}", "respond": "ok"} for number in range(1000)]
    gateway, address = gate(serve, {"routes": routes})
    for number in range(0, 1000, 4):
        gateway.get(f"/r{number}")
    idle = [RawClient(address, receive_buffer=4096) for _ in range(50)]
    for client in idle:
        client.send(format_request("GET", "/metrics"))

    def one(_: int) -> int:
        return get(address).status

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(one, range(1000))) == {200}
    assert gateway.get("/r1").status == 200
    for client in idle:
        client.close()


def test_what_is_no_scrape_is_refused(serve: Serve) -> None:
    _, address = gate(serve, {"routes": [{"respond": "ok"}]})
    assert get(address, "/other").status == 404
    for request, status in [
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 405),
        (b"\x00\xff\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 400),
    ]:
        with RawClient(address) as client:
            client.send(request)
            assert client.response().status == status
    with RawClient(address) as client:
        assert client.request("HEAD", "/livez").status == 200
        assert client.get("/readyz?x=1").text == "ready\n"


def test_metrics_of_hooks_and_plugins_are_summed_over_workers(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(
        """
from headgate import Gateway, Plugin, PluginContext, Response
gate = Gateway()
gate.listen(LISTEN)
gate.metrics(listen=METRICS)
logins = gate.metrics.counter("logins", "Logins.", labels=["kind"])
waiting = gate.metrics.gauge("waiting", "Waiting.")
took = gate.metrics.histogram("lookup_seconds", "Lookups.", buckets=[0.1, 1])

class KeyCheck(Plugin):
    def setup(self, context: PluginContext) -> None:
        self.seen = context.metrics.counter("seen", "Seen.")
        self.old = context.counter("old")

    def request(self, request):
        self.seen.inc()
        self.old.add(2)

gate.use(KeyCheck())

@gate.route("/{kind}")
def login(request):
    logins.inc(request.params["kind"])
    waiting.set(3)
    took.observe(0.5)
    return Response(200, "in")
""",
        names={"METRICS": address},
        workers=2,
    )
    hostile = "a%22b%0A%1B%5C"
    for _ in range(4):
        gateway.get("/gold")
    gateway.get(f"/{hostile}")
    found = until(
        gateway, address, "five", lambda one: one.value("headgate_plugin_key_check_seen_total") >= 5
    )
    assert found.value("logins_total", kind="gold") == 4
    assert found.value("logins_total", kind='a"b\n\ufffd\\') == 1
    assert found.value("lookup_seconds_bucket", le="0.1") == 0
    assert found.value("lookup_seconds_bucket", le="1.0") >= 5
    assert found.value("headgate_plugin_key_check_seen_total", plugin="key-check") >= 5
    assert found.value("headgate_plugin_counter_total", plugin="key-check", counter="old") >= 10
    assert found.value("waiting") in (3, 6)


def test_hooks_are_timed_and_their_failures_counted_over_reloads(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    source = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.metrics(listen=METRICS)

@gate.route("/good")
def good(request):
    return Response(200, NOTE)

@gate.route("/bad")
def bad(request):
    raise ValueError("bad")
"""
    gateway = serve(source, names={"METRICS": address, "NOTE": "one"})
    for path, status in [("/good", 200), ("/good", 200), ("/bad", 500)]:
        assert gateway.get(path).status == status
    until(gateway, address, "a failure", lambda one: one.value("headgate_hook_failures_total") == 1)
    gateway.names["NOTE"] = "two"
    gateway.write(source)
    assert gateway.ask("reload")["ok"]
    assert gateway.get("/good").text == "two"
    found = until(
        gateway,
        address,
        "three calls",
        lambda one: one.value("headgate_hook_seconds_count", phase="request", hook="gate.py:good") == 3,
    )
    assert found.value("headgate_hook_failures_total", phase="request", hook="gate.py:bad", plugin="") == 1


def test_ends_of_certificates_are_told(serve: Serve, tmp_path: Path) -> None:
    leaf = Authority(tmp_path).issue("gate.test")
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(
        "from headgate import Gateway\ngate = Gateway()\ngate.listen(LISTEN)\ngate.metrics(listen=METRICS)\n"
        "gate.listen(TLS, tls={'certificates': [FILES]})\ngate.route('/', respond='ok')\n",
        names={"METRICS": address, "TLS": f"127.0.0.1:{free_port()}", "FILES": leaf.files},
    )
    found = scrape(gateway, address)
    end = found.value("headgate_tls_certificate_expiry_timestamp_seconds", name="gate.test")
    assert end > time.time()


def test_dashboard_names_only_what_is_exposed(serve: Serve, origin: Origin) -> None:
    board = json.loads((Path(__file__).parents[2] / "docs/guide/grafana.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = set(re.findall(r"headgate_[a-z0-9_]+", json.dumps([expressions, board["templating"]])))
    page = (Path(__file__).parents[2] / "docs/guide/metrics.md").read_text()
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(
        """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.metrics(listen=METRICS)
gate.shared("notes", "1m")
gate.store(f"sqlite://{FOLDER}/store.db")
gate.state_folder(FOLDER + "/state")

@gate.route("/bad")
def bad(request):
    raise ValueError("bad")

gate.route("/", to=ORIGIN)
""",
        names={"METRICS": address, "ORIGIN": origin.address},
    )
    gateway.get("/"), gateway.get("/bad")
    gateway.ask("reload")
    found = until(gateway, address, "a reload", lambda one: one.value("headgate_reloads_total") == 1)
    exposed = {sample.name for sample in found.samples}
    # these come with TLS, and with the first worker that has ended
    later = {"headgate_tls_certificate_expiry_timestamp_seconds", "headgate_worker_exits_total"}
    later |= {"headgate_upstream_queue_seconds_bucket"}  # and this with the first request that waits
    assert named - later <= exposed
    untold = {name for name in named if re.sub("_(bucket|count)$", "", name) not in page}
    others = ("connections_accepted_total", "workers_resident_bytes", "dictionary_free_bytes")
    assert untold <= {f"headgate_{name}" for name in others}


def test_top_shows_routes_servers_and_workers(serve: Serve, origin: Origin) -> None:
    gateway = serve(
        {"metrics": True, "routes": [{"to": origin.address, "name": "a\x1b[31m[bold]b"}]}, workers=2
    )
    folder = Path(gateway.environment["HEADGATE_RUNTIME_DIR"])
    watching = subprocess.Popen(
        [str(HEADGATE), "top", "--count", "1", "--interval", "2", "--runtime-dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    while watching.poll() is None:
        gateway.get("/")
    assert watching.stdout is not None
    shown = watching.stdout.read()
    watching.stdout.close()
    assert watching.returncode == 0 and "\x1b[31m" not in shown
    assert "a\ufffd[31m[bold]b" in shown and origin.address in shown and "ready" in shown
    rate = re.search(r"([\d.]+) requests/s", shown)
    assert rate and float(rate[1]) > 0


def test_label_sets_of_hooks_are_bounded(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(
        """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.metrics(listen=METRICS)
seen = gate.metrics.counter("seen", "Seen.", labels=["user"])

@gate.route("/*")
def all(request):
    for number in range(20_000):
        seen.inc(str(number))
    return Response(200, "in")
""",
        names={"METRICS": address},
    )
    assert gateway.get("/").status == 200
    found = until(gateway, address, "all", lambda one: one.value("seen_total") >= 20_000)
    assert len(found.all("seen_total")) == 1001
    assert found.value("headgate_metrics_label_sets_folded_total") >= 19_000


def test_a_thousand_routes_hold_no_worker(serve: Serve) -> None:
    routes = [{"path": f"/r{number}", "respond": "ok", "name": f"route {number}"} for number in range(1000)]
    gateway, address = gate(serve, {"routes": routes})
    with gateway.client() as client:
        for number in range(1000):
            assert client.get(f"/r{number}").status == 200
    cpu = gateway.ask()["workers"][0]["cpu_s"]
    for _ in range(20):
        found = scrape(gateway, address)
        time.sleep(0.06)
    assert gateway.ask()["workers"][0]["cpu_s"] - cpu < 0.4
    assert len(found.all(f"{TOOK}_count")) >= 1000


def test_a_listener_of_the_gateway_is_not_the_one_of_metrics(serve: Serve, tmp_path: Path) -> None:
    gateway = serve({"routes": [{"respond": "ok"}]})
    gateway.write({"metrics": gateway.address, "routes": [{"respond": "ok"}]})
    reply = gateway.ask("reload")
    assert not reply["ok"] and "duplicate address" in reply["error"]
