"""Changes of configuration beside user code: hooks and what they hold go on, plugins that differ are made anew."""

import json
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.client import format_request
from e2e.kit.websocket import RawWebSocket, WebSocketServer

CODE = """
import asyncio
import sys
from headgate import Plugin, Response
from pydantic import BaseModel

count = 0
waiting = asyncio.Event()

def counted(request):
    global count
    count += 1
    request.headers["x-count"] = str(count)

def shown(request):
    return Response.json({"count": count})

def other(request):
    return Response.text(f"other {count}")

def upper(request, message):
    return message.data.upper() if message.from_client else None

async def wait(request):
    print("waits", file=sys.stderr, flush=True)
    await waiting.wait()

def go_on(request):
    waiting.set()
    return Response.text("gone on")

class Stamp(Plugin):
    class Config(BaseModel):
        text: str
        fails: bool = False
    def response(self, request, response):
        response.headers["x-stamp"] = self.config.text
    async def startup(self):
        if self.config.fails:
            raise RuntimeError("this stamp is broken")
        print(f"opened {self.config.text}", file=sys.stderr, flush=True)
    async def close(self):
        print(f"closed {self.config.text}", file=sys.stderr, flush=True)
"""


def described(
    origin: str, version: str = "first", stamp: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "upstreams": {"api": {"servers": [origin]}},
        "routes": [
            {"path": "/version", "respond": version},
            {"path": "/count", "hooks": {"request": ["rules:shown"]}},
            {"path": "/wait", "to": "api", "hooks": {"request": ["rules:wait"]}},
            {"path": "/go-on", "hooks": {"request": ["rules:go_on"]}},
            {"path": "/ws", "to": "api", "hooks": {"websocket_message": ["rules:upper"]}},
            {"path": "/", "to": "api"},
        ],
        "hooks": {"request": ["rules:counted"]},
        "plugins": [{"plugin": "rules:Stamp", "config": stamp or {"text": "one"}}],
        **more,
    }


@pytest.fixture
def gateway(serve: Serve, origin: Origin) -> RunningGateway:
    return serve(described(origin.address), workers=2, files={"rules.py": CODE})


def changed(gateway: RunningGateway, source: dict[str, Any]) -> None:
    workers = gateway.workers
    gateway.write(source)
    response = gateway.ask("reload")
    assert response["ok"] and response["in_place"], response
    assert gateway.workers == workers


def test_hooks_keep_what_they_hold_when_routes_change(serve: Serve, origin: Origin) -> None:
    gateway = serve(described(origin.address), files={"rules.py": CODE})
    for _ in range(3):
        gateway.get("/version")
    before = gateway.get("/count").json()["count"]
    source = described(origin.address, "second")
    source["routes"].insert(0, {"path": "/new", "hooks": {"request": ["rules:other"]}})
    changed(gateway, source)
    assert gateway.get("/version").text == "second"
    assert gateway.get("/new").text == f"other {before + 2}"  # a function that was no hook before


def test_websocket_with_hooks_outlives_many_changes(serve: Serve) -> None:
    with WebSocketServer() as server:
        gateway = serve(described(server.address), files={"rules.py": CODE})
        with RawWebSocket(gateway.address, "/ws") as socket:
            assert socket.ask("before") == "BEFORE"
            for number in range(20):
                changed(gateway, described(server.address, f"version {number}"))
                assert socket.ask(f"still {number}") == f"STILL {number}"
            assert gateway.get("/version").text == "version 19"


def test_other_settings_of_a_plugin_take_effect_and_the_old_one_is_closed(
    gateway: RunningGateway, origin: Origin
) -> None:
    assert gateway.get("/version").get("x-stamp") == "one"
    changed(gateway, described(origin.address, stamp={"text": "two"}))
    assert [gateway.get("/version").get("x-stamp") for _ in range(10)] == ["two"] * 10
    eventually(lambda: gateway.log().count("closed one\n") >= 2, "the old plugin is closed in both workers")
    assert "closed two" not in gateway.log()
    # a change of something else leaves it alone
    opened = gateway.log().count("opened two\n")
    changed(gateway, described(origin.address, "second", stamp={"text": "two"}))
    assert gateway.get("/version").text == "second"
    assert gateway.log().count("opened two\n") == opened == 2


def test_old_plugin_is_closed_after_its_last_request(serve: Serve, origin: Origin) -> None:
    gateway = serve(described(origin.address), files={"rules.py": CODE})
    with gateway.client() as slow:
        slow.send(format_request("GET", "/wait"))
        gateway.wait_for_log("waits\n")
        changed(gateway, described(origin.address, stamp={"text": "two"}))
        assert gateway.get("/version").get("x-stamp") == "two"
        assert "closed one" not in gateway.log()
        assert gateway.get("/go-on").text == "gone on"
        assert slow.response().get("x-stamp") == "one"
        gateway.wait_for_log("closed one\n")
        assert slow.get("/version").get("x-stamp") == "two"


def test_other_source_starts_new_workers(gateway: RunningGateway, origin: Origin) -> None:
    workers = gateway.workers
    (gateway.folder / "rules.py").write_text(CODE.replace("other {count}", "changed {count}"))
    gateway.write(described(origin.address, "second"))
    response = gateway.ask("reload")
    assert response["ok"] and not response["in_place"]
    assert not set(gateway.workers) & set(workers)
    assert gateway.get("/version").text == "second"


def test_a_plugin_that_cannot_start_changes_nothing_anywhere(gateway: RunningGateway, origin: Origin) -> None:
    workers = gateway.workers
    for stamp, told in (({"text": "two", "fails": True}, "this stamp is broken"), ({"txt": "two"}, "txt")):
        gateway.write(described(origin.address, "second", stamp=stamp))
        response = gateway.ask("reload")
        assert not response["ok"] and told in response["error"]
        assert [gateway.get("/version").text for _ in range(10)] == ["first"] * 10
        assert gateway.get("/version").get("x-stamp") == "one"
    assert gateway.workers == workers
    changed(gateway, described(origin.address, "second", stamp={"text": "two"}))


def test_many_changes_take_no_memory(serve: Serve, origin: Origin) -> None:
    gateway = serve(described(origin.address), files={"rules.py": CODE})

    def change(number: int) -> None:
        gateway.write(described(origin.address, f"version {number}", stamp={"text": f"stamp {number}"}))
        assert gateway.ask("reload")["in_place"]

    def resident_kb() -> int:
        [pid] = gateway.workers
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return int(next(line for line in file if line.startswith("Pss_Anon")).split()[1])

    with gateway.client() as kept:
        for number in range(10):
            change(number)
        before = resident_kb()
        for number in range(10, 25):
            change(number)
            assert kept.get("/version").text == f"version {number}"
        assert resident_kb() - before < 2000


BUILDER = """
import json
from pathlib import Path
from headgate import Gateway, Response

read = lambda name: json.loads((Path(FOLDER) / name).read_text())
gate = Gateway()
gate.listen(LISTEN)
for path, text in read("routes.json").items():
    gate.route(path, respond=text)
limits = read("limits.json")
asked = 0

@gate.route("/asked")
def ask(request):
    global asked
    asked += 1
    return Response.json({"asked": asked, "limits": limits})
"""


def test_data_that_a_python_file_reads_goes_into_its_workers(serve: Serve) -> None:
    gateway = serve(BUILDER, files={"routes.json": json.dumps({"/a": "first"}), "limits.json": "[1]"})
    workers = gateway.workers
    assert gateway.get("/asked").json()["asked"] == 1
    (gateway.folder / "routes.json").write_text(json.dumps({"/a": "second", "/b": "new"}))
    assert gateway.ask("reload")["in_place"]
    assert (gateway.get("/a").text, gateway.get("/b").text) == ("second", "new")
    assert gateway.get("/asked").json()["asked"] == 2
    assert gateway.workers == workers
    # what a hook reads at run time is part of it: the hook of the workers that run has the old data
    (gateway.folder / "limits.json").write_text("[2]")
    response = gateway.ask("reload")
    assert response["ok"] and not response["in_place"]
    assert gateway.get("/asked").json() == {"asked": 1, "limits": [2]}
