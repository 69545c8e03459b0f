"""The examples of shared dictionaries and background work do what they say, in several workers or nodes."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import Call, Origin, RawResponse, RunningGateway, Serve, eventually
from e2e.kit.behaviours import reply
from e2e.kit.origin import PROBE_PATH
from e2e.kit.services import redis

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = [
    "least_connections.py",
    "blocking_and_computing.py",
    "ab_split.py",
    "waiting_room.py",
    "waiting_room_redis.py",
]


def start(serve: Serve, name: str, workers: int = 2, **environment: str) -> RunningGateway:
    """Runs an example on the kit's address."""
    text = "import os; os.environ['LISTEN'] = LISTEN\n" + (EXAMPLES / name).read_text()
    text += f"\ngate.route({PROBE_PATH!r}, respond='ready')\n"  # the kit's own requests are no visitors
    return serve(text, environment=environment, workers=workers)


@pytest.mark.parametrize("name", NAMES)
def test_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 50


def test_requests_go_where_least_is_to_do(serve: Serve) -> None:
    goes_on = threading.Event()

    def slow(call: Call) -> None:
        goes_on.wait(30)
        call.respond(b"slow")

    with Origin() as first, Origin() as second:
        gateway = start(serve, "least_connections.py", SERVERS=f"{first.address},{second.address}")
        first.on("/work", slow)
        second.on("/work", slow)
        clients = [gateway.client(timeout=30) for _ in range(6)]
        for client in clients:
            client.send(b"GET /work HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: len(first.at("/work")) + len(second.at("/work")) == 6, "all are at work")
        assert len(first.at("/work")) == len(second.at("/work")) == 3
        goes_on.set()
        assert [client.response().text for client in clients] == ["slow"] * 6
        for client in clients:
            client.close()


def test_blocking_and_computing_calls(serve: Serve, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "prices.db") as database:
        database.execute("create table prices (name, price)")
        database.execute("insert into prices values ('tea', 3)")
    gateway = start(serve, "blocking_and_computing.py", PRICES=str(tmp_path / "prices.db"))
    assert gateway.get("/prices/tea").json() == 3
    assert gateway.get("/prices/coffee").status == 404
    assert gateway.get("/prices/%FF").status == 404
    assert gateway.get("/primes/100").json() == 25
    assert gateway.get("/primes/x").status == 400


def test_a_visitor_stays_with_one_version(serve: Serve) -> None:
    with Origin() as a, Origin() as b:
        a.on("/", reply(b"a"))
        b.on("/", reply(b"b"))
        gateway = start(serve, "ab_split.py", A=a.address, B=b.address, PERCENT_B="50")
        seen = set()
        assert gateway.get("/", [("Cookie", 'visitor="\xff"')]).status == 200
        for _ in range(30):
            response = gateway.get("/")
            cookie = str(response.get("set-cookie")).partition(";")[0]
            again = gateway.get("/", [("Cookie", cookie)])
            assert again.text == response.text and again.get("set-cookie") is None
            seen.add(response.text)
        assert seen == {"a", "b"}
        counted = gateway.get("/_ab").json()
        assert sum(counted.values()) == 61


class Visitor:
    """A browser: keeps its ticket."""

    def __init__(self, *gateways: RunningGateway) -> None:
        self.gateways = gateways
        self.ticket = ""
        self.asked = 0

    def ask(self) -> RawResponse:
        gateway = self.gateways[self.asked % len(self.gateways)]  # whichever node the balancer chooses
        self.asked += 1
        response = gateway.get("/", [("Cookie", self.ticket)] if self.ticket else [])
        self.ticket = str(response.get("set-cookie")).partition(";")[0]
        return response

    @property
    def position(self) -> int:
        """0: inside."""
        response = self.ask()
        if response.status == 200:
            return 0
        assert response.status == 503 and response.get("refresh")
        found = re.search(r"number (\d+) in the queue", response.text)
        assert found, response.text
        return int(found[1])


def queue_up(gateways: list[RunningGateway]) -> None:
    """Two seats: what five visitors see."""
    visitors = [Visitor(*gateways) for _ in range(5)]
    assert [visitor.position for visitor in visitors] == [0, 0, 1, 2, 3]
    assert [visitor.position for visitor in visitors] == [0, 0, 1, 2, 3], "nobody's place changes by asking"
    forger = Visitor(*gateways)
    forger.ticket = re.sub(r"=\d+", "=1", visitors[4].ticket)
    assert forger.position == 4, "a number that was not given does not count"
    staying, *_, patient, last = visitors
    order: list[int] = []

    def all_are_in() -> bool:
        # the second visitor is inactive and loses the seat, the third one leaves the queue
        assert staying.position == 0
        for number, visitor in ((4, patient), (5, last)):
            if number not in order and visitor.position == 0:
                order.append(number)
        return bool(order)

    eventually(all_are_in, "a seat becomes free", within=20)
    assert order == [4], "the first of those who still wait gets it"


def test_waiting_room_is_fair(serve: Serve, origin: Origin) -> None:
    gateway = start(
        serve, "waiting_room.py", SEATS="2", STAY_S="2", PATIENCE_S="1", ORIGIN=str(origin.address)
    )
    queue_up([gateway])


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with redis(tmp_path) as url:
        yield url


def test_waiting_room_of_several_nodes_is_fair(serve: Serve, origin: Origin, redis_url: str) -> None:
    settings = {"SEATS": "2", "STAY_S": "2", "PATIENCE_S": "1", "ORIGIN": str(origin.address)}
    nodes = [start(serve, "waiting_room_redis.py", workers=1, REDIS=redis_url, **settings) for _ in range(2)]
    queue_up(nodes)
