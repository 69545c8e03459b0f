"""`headgate profile` and `headgate trace`: where a running gateway's time goes, by hook and by request."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from e2e.kit import HEADGATE, Origin, RawClient, RunningGateway, Serve, eventually

HOOKED = """
import threading, time
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.watchdog(None)
gate.route("/", respond="ok", name="ok")

def work():
    until = time.process_time() + 0.01
    while time.process_time() < until:
        sum(range(100))

@gate.request
def burns(request):
    work()

@gate.response
async def waits(request, response):
    time.sleep(0.01)
"""


@contextmanager
def traffic(gateway: RunningGateway, target: str = "/") -> Iterator[None]:
    """One client that asks again and again."""
    ended = threading.Event()

    def ask() -> None:
        with RawClient(gateway.address) as client:
            while not ended.is_set():
                client.get(target)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def by_hook(reply: dict[str, Any]) -> dict[str, float]:
    frames = [name for name, _, _ in reply["profile"]["frames"]]
    sums: dict[str, float] = {}
    for places, seconds in reply["profile"]["stacks"]:
        for name in {frames[place] for place in places}:
            sums[name] = sums.get(name, 0.0) + seconds
    return sums


def test_time_is_shown_by_phase_and_hook_also_of_what_only_waits(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(HOOKED)
    with traffic(gateway):
        told = gateway.cli("profile", "--seconds", "2", "--json")
        assert told.returncode == 0, told.stderr
        reply = json.loads(told.stdout)
        shown = gateway.cli("profile", "-s", "0.5", "-o", str(tmp_path / "p"))
    sums = by_hook(reply)
    assert reply["workers"] == 1 and reply["missing"] == 0
    assert sums["work"] > 0.2 and sums["gate.py:burns"] >= sums["work"] > 0
    assert sums["request"] >= sums["gate.py:burns"] and sums["gate.py:waits"] > 0.2
    assert any(re.match(r"request +gate\.py:burns", line) for line in shown.stdout.splitlines())
    assert f"{tmp_path}/p.svg" in shown.stdout
    ElementTree.fromstring((tmp_path / "p.svg").read_text())
    assert json.loads((tmp_path / "p.speedscope.json").read_text())["profiles"][0]["type"] == "sampled"


def test_hooks_after_a_change_in_place_are_known_as_well(serve: Serve) -> None:
    gateway = serve(HOOKED, workers=2)
    gateway.write(HOOKED.replace('respond="ok"', 'respond="other"'))
    assert gateway.ask("reload")["ok"]
    with traffic(gateway):
        reply = json.loads(gateway.cli("profile", "--seconds", "1", "--json").stdout)
    assert reply["workers"] == 2 and by_hook(reply)["gate.py:burns"] > 0


def test_one_profile_at_a_time_and_none_without_python_code(serve: Serve) -> None:
    gateway = serve(HOOKED)

    def begun() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(HEADGATE), "profile", "--seconds", "600", "--json"],
            env=gateway.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    first = begun()

    def second_is_refused() -> bool:
        nonlocal first
        if first.poll() is not None:  # it came while a second one was being taken
            first.communicate()
            first = begun()
        return "is being taken already" in gateway.cli("profile", "-s", "0.05", "--json").stderr

    try:
        eventually(second_is_refused, "the second one is refused", within=60)
        os.kill(gateway.workers[0], signal.SIGKILL)
        _, error = first.communicate(timeout=30)
        assert "no worker has responded" in error
    finally:
        first.kill()
        first.communicate()
    late = gateway.cli("profile", "-s", "0.05", "-o", "nowhere/x")
    assert late.returncode == 2 and "the directory `nowhere` does not exist" in late.stderr


def test_a_gateway_without_hooks_can_be_asked(serve: Serve) -> None:
    gateway = serve({"routes": [{"respond": "ok"}]})
    told = gateway.cli("profile", "-s", "0.05", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["profile"]["samples"] >= 1


@contextmanager
def tracing(gateway: RunningGateway, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [str(HEADGATE), "trace", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**gateway.environment, "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        assert process.stderr is not None and process.stderr.readline().startswith("waiting for requests")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_next_matching_requests_are_shown_with_each_step(serve: Serve, origin: Origin) -> None:
    source = HOOKED.replace('respond="ok"', f'to="{origin.address}"')
    gateway = serve(source)
    with tracing(gateway, 'route == "ok" and target == "/seen"') as process:
        gateway.get("/other")
        gateway.get("/seen")
        output = process.communicate(timeout=30)[0]
    assert process.returncode == 0 and "/seen" in output and "/other" not in output
    begins = {}
    for step in ("until the head", "body", "in all", "request gate.py:burns"):
        (line,) = [one for one in output.splitlines() if one.strip().startswith(step)]
        found = re.search(r"([+-]\d+\.\d{3}) +\d+\.\d{3} ms", line)
        assert found, line
        begins[step] = float(found[1])
    assert 0 <= begins["request gate.py:burns"] <= begins["until the head"] <= begins["body"]
    with tracing(gateway, "--count", "2", "--json") as process:
        for target in ("/1", "/2", "/3"):
            gateway.get(target)
        lines = [json.loads(line) for line in process.communicate(timeout=30)[0].splitlines()]
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("predicate", "said"), [("status >>", "is not a valid expression"), ("stauts > 1", "no field `stauts`")]
)
def test_a_wrong_predicate_is_refused(serve: Serve, predicate: str, said: str) -> None:
    gateway = serve({"routes": [{"respond": "ok"}]})
    told = gateway.cli("trace", predicate)
    assert told.returncode == 2 and "PREDICATE: " in told.stderr and said in told.stderr
