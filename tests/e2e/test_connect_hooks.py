"""Hooks of connections, before any byte of HTTP."""

from collections.abc import Iterator

import pytest
from e2e.kit import RawClient, RunningGateway, Serve, free_port

GATE = """
import asyncio
from headgate import Gateway, Plugin, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json", to="file:" + FOLDER + "/access.log")
gate.route("/", respond="let in")

class Bouncer(Plugin):
    async def connect(self, connection):
        await asyncio.sleep(0)
        if connection.listener == "guarded":
            connection.refuse("not today")

gate.use(Bouncer())
gate.listen(GUARDED, name="guarded")
short = gate.listen(SHORT)
late = gate.listen(LATE)
raising = gate.listen(RAISING)
open_ = gate.listen(OPEN)
wrong = gate.listen(WRONG)

@short.connect
def limit(connection):
    connection.max_requests = 2
    connection.idle = 0.2

@late.connect(deadline="100ms")
async def sleeps(connection):
    await asyncio.sleep(60)

@raising.connect
def raises(connection):
    1 / 0

@open_.connect(on_error="open")
def raises_open(connection):
    1 / 0

@wrong.connect
def returns(connection):
    return Response(200)
"""
NAMES = ("GUARDED", "SHORT", "LATE", "RAISING", "OPEN", "WRONG")


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    return {name: f"127.0.0.1:{free_port()}" for name in NAMES}


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, str]) -> Iterator[RunningGateway]:
    yield serve_module(GATE, names=names)


def test_refused_connection_is_closed_counted_and_logged(
    gateway: RunningGateway, names: dict[str, str]
) -> None:
    before = gateway.counter("refused_by_hook")
    with RawClient(names["GUARDED"]) as client:
        assert client.is_closed(), "without a byte from the client"
    gateway.access_record(gateway.folder / "access.log", error="refused_by_hook")
    assert gateway.counter("refused_by_hook") == before + 1


def test_hook_sets_limits(gateway: RunningGateway, names: dict[str, str]) -> None:
    with RawClient(names["SHORT"]) as client:
        assert client.get("/").get("connection") != "close"
        assert client.get("/").get("connection") == "close"
        assert client.is_closed()
    with RawClient(names["SHORT"]) as client:
        assert client.is_closed(), "idle for 0.2 s"


@pytest.mark.parametrize("name", ["LATE", "RAISING", "WRONG"])
def test_failing_hook_refuses_its_connection_only(
    gateway: RunningGateway, names: dict[str, str], name: str
) -> None:
    with RawClient(names[name]) as client:
        assert client.is_closed()
    gateway.access_record(gateway.folder / "access.log", error="hook_failed")
    assert gateway.get("/").text == "let in"


def test_failing_hook_that_is_open_lets_in(gateway: RunningGateway, names: dict[str, str]) -> None:
    with RawClient(names["OPEN"]) as client:
        assert client.get("/").text == "let in"
    gateway.wait_for_log("ZeroDivisionError")
