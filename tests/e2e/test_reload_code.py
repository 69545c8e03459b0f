"""Reloads of code in several files: modules, plugins, startup hooks; and versions that fail in one way or another."""

import os
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.test_reload import KeepAliveClients

GATE = """
from headgate import Gateway, Response
from stamping import Stamp
import helper
gate = Gateway()
gate.listen(LISTEN)
starts = gate.shared("starts", "1m")
gate.use(Stamp(text="first"))

@gate.route("/")
def response(request):
    return Response.text(helper.VALUE)

@gate.route("/starts")
def show(request):
    return Response.json({key: starts.get(key) for key in starts})
"""
PLUGIN = """
from headgate import Plugin
from pydantic import BaseModel

class Stamp(Plugin):
    class Config(BaseModel):
        text: str

    def response(self, request, response):
        response.headers["x-stamp"] = self.config.text + " by version 1"

    def request(self, request):
        request.state.seen = True
"""


@pytest.fixture
def gateway(serve: Serve) -> RunningGateway:
    files = {"stamping.py": PLUGIN, "helper.py": "VALUE = 'one'\n"}
    return serve(GATE, workers=2, files=files)


def file(gateway: RunningGateway, name: str) -> Path:
    return gateway.folder / name


def refused(gateway: RunningGateway, told: str) -> None:
    """The reload is refused for this reason, and the old version goes on."""
    workers = gateway.workers
    response = gateway.ask("reload")
    assert not response["ok"] and told in response["error"], response
    assert gateway.get("/").text == "one"
    assert gateway.workers == workers
    eventually(lambda: len(gateway.ask()["workers"]) == 2, "nothing of the new version is left")


def test_modules_and_plugins_are_loaded_anew(gateway: RunningGateway) -> None:
    assert gateway.get("/").get("x-stamp") == "first by version 1"
    file(gateway, "stamping.py").write_text(PLUGIN.replace("version 1", "version 2"))
    file(gateway, "helper.py").write_text("VALUE = 'two'\n")
    assert gateway.ask("reload")["ok"]
    response = gateway.get("/")
    assert (response.text, response.get("x-stamp")) == ("two", "first by version 2")


def test_a_module_saved_again_within_the_same_second_is_not_taken_for_its_former_self(
    gateway: RunningGateway,
) -> None:
    helper = file(gateway, "helper.py")
    before = helper.stat()
    helper.write_text("VALUE = 'two'\n")
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert helper.stat().st_size == before.st_size
    assert gateway.ask("reload")["ok"]
    assert gateway.get("/").text == "two"
    assert not (gateway.folder / "__pycache__").exists()


def test_a_module_that_does_not_import_keeps_the_old_version(gateway: RunningGateway) -> None:
    file(gateway, "helper.py").write_text("import no_such_library\nVALUE = 'two'\n")
    refused(gateway, "helper.py:1")
    file(gateway, "helper.py").write_text("VALUE = \n")
    refused(gateway, "syntax error")


def test_a_plugin_that_does_not_fit_keeps_the_old_version(gateway: RunningGateway) -> None:
    for change, told in (
        (
            ("def response(self, request, response)", "def respond(self, request, response)"),
            "`respond` of plugin",
        ),
        (("text: str", "words: str"), "`text`"),
        (
            ("class Config", "def setup(self):\n        raise OSError('no disk')\n\n    class Config"),
            "no disk",
        ),
    ):
        file(gateway, "stamping.py").write_text(PLUGIN.replace(*change))
        refused(gateway, told)


def test_a_startup_hook_that_fails_in_one_worker_keeps_the_old_version(gateway: RunningGateway) -> None:
    hook = """
@gate.startup
def second_fails():
    if starts.incr("starts") == 2:
        raise OSError("the second one")
"""
    gateway.write(GATE + hook)
    refused(gateway, "the second one")
    assert gateway.get("/starts").json()["starts"] == 2


def test_a_startup_hook_that_hangs_keeps_the_old_version(gateway: RunningGateway) -> None:
    hook = """
import asyncio

@gate.startup(deadline="200ms")
async def hangs():
    await asyncio.sleep(60)
"""
    gateway.write(GATE + hook)
    refused(gateway, "startup hook `gate.py:hangs` failed: TimeoutError")


def test_nothing_of_a_refused_version_runs_on(gateway: RunningGateway) -> None:
    more = """
import asyncio, atexit, os

@gate.every("1ms")
def tick():
    starts.incr("ticks")

@gate.startup
async def begin():
    global task
    task = asyncio.ensure_future(asyncio.sleep(60))
    starts.incr("begun")

@gate.shutdown
def end():
    starts.incr("ended")

@gate.startup
def fails():
    if starts.get("begun") == 2:
        raise OSError("refused")
    os.environ["LEFT"] = "1"
"""
    gateway.write(GATE + more)
    refused(gateway, "refused")
    counted = gateway.get("/starts").json()
    assert counted["begun"] == 2 and "ticks" not in counted


def test_refused_and_accepted_versions_in_turn_lose_no_request(gateway: RunningGateway) -> None:
    with KeepAliveClients(gateway, 8) as clients:
        for number in range(4):
            bad = number % 2
            gateway.write(GATE + ("\nraise OSError('no')\n" if bad else f"\nVERSION = {number}\n"))
            assert gateway.ask("reload")["ok"] is not bool(bad)
            before = clients.responses
            eventually(lambda seen=before: clients.responses > seen + 20, "requests go on")  # type: ignore[misc]
    assert clients.failed == []
