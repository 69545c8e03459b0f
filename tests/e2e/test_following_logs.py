"""`headgate logs`: the requests of a running gateway as lines, from every worker, without an access log."""

import json
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from e2e.kit import HEADGATE, RunningGateway, Serve, eventually

from headgate.cli.following import FIELDS
from headgate.cli.log_lines import harmless
from headgate.control.client import Client

DATA_ALONE: dict[str, Any] = {
    "routes": [
        {"path": "/ok", "respond": "ok", "name": "ok"},
        {"path": "/missing", "respond": {"status": 404}, "name": "missing"},
    ]
}
HOOKED = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.route("/ok", respond="ok", name="ok")
gate.route("/missing", respond=Response(404), name="missing")

@gate.request
def look(request): ...
"""


@contextmanager
def following(gateway: RunningGateway, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [str(HEADGATE), "logs", *arguments]
    environment = {**gateway.environment, "NO_COLOR": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=gateway.folder,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("following ")
        yield process
    finally:
        process.kill()
        process.communicate()


def output(process: subprocess.Popen[str]) -> list[str]:
    """What it prints until it ends."""
    return process.communicate(timeout=30)[0].splitlines()


@pytest.mark.parametrize("source", [DATA_ALONE, HOOKED], ids=["data", "hooks"])
def test_requests_of_every_worker_are_shown_as_they_end(serve: Serve, source: Any) -> None:
    gateway = serve(source, workers=2)
    with following(gateway, "--follow", "--json", "--count", "3") as process:
        for target in ("/ok", "/missing?x=1", "/ok"):
            gateway.get(target)
        lines = [json.loads(line) for line in output(process)]
    assert sorted((line["target"], line["status"], line["route"]) for line in lines) == [
        ("/missing?x=1", 404, "missing"),
        ("/ok", 200, "ok"),
        ("/ok", 200, "ok"),
    ]
    assert set(lines[0]) == set(FIELDS)


def test_a_condition_chooses_lines(serve: Serve) -> None:
    gateway = serve(DATA_ALONE)
    with following(gateway, "--where", 'status >= 400 and route == "missing"', "--count", "1") as process:
        gateway.get("/ok")
        gateway.get("/missing")
        (line,) = output(process)
    assert " 404 " in line and "/missing" in line and "missing" in line


def test_a_line_without_a_value_for_the_condition_is_left_out(serve: Serve) -> None:
    gateway = serve(DATA_ALONE)
    where = 'route == "missing" or tls["version"] == "TLSv1.3"'
    with following(gateway, "--json", "--where", where, "--count", "1") as process:
        gateway.get("/ok")
        gateway.get("/missing")
        assert [json.loads(line)["route"] for line in output(process)] == ["missing"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("status >= 400 && route == 'x'", "hint: write `and`"),
        ("state == 200", "there is no field `state`"),
        ("status >=", "is not a valid expression"),
        ("__import__('os').system('true')", "there is no field `__import__`"),
    ],
)
def test_a_wrong_condition_is_refused_with_a_hint(serve: Serve, where: str, said: str) -> None:
    gateway = serve(DATA_ALONE)
    result = gateway.cli("logs", "--where", where)
    assert result.returncode == 2
    assert said in result.stderr


def test_new_workers_are_followed_too(serve: Serve) -> None:
    gateway = serve(HOOKED)
    with following(gateway, "--json", "--count", "1") as process:
        gateway.write(HOOKED.replace('respond="ok"', 'respond="new"') + "\nanother = 1\n")
        assert gateway.cli("reload").returncode == 0
        assert gateway.get("/ok").text == "new"
        (line,) = output(process)
    assert json.loads(line)["target"] == "/ok"


def test_it_ends_with_the_gateway(serve: Serve) -> None:
    gateway = serve(DATA_ALONE)
    with following(gateway) as process:
        gateway.stop()
        assert process.wait(30) == 0


def test_one_that_never_reads_holds_up_nobody_and_is_told_what_it_lost(serve: Serve) -> None:
    gateway = serve(DATA_ALONE)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    assert gateway.process is not None
    client = Client(gateway.process.pid, gateway.environment["HEADGATE_RUNTIME_DIR"])
    lines = client.follow_logs(theirs)
    assert next(lines).workers == 1
    with gateway.client() as connection:
        for _ in range(2000):
            connection.send(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.response().status == 200
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    shown = lost = 0

    def all_are_accounted_for() -> bool:
        nonlocal shown, lost
        while poll.poll(0):
            line = json.loads(ours.recv(1 << 16))
            shown, lost = shown + ("status" in line), lost + line.get("dropped", 0)
        return shown + lost >= 2001

    eventually(lambda: shown or all_are_accounted_for() or shown, "the first lines")
    gateway.get("/ok")
    eventually(all_are_accounted_for, "the rest")
    assert shown + lost == 2001
    assert 0 < lost < 2001
    lines.close()
    ours.close()
    assert gateway.get("/ok").status == 200


def test_only_so_many_follow_at_once(serve: Serve) -> None:
    gateway = serve(DATA_ALONE)
    assert gateway.process is not None
    client = Client(gateway.process.pid, gateway.environment["HEADGATE_RUNTIME_DIR"])
    ends, running = [], []
    for _ in range(16):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ends.append(ours)
        running.append(client.follow_logs(theirs))
        assert next(running[-1]).workers == 1
    result = gateway.cli("logs")
    assert result.returncode == 1
    assert "16 commands already follow the log" in result.stderr
    for one in running:
        one.close()
    for end in ends:
        end.close()
    with following(gateway, "--no-follow", "--json") as process:
        gateway.get("/ok")
        assert len(output(process)) == 1


def test_what_clients_send_cannot_control_the_terminal(serve: Serve) -> None:
    gateway = serve(DATA_ALONE)
    with following(gateway, "--count", "1") as process:
        gateway.get("/ok?[red]x[/red]%1b[2J")
        (line,) = output(process)
    assert "[red]x[/red]" in line  # no markup either
    assert harmless("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"
