"""Log targets: each line of the access log reaches each of them, and a target that is away delays nobody."""

import json
import os
import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.log_targets import DatagramServer, LineServer, Rsyslog
from e2e.kit.metrics import scrape
from e2e.kit.origin import PROBE_PATH
from e2e.kit.pki import Authority

HOSTILE = "/a%22%5Cn?x=%0A%1B[31m"
QUICK = {"flush": "50ms"}


def shipping(serve: Serve, *targets: Any, workers: int = 1, **more: Any) -> RunningGateway:
    return serve(
        {"routes": [{"respond": "ok", "name": "api"}], "log_targets": list(targets), **more}, workers=workers
    )


def targets_of(lines: list[dict[str, Any]]) -> list[str]:
    """What was requested, the kit's probes apart."""
    return [line["target"] for line in lines if not line["target"].startswith(PROBE_PATH)]


@pytest.fixture
def collector() -> Iterator[Origin]:
    with Origin() as made:
        yield made


def bodies(origin: Origin, path: str) -> list[Any]:
    return [json.loads(call.read_body()) for call in origin.at(path)]


def test_lines_of_every_worker_come_over_tcp(serve: Serve) -> None:
    with LineServer() as server:
        gateway = shipping(serve, {"to": f"tcp://127.0.0.1:{server.port}", **QUICK}, workers=2)
        wanted = [f"/{number}" for number in range(20)]
        for target in wanted:
            gateway.get(target)
        eventually(lambda: sorted(targets_of(server.lines)) == sorted(wanted), "every line")
        line = next(one for one in server.lines if one["target"] == "/0")
        assert (line["status"], line["route"], line["method"]) == (200, "api", "GET")


def test_the_first_request_is_sent_and_so_is_the_last_one(serve: Serve) -> None:
    with LineServer() as server:
        gateway = shipping(serve, {"to": f"tcp://127.0.0.1:{server.port}", "flush": "1h"})
        gateway.get("/last")
        gateway.stop()
        # the kit's first probe is the first request that this gateway ever had
        assert server.lines[0]["target"].startswith(PROBE_PATH)
        assert targets_of(server.lines) == ["/last"]


def test_lines_come_over_tls_if_the_certificate_is_trusted(serve: Serve, authority: Authority) -> None:
    leaf = authority.issue("127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(leaf.chain, leaf.key)
    with LineServer(tls) as server:
        to = f"tls://127.0.0.1:{server.port}"
        shipping(serve, {"to": to, "ca": authority.ca, **QUICK}).get("/trusted")
        eventually(lambda: targets_of(server.lines) == ["/trusted"], "the line")
        other = shipping(serve, {"to": to, **QUICK})
        other.get("/never")
        other.wait_for_log(r"log target `tls://.*` is unavailable.*certificate verify failed")
        assert targets_of(server.lines) == ["/trusted"]


def test_lines_come_as_datagrams(serve: Serve) -> None:
    with DatagramServer() as server:
        gateway = shipping(serve, {"to": f"udp://127.0.0.1:{server.port}", **QUICK})
        gateway.get("/one")
        gateway.get("/two")
        eventually(
            lambda: targets_of([json.loads(one) for one in server.datagrams]) == ["/one", "/two"],
            "both lines",
        )


@pytest.mark.parametrize("transport", ["unix", "udp", "tcp"])
def test_a_syslog_daemon_reads_each_line_as_a_message(serve: Serve, tmp_path: Path, transport: str) -> None:
    (tmp_path / "syslog").mkdir()
    with Rsyslog(tmp_path / "syslog") as daemon:
        to = {
            "unix": f"syslog:{daemon.path}",
            "udp": f"syslog:udp://127.0.0.1:{daemon.udp}",
            "tcp": f"syslog:tcp://127.0.0.1:{daemon.tcp}",
        }[transport]
        gateway = shipping(serve, {"to": to, **QUICK})
        gateway.get(HOSTILE, [("user-agent", "é\x80<13>1 forged")])
        gateway.get("/two")

        def told() -> list[dict[str, Any]]:
            return [one for one in daemon.messages if PROBE_PATH not in one["message"]]

        eventually(lambda: len(told()) == 2, "both messages")
        first, second = told()
        assert (first["pri"], first["program"], first["id"], first["version"]) == (
            "190",
            "headgate",
            "access",
            "1",
        )
        line = json.loads(first["message"])
        assert line["target"] == HOSTILE and "forged" in line["user_agent"]
        assert line["time"][:19] == first["time"][:19]
        assert json.loads(second["message"])["target"] == "/two"


def test_batches_come_as_arrays_over_http(
    serve: Serve, collector: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_TOKEN", "Bearer 2f7")
    to = f"http://{collector.address}/logs?source=edge"
    gateway = shipping(
        serve, {"to": to, "headers": {"Authorization": "env:LOG_TOKEN"}, "batch": 3, "flush": "1h"}
    )
    for target in ("/1", "/2", "/3", "/4", "/5", "/6"):
        gateway.get(target)
    eventually(lambda: len(collector.at("/logs")) >= 2, "two batches")
    calls = collector.at("/logs")
    assert all(len(json.loads(call.read_body())) == 3 for call in calls)
    assert {call.get("authorization") for call in calls} == {"Bearer 2f7"}
    assert {call.target for call in calls} == {"/logs?source=edge"}
    assert {call.get("content-type") for call in calls} == {"application/json"}
    assert "/1" in [line["target"] for body in bodies(collector, "/logs") for line in body]


def test_a_batch_is_sent_when_it_has_its_bytes(serve: Serve, collector: Origin) -> None:
    to = f"http://{collector.address}/logs"
    gateway = shipping(serve, {"to": to, "batch_bytes": "1k", "flush": "1h"})
    for number in range(8):
        gateway.get(f"/{number}")
    eventually(lambda: len(collector.at("/logs")) >= 3, "several batches")
    assert all(len(call.read_body()) < 2000 for call in collector.at("/logs"))


def test_loki_gets_a_stream_with_labels_and_times(serve: Serve, collector: Origin) -> None:
    push = "/loki/api/v1/push"
    collector.on(push, lambda call: call.respond(b"", status="204 No Content"))
    gateway = shipping(serve, {"to": f"loki:http://{collector.address}", "labels": {"site": "ams"}, **QUICK})
    gateway.get(HOSTILE, [("user-agent", "\x80é")])

    def streams() -> list[Any]:
        return [stream for body in bodies(collector, push) for stream in body["streams"]]

    def entries() -> list[list[str]]:
        return [value for stream in streams() for value in stream["values"] if PROBE_PATH not in value[1]]

    eventually(lambda: len(entries()) == 1, "the line")
    assert {json.dumps(stream["stream"]) for stream in streams()} == {'{"site": "ams"}'}
    ((nanoseconds, text),) = entries()
    line = json.loads(text)
    assert line["target"] == HOSTILE
    assert re.fullmatch(r"\d{19}", nanoseconds)
    assert gateway.access_records() == []  # which is a setting of its own


def test_what_a_collector_says_decides_between_again_and_never(serve: Serve, collector: Origin) -> None:
    statuses = ["503 Later", "429 Slowly", "400 Never", "200 OK"]

    def respond(call: Call) -> None:
        call.read_body()
        call.respond(b"told", status=statuses.pop(0) if len(statuses) > 1 else statuses[0])

    collector.on("/logs", respond)
    address = f"127.0.0.1:{free_port()}"
    to = f"http://{collector.address}/logs"
    gateway = shipping(serve, {"to": to, "flush": "10ms"}, metrics=address)
    eventually(
        lambda: scrape(gateway, address).value("headgate_log_dropped_total", reason="refused") >= 1,
        "a line is refused",
        within=30,
    )
    assert statuses == ["200 OK"]
    gateway.get("/taken")
    eventually(
        lambda: any("/taken" in call.read_body().decode() for call in collector.at("/logs")),
        "the line after it",
    )
    log = gateway.log()
    assert log.count("is unavailable; lines are kept in memory: status 503: told") == 1
    assert log.count(f"log target `{to}` refuses lines, which are dropped: status 400: told") == 1
    first = collector.at("/logs")[0].read_body()
    assert all(call.read_body() == first for call in collector.at("/logs")[:3])  # tried again as it was


def test_a_batch_that_is_too_large_is_halved_until_it_fits(serve: Serve, collector: Origin) -> None:
    taken: list[str] = []

    def respond(call: Call) -> None:
        lines = json.loads(call.read_body())
        if len(lines) > 2 or any("huge" in line["target"] for line in lines):
            call.respond(b"", status="413 Content Too Large")
            return
        taken.extend(line["target"] for line in lines)
        call.respond(b"")

    collector.on("/logs", respond)
    address = f"127.0.0.1:{free_port()}"
    target = {"to": f"http://{collector.address}/logs", "batch": 9, "flush": "1h"}
    gateway = shipping(serve, target, metrics=address)
    wanted = [f"/{number}" for number in range(20)]
    for path in [*wanted[:5], "/huge", *wanted[5:]]:
        gateway.get(path)
    gateway.stop()
    assert [one for one in taken if not one.startswith(PROBE_PATH)] == wanted


def test_a_target_that_is_away_costs_bounded_memory_and_one_warning(serve: Serve) -> None:
    address = f"127.0.0.1:{free_port()}"
    with LineServer() as server:
        to = f"tcp://127.0.0.1:{server.port}"
        gateway = shipping(serve, {"to": to, "queue": 50, "flush": "10ms"}, metrics=address)
        eventually(lambda: server.data, "the probe's line")
        server.stop()
        for number in range(200):
            assert gateway.get(f"/{number}").status == 200

        def now(name: str, **labels: str) -> float:
            return scrape(gateway, address).value(f"headgate_log_{name}", target=to, **labels)

        eventually(lambda: now("dropped_total", reason="queue_full") >= 100, "lines are dropped", within=20)
        assert now("queue_lines") == 50 and now("queue_bytes") < 50 * 1000 and now("target_up") == 0
        server.start()
        gateway.wait_for_log(f"log target `{to}` is available again", within=40)
        gateway.get("/after")
        eventually(lambda: "/after" in targets_of(server.lines), "later lines come")
        sent, dropped = now("shipped_total"), now("dropped_total")
    log = gateway.log()
    assert log.count(f"log target `{to}` is unavailable; lines are kept in memory: connection refused") == 1
    assert log.count(f"the queue of log target `{to}` is full; lines are dropped") == 1
    assert (
        0 < sent <= len(server.lines) and dropped >= 100
    )  # what went out just as it was cut off is not counted


def test_a_target_that_never_responds_delays_neither_requests_nor_the_others_nor_the_end(
    serve: Serve, collector: Origin
) -> None:
    collector.on("/logs", lambda call: call.hang())
    with LineServer() as server:
        hung = {"to": f"http://{collector.address}/logs", "timeout": "1h", "flush": "10ms"}
        gateway = shipping(serve, hung, {"to": f"tcp://127.0.0.1:{server.port}", **QUICK})
        eventually(lambda: collector.at("/logs"), "a batch hangs")
        for number in range(50):
            gateway.get(f"/{number}")
        eventually(lambda: len(targets_of(server.lines)) == 50, "the other one gets every line")
        gateway.stop()
    assert "did not get its last lines" in gateway.log()


def test_a_reload_adds_and_removes_targets_and_loses_nothing(serve: Serve) -> None:
    with LineServer() as one, LineServer() as two:
        kept = {"to": f"tcp://127.0.0.1:{one.port}", "flush": "1h"}
        gateway = shipping(serve, kept)
        gateway.get("/before")
        source = {"routes": [{"respond": "ok", "name": "api"}]}
        gateway.write({**source, "log_targets": [kept, {"to": f"tcp://127.0.0.1:{two.port}", **QUICK}]})
        assert gateway.ask("reload")["ok"]
        first = gateway.ask()["shipper"]
        eventually(
            lambda: gateway.get("/both") and "/both" in targets_of(two.lines), "the new target has lines"
        )
        assert gateway.ask()["shipper"] == first
        gateway.write(source)
        assert gateway.ask("reload")["ok"]
        eventually(lambda: gateway.ask()["shipper"] is None, "no shipper runs")
        assert "/before" in targets_of(one.lines) and "/both" in targets_of(one.lines)
        taken = len(two.lines)
        gateway.get("/nobody")
        gateway.write({**source, "log_targets": [kept]})
        assert gateway.ask("reload")["ok"]
        gateway.get("/again")
        gateway.stop()
        assert targets_of(one.lines)[-1] == "/again" and "/nobody" not in targets_of(one.lines)
        assert len(two.lines) == taken


def test_a_shipper_that_is_killed_is_replaced(serve: Serve) -> None:
    with LineServer() as server:
        gateway = shipping(serve, {"to": f"tcp://127.0.0.1:{server.port}", **QUICK})
        first = gateway.ask()["shipper"]
        eventually(lambda: server.data, "the probe's line")
        os.kill(first, signal.SIGKILL)
        for number in range(10):
            assert gateway.get(f"/{number}").status == 200
        wanted = {f"/{number}" for number in range(10)}
        eventually(lambda: wanted <= set(targets_of(server.lines)), "what came meanwhile", within=30)
        assert gateway.ask()["shipper"] not in (None, first)


def test_new_workers_write_to_the_same_targets(serve: Serve) -> None:
    with LineServer() as server:
        gateway = serve(
            f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.route("/", respond="one", name="api")
gate.log_target("tcp://127.0.0.1:{server.port}", flush="50ms")

@gate.request
def look(request): ...
"""
        )
        gateway.get("/first")
        os.kill(gateway.workers[0], signal.SIGKILL)
        eventually(lambda: gateway.get("/second").status == 200, "a new worker serves", within=20)
        eventually(lambda: {"/first", "/second"} <= set(targets_of(server.lines)), "lines of both workers")


def test_an_upgrade_loses_no_line(serve: Serve) -> None:
    with LineServer() as server:
        gateway = shipping(serve, {"to": f"tcp://127.0.0.1:{server.port}", "flush": "1h"})
        gateway.get("/before")
        old = gateway.ask()["shipper"]
        told = gateway.cli("upgrade")
        assert told.returncode == 0, told.stderr
        eventually(lambda: "/before" in targets_of(server.lines), "what the old one had", within=30)
        eventually(lambda: not Path(f"/proc/{old}").exists(), "the old shipper has ended", within=30)
        assert gateway.get("/after").status == 200
        successor = int(re.findall(r"successor=(\d+)", gateway.log())[-1])
        os.kill(successor, signal.SIGTERM)
        eventually(lambda: "/after" in targets_of(server.lines), "what the new one had", within=30)
        eventually(lambda: not Path(f"/proc/{successor}").exists(), "the new gateway has ended", within=30)


def test_a_shipper_whose_supervisor_is_killed_sends_the_last_lines_and_ends(serve: Serve) -> None:
    with LineServer() as server:
        gateway = shipping(serve, {"to": f"tcp://127.0.0.1:{server.port}", "flush": "1h"})
        gateway.get("/last")
        shipper = gateway.ask()["shipper"]
        os.kill(gateway.process.pid, signal.SIGKILL)
        eventually(lambda: "/last" in targets_of(server.lines), "the last line", within=30)
        eventually(lambda: not Path(f"/proc/{shipper}").exists(), "the shipper has ended", within=30)
        gateway.process.wait(timeout=20)
