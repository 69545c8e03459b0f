"""The access log: formats, places, reopening; and the error log as JSON."""

import json
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.client import format_request


def logged(serve: Serve, origin: Origin, **log: Any) -> RunningGateway:
    source = {
        "upstreams": {"api": {"servers": origin.address}},
        "routes": [{"path": "/log*", "to": "api", "name": "logged"}, {"respond": "x"}],
        "access_log": {"flush": "50ms", **log},
    }
    return serve(source)


def test_json_record_tells_everything(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin)
    fields = [("User-Agent", 'test/1 "x"'), ("Referer", "http://from.test/")]
    response = gateway.post("/log?a=1", b"12345", fields, host="shop.test")
    record = gateway.access_record(target="/log?a=1")
    assert record["method"] == "POST"
    assert record["host"] == "shop.test"
    assert record["version"] == "HTTP/1.1"
    assert record["status"] == 200
    assert record["client"] == "127.0.0.1"
    assert record["user_agent"] == 'test/1 "x"'
    assert record["referer"] == "http://from.test/"
    assert record["route"] == "logged"
    assert record["upstream"] == "api"
    assert record["server"] == origin.address
    assert record["attempts"] == 1
    assert record["request_bytes"] >= 5
    assert record["response_bytes"] >= len(response.body)
    assert record["request_id"] == origin.wait_for("/log").get("x-request-id")
    assert (record["limit"], record["error"]) == ("", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)", record["time"])


@pytest.mark.parametrize("names", [None, ["ticket"], []], ids=["by default", "named", "none"])
def test_secrets_in_queries_are_masked(serve: Serve, origin: Origin, names: list[str] | None) -> None:
    chosen = {} if names is None else {"mask_query": names}
    source = {
        "upstreams": {"api": {"servers": origin.address}},
        "routes": [{"path": "/log*", "to": "api"}],
        "plugins": [
            {"plugin": "key-auth", "on": "/log/*", "config": {"query": "Mine", "keys": {"a": "PLANTED-1"}}}
        ],
        "access_log": {"flush": "50ms", "format": "json", **chosen},
    }
    gateway = serve(source)
    shown = {name: f"{name}=***" for name in ("access_token", "ticket")}
    kept = {name: f"{name}=SEEN" for name in ("access_token", "ticket")}
    one, two = (
        shown if name in (names if names is not None else ["access_token"]) else kept for name in shown
    )
    query = "access_token=SEEN&ticket=SEEN&x=1"
    masked = f"{one['access_token']}&{two['ticket']}&x=1"
    response = gateway.get(
        f"/log/a?%4dine=PLANTED-1&{query}", [("Referer", f"http://from.test/?mine=PLANTED-1&{query}")]
    )
    assert response.status == 200
    record = gateway.access_record(target=f"/log/a?{masked}")  # the plugin takes its parameter out
    assert record["referer"] == f"http://from.test/?mine=***&{masked}"
    assert origin.wait_for("/log/a").target == f"/log/a?{query}"
    assert gateway.get("/log/a?%4dine=PLANTED-2").status == 401
    gateway.access_record(target="/log/a?%4dine=***")
    assert "PLANTED" not in gateway.log()


def test_timings_add_up(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin)

    def late(call: Call) -> None:
        threading.Event().wait(0.05)  # what is measured is this delay
        call.respond(b"late")

    origin.on("/log-late", late)
    gateway.get("/log-late")
    record = gateway.access_record(target="/log-late")
    assert record["head_us"] >= 45_000
    assert record["total_us"] >= record["head_us"]
    assert record["connect_us"] + record["queue_us"] <= record["total_us"]


def test_each_step_has_the_begin_that_was_measured(serve: Serve, origin: Origin) -> None:
    dead = f"127.0.0.1:{free_port()}"
    gateway = serve(
        """
import asyncio
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json", flush="50ms")
app = gate.upstream("app", {"address": DEAD, "max_fails": 0, "weight": 1000}, ORIGIN)

@gate.route("/*", to=app)
async def waits(request):
    await asyncio.sleep(0.02)
""",
        names={"DEAD": dead, "ORIGIN": origin.address},
    )

    def late(call: Call) -> None:
        threading.Event().wait(0.03)  # what is measured is this delay
        call.respond(b"late")

    origin.on("/both", late)
    with gateway.client() as client:
        head = format_request("GET", "/both")
        client.send(head[:20])
        threading.Event().wait(0.02)  # so that the head comes in two parts, well apart
        client.send(head[20:])
        assert client.response().status == 200
        client.send(format_request("GET", "/again"))
        assert client.response().status == 200
    record = gateway.access_record(target="/both")
    steps = {(step["step"], step["attempt"]): step for step in record["steps"]}
    steps.pop(("connect", 2), None)  # there may be a connection that the kit's probe has left
    order = [("accept", 0), ("read", 0), ("connect", 1), ("head", 2), ("body", 0)]
    assert list(steps) == order and record["attempts"] == 2
    begins = [steps[one]["begin_us"] for one in order]
    assert begins == sorted(begins)
    (hook,) = record["hooks"]
    read, failed, head_ = steps["read", 0], steps["connect", 1], steps["head", 2]
    assert read["begin_us"] == -read["us"] and read["us"] >= 15_000
    assert hook["begin_us"] >= 0 and hook["end_us"] - hook["begin_us"] == hook["us"] >= 15_000
    assert failed["begin_us"] >= hook["end_us"]
    assert head_["us"] == record["head_us"] >= 25_000
    assert record["connect_us"] >= failed["us"]
    body = steps["body", 0]
    assert body["begin_us"] >= head_["begin_us"] + head_["us"]
    assert body["begin_us"] + body["us"] == record["total_us"]
    # neither accepted again nor read in parts
    later = gateway.access_record(target="/again")["steps"]
    assert not {"accept", "read"} & {step["step"] for step in later}


def test_hook_time_is_logged(serve: Serve) -> None:
    source = """
import asyncio
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json", flush="50ms")

@gate.route("/hook")
async def hook(request):
    await asyncio.sleep(0.05)
    return Response(200, "x")
"""
    gateway = serve(source)
    gateway.get("/hook")
    assert gateway.access_record(target="/hook")["hook_us"] >= 45_000


def test_every_request_has_exactly_one_line(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin)
    with gateway.client() as client:
        for number in range(500):
            client.send(format_request("GET", f"/log{number}"))
        for _ in range(500):
            client.response()
    eventually(lambda: len(gateway.access_records()) >= 500, "all are logged")
    assert [record["target"] for record in gateway.access_records()] == [f"/log{n}" for n in range(500)]


def test_lines_in_the_buffer_are_written_at_the_end(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin, flush="60s")
    gateway.get("/log")
    assert gateway.access_records() == []
    gateway.stop()
    assert [record["target"] for record in gateway.access_records()] == ["/log"]


def test_line_cannot_be_forged_by_a_client(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin, format="combined")
    gateway.get("/log", [("User-Agent", 'a" 200 1 "b\\')])
    line = eventually(
        lambda: [one for one in gateway.output().splitlines() if "/log" in one], "the line is there"
    )[0]
    assert line.count('"') == 6
    gateway.get("/log-json", [("User-Agent", "\x1b[31m\xff")])
    assert "\x1b" not in gateway.output()


def test_combined_format_is_what_everybody_reads(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin, format="combined")
    gateway.get("/log?q=1", [("User-Agent", "ua/1"), ("Referer", "http://r/")])
    line = eventually(
        lambda: [one for one in gateway.output().splitlines() if "/log" in one], "the line is there"
    )[0]
    when = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    assert re.fullmatch(
        rf'127\.0\.0\.1 - - {when} "GET /log\?q=1 HTTP/1\.1" 200 \d+ "http://r/" "ua/1"', line
    )


@pytest.mark.parametrize("target", ["/log/relayed", "/own"])
def test_combined_format_counts_the_body_as_nginx_does(serve: Serve, origin: Origin, target: str) -> None:
    gateway = logged(serve, origin, format="combined")
    response = gateway.get(target)
    line = eventually(
        lambda: [one for one in gateway.output().splitlines() if f'"GET {target} ' in one],
        "the line is there",
    )[0]
    assert line.split('"')[2].split() == [str(response.status), str(len(response.body))]


def test_custom_format_is_followed(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin, format="{method} {target} -> {status} via {upstream}")
    gateway.get("/log")
    eventually(lambda: "GET /log -> 200 via api\n" in gateway.output(), "the line is there")


def test_unknown_field_of_a_format_is_refused(serve: Serve, origin: Origin) -> None:
    source = {"routes": [{"respond": "x"}], "access_log": "{methd}"}
    gateway = serve(source, is_ready=False)
    assert gateway.process.wait(timeout=20) == 2
    assert "`method`" in gateway.log()


def test_log_goes_to_a_file_and_is_reopened(serve: Serve, origin: Origin, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    gateway = logged(serve, origin, to=f"file:{file}")
    gateway.get("/log-one")
    gateway.access_record(file, target="/log-one")
    file.rename(tmp_path / "access.log.1")
    gateway.get("/log-two")
    gateway.signal(signal.SIGUSR1)
    eventually(file.exists, "the file is opened anew")
    gateway.get("/log-three")
    gateway.access_record(file, target="/log-three")
    targets = [record["target"] for record in gateway.access_records(tmp_path / "access.log.1")]
    assert targets == ["/log-one", "/log-two"]


def test_log_that_cannot_be_reopened_is_told_and_the_old_one_written_on(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    gateway = logged(serve, origin, to=f"file:{folder}/access.log")
    gateway.get("/before")
    gateway.access_record(folder / "access.log", target="/before")
    moved = folder.rename(tmp_path / "moved")
    gateway.signal(signal.SIGUSR1)
    gateway.wait_for_log(r"error .*cannot reopen the access log: ")
    gateway.get("/after")
    gateway.access_record(moved / "access.log", target="/after")
    assert "Traceback" not in gateway.log()


def test_lines_of_requests_from_before_a_change_come_while_others_of_them_go_on(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.log", tmp_path / "after.log"
    source = {"upstreams": {"api": {"servers": origin.address}}, "routes": [{"path": "/", "to": "api"}]}

    def log(file: Path) -> dict[str, Any]:
        return {**source, "access_log": {"flush": "20ms", "to": f"file:{file}"}}

    gateway = serve(log(before), workers=1)
    with gateway.client() as one, gateway.client() as other, gateway.client() as last:
        for client, target in ((one, "/one"), (other, "/other"), (last, "/last")):
            client.send(format_request("POST", target, [("Content-Length", "1")]))
        eventually(lambda: gateway.counter("requests_active") >= 3, "all are in flight")
        gateway.write(log(after))
        assert gateway.ask("reload")["in_place"]
        one.send(b"x")
        assert one.response().status == 200
        gateway.access_record(before, target="/one")
        before.rename(tmp_path / "before.log.1")
        gateway.signal(signal.SIGUSR1)
        eventually(before.exists, "the former file is opened anew")
        other.send(b"x")
        assert other.response().status == 200
        gateway.access_record(before, target="/other")
        gateway.get("/new")
        gateway.access_record(after, target="/new")
        last.send(b"x")
        assert last.response().status == 200
    gateway.access_record(before, target="/last")


def test_workers_write_whole_lines_to_one_file(serve: Serve, origin: Origin, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    source = {"routes": [{"respond": "x"}], "access_log": {"flush": "10ms", "to": f"file:{file}"}}
    gateway = serve(source, workers=2)
    clients = [gateway.client() for _ in range(10)]
    for turn in range(50):
        for client in clients:
            client.send(format_request("GET", f"/log-{turn}-" + "x" * 500))
        for client in clients:
            client.response()
    for client in clients:
        client.close()
    eventually(lambda: len(gateway.access_records(file)) == 500, "all lines are whole")


def test_log_that_cannot_be_opened_is_refused(serve: Serve, tmp_path: Path) -> None:
    source = {"routes": [{"respond": "x"}], "access_log": {"to": f"file:{tmp_path}/no/such/folder/x.log"}}
    gateway = serve(source, is_ready=False)
    assert gateway.process.wait(timeout=20) != 0
    assert "no/such/folder" in gateway.log()


@pytest.fixture
def datagrams(tmp_path: Path) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        syslog.settimeout(10)
        yield syslog


def test_log_goes_to_syslog(serve: Serve, origin: Origin, tmp_path: Path, datagrams: socket.socket) -> None:
    gateway = logged(serve, origin, to=f"syslog:{tmp_path}/log")
    gateway.get("/log-syslog")
    while b"/log-syslog" not in (message := datagrams.recv(65536)):
        pass
    assert re.match(rb"<190>1 \d{4}-\d\d-\d\dT\S+ \S+ headgate \d+ access - ", message)
    assert json.loads(message.partition(b" - ")[2])["target"] == "/log-syslog"


def test_log_goes_to_syslog_over_udp(serve: Serve, origin: Origin) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(10)
        port = syslog.getsockname()[1]
        gateway = logged(serve, origin, to=f"syslog:udp://127.0.0.1:{port}")
        gateway.get("/log-udp")
        while b"/log-udp" not in syslog.recv(65536):
            pass


def test_syslog_that_is_away_harms_nobody(serve: Serve, origin: Origin, tmp_path: Path) -> None:
    gateway = logged(serve, origin, to=f"syslog:{tmp_path}/nobody")
    with gateway.client() as client:
        assert [client.get("/log").status for _ in range(20)] == [200] * 20


def test_bad_request_is_logged(serve: Serve, origin: Origin) -> None:
    gateway = logged(serve, origin)
    with gateway.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.response().status == 400
    record = gateway.access_record(status=400)
    assert record["error"]


def test_error_log_is_json_when_asked(serve: Serve, origin: Origin) -> None:
    source = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.error_log(format="json")

@gate.route("/broken")
def broken(request):
    raise RuntimeError("on purpose")
"""
    gateway = serve(source, arguments=["--log-format", "json"])
    assert gateway.get("/broken").status == 500
    gateway.wait_for_log("on purpose")
    records = [json.loads(line) for line in gateway.log().splitlines()]
    (record,) = [one for one in records if "on purpose" in one["message"]]
    assert record["level"] == "error"
    assert record["request_id"]
    assert "RuntimeError: on purpose" in record["traceback"]
