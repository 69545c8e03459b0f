"""Waiting rooms and requests that wait for each other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from e2e.kit import services

from headgate import ConfigError, Gateway, Response
from headgate.plugins import KeyAuth, RequestCoalescing, WaitingRoom
from headgate.testing import Received, TestGateway, TestResponse

SECRET = "a secret of thirty-two characters"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with services.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


class Visitor:
    """A browser that keeps its ticket."""

    def __init__(self, gateway: TestGateway) -> None:
        self._gateway = gateway
        self.ticket = ""

    def ask(self) -> TestResponse:
        response = self._gateway.get("/", {"cookie": f"a=b; ticket-room={self.ticket}"})
        given = response.headers.get_all("set-cookie")
        self.ticket = given[-1].partition("=")[2].partition(";")[0] if given else self.ticket
        return response

    def position(self) -> int:
        response = self.ask()
        return 0 if response.status == 200 else int(response.text.partition("number ")[2].partition(" ")[0])


def room(**config: Any) -> tuple[Gateway, WaitingRoom]:
    gate, plugin = Gateway(), WaitingRoom(**{"secret": SECRET, "seats": 2, **config})
    gate.route("/", respond="in")
    gate.use(plugin, name="room")
    return gate, plugin


@pytest.mark.parametrize("kind", ["node", "redis"])
def test_visitors_come_in_by_the_order_of_arrival(kind: str, redis_url: str) -> None:
    gate, plugin = room(
        **({"redis": redis_url, "stay": 1, "patience": 60} if kind == "redis" else {"stay": 1})
    )
    with TestGateway(gate) as gateway:
        visitors = [Visitor(gateway) for _ in range(5)]
        assert [one.position() for one in visitors] == [0, 0, 1, 2, 3]
        waiting = visitors[2].ask()
        assert (waiting.status, waiting.headers["refresh"], waiting.headers["cache-control"]) == (
            503,
            "5",
            "no-store",
        )
        late = Visitor(gateway)
        inside = {0, 1}
        for turn in range(2000):
            # the later one is asked first: seats may be given in between, and who comes earlier must have one then
            now = {n for n in (3, 2) if visitors[n].position() == 0}
            if turn == 0:
                assert late.position() == 4
            if now:
                inside = now
                break
            if kind == "node":
                plugin._give_seats()
        assert min(inside) == 2  # never 3 without 2


def test_a_seat_is_kept_while_it_is_used_and_nobody_takes_two() -> None:
    gate, plugin = room()
    with TestGateway(gate) as gateway:
        first, second, third = (Visitor(gateway) for _ in range(3))
        assert [one.position() for one in (first, second, third)] == [0, 0, 1]
        for _ in range(5):
            plugin._give_seats()
            assert [one.position() for one in (first, second, third)] == [0, 0, 1]
        plugin._room.delete("seat 0")
        plugin._room.delete("seat 1")
        plugin._give_seats()
        assert third.position() == 0
        assert first.position() == 0  # came again as a newcomer, and there is room
        assert second.position() == 1


def test_who_does_not_ask_again_loses_the_place() -> None:
    gate, plugin = room(seats=1)
    with TestGateway(gate) as gateway:
        inside, gone, waits = (Visitor(gateway) for _ in range(3))
        assert [one.position() for one in (inside, gone, waits)] == [0, 1, 2]
        plugin._room.delete("waits 2")
        plugin._room.delete("seat 0")
        plugin._give_seats()
        assert waits.position() == 0
        assert gone.position() == 1


def test_seats_are_looked_at_in_parts_and_each_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.plugins.waiting_room.SEATS_AT_ONCE", 4)
    gate, plugin = room(seats=10)
    with TestGateway(gate) as gateway:
        visitors = [Visitor(gateway) for _ in range(13)]
        first = [one.position() for one in visitors]
        assert first == [0] * 4 + list(range(1, 10))
        for _ in range(3):
            plugin._give_seats()
        assert [one.position() for one in visitors] == [0] * 10 + [1, 2, 3]
        seats = [plugin._room.get(f"seat {seat}") for seat in range(10)]
        assert sorted(seats) == list(range(1, 11))
        for _ in range(3):
            plugin._give_seats()
        assert plugin._room.llen("free") == 0


def test_who_is_inside_costs_redis_three_commands_and_who_joins_ten(redis_url: str) -> None:
    gate, _ = room(redis=redis_url)
    with TestGateway(gate) as gateway, redis.Redis.from_url(redis_url) as server:

        def commands(visitor: Visitor, position: int) -> int:
            server.config_resetstat()
            assert visitor.position() == position
            found = server.info("commandstats")
            ours = (
                stat["calls"] for name, stat in found.items() if "eval" not in name and "config" not in name
            )
            return sum(ours)

        server.flushdb()
        visitors = [Visitor(gateway) for _ in range(3)]
        visitors[0].ask()  # the script is there now
        assert commands(visitors[0], 0) == 3
        assert commands(visitors[1], 0) == 10  # the last seat is given
        assert commands(visitors[2], 1) == 7
        assert commands(visitors[2], 1) == 7


@pytest.mark.parametrize("ticket", ["1-" + "0" * 64, "1", "x", "1-" + "a" * 64, "9" * 30 + "-" + "0" * 64])
def test_a_ticket_that_was_not_given_is_no_ticket(ticket: str) -> None:
    gate, _ = room(seats=1)
    with TestGateway(gate) as gateway:
        assert Visitor(gateway).position() == 0
        forger = Visitor(gateway)
        forger.ticket = ticket
        assert forger.position() == 1


@pytest.mark.parametrize("padding", [1, 4096])  # also of more cookies than are remembered
def test_a_ticket_counts_wherever_it_is_among_the_cookies(padding: int) -> None:
    gate, _ = room(seats=1)
    with TestGateway(gate) as gateway:
        visitor = Visitor(gateway)
        visitor.ask()
        more = f"a={'b' * padding}"
        for fields in ([more, f"ticket-room={visitor.ticket}"], [f"ticket-room={visitor.ticket}; {more}"]):
            assert gateway.get("/", [("cookie", one) for one in fields]).status == 200
        assert gateway.get("/", [("cookie", more)]).status == 503


@pytest.mark.parametrize(("when_away", "status"), [("open", 200), ("closed", 503)])
def test_without_redis_the_choice_holds(when_away: str, status: int) -> None:
    gate, _ = room(redis="redis://127.0.0.1:1", when_away=when_away)
    with TestGateway(gate) as gateway:
        assert [gateway.get("/").status for _ in range(2)] == [status] * 2


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="the secret is too short"):
        room(secret="short")


# ---- coalescing


class Server:
    """Responds late, and counts."""

    def __init__(self, **headers: str) -> None:
        self.asked: list[Received] = []
        self.headers = headers
        self.go = asyncio.Event()
        self.status = 200

    async def __call__(self, received: Received) -> Response:
        self.asked.append(received)
        await self.go.wait()
        fields = {name.replace("_", "-"): value for name, value in self.headers.items()}
        return Response(self.status, f"{len(self.asked)} {received.target}", headers=fields)


def coalescing(server: Server, **config: Any) -> tuple[TestGateway, RequestCoalescing]:
    gate, plugin = Gateway(), RequestCoalescing(**config)
    gate.route("/", to=gate.upstream("app", "server.test:80"))
    gate.use(plugin)
    return TestGateway(gate, upstreams={"app": server}), plugin


def ask_at_once(gateway: TestGateway, server: Server, asked: list[dict[str, Any]]) -> list[TestResponse]:
    pending = [gateway.start(one.pop("method", "GET"), one.pop("target", "/x"), **one) for one in asked]
    gateway.until(lambda: server.asked)
    gateway.run(asyncio.sleep(0.05))
    server.go.set()
    return [one.result() for one in pending]


def test_those_who_ask_at_once_get_one_response() -> None:
    server = Server(x_a="b", etag='"e"')
    with coalescing(server)[0] as gateway:
        responses = ask_at_once(gateway, server, [{} for _ in range(20)])
        assert len(server.asked) == 1
        assert {(one.status, one.text, one.headers["x-a"], one.headers["etag"]) for one in responses} == {
            (200, "1 /x", "b", '"e"')
        }
        assert gateway.get("/x").text == "2 /x"


@pytest.mark.parametrize(
    "other",
    [
        {"target": "/y"},
        {"headers": {"host": "other.example"}},
        {"headers": {"accept": "text/html"}},
        {"headers": {"cookie": "a=b"}},
        {"headers": {"authorization": "x"}},
        {"headers": {"range": "bytes=0-1"}},
        {"headers": {"if-none-match": '"x"'}},
        {"method": "POST", "body": "x"},
        {"method": "HEAD"},
    ],
)
def test_what_could_get_another_response_asks_by_itself(other: dict[str, Any]) -> None:
    server = Server()
    with coalescing(server)[0] as gateway:
        ask_at_once(gateway, server, [{}, {}, other])
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, [{"x-api-key": "a-key"}, {"x-api-key": "b-key"}]),
        (
            {"header": "authorization", "scheme": "Bearer"},
            [{"authorization": f"Bearer {k}-key"} for k in "ab"],
        ),
        ({"cookie": "k"}, [{"cookie": "k=a-key"}, {"cookie": "k=b-key"}]),
        ({"anonymous": "guest"}, [{}, {"x-api-key": "b-key"}]),
    ],
)
def test_whom_another_plugin_knows_shares_with_nobody(
    settings: dict[str, Any], keys: list[dict[str, str]]
) -> None:
    server = Server()
    gate = Gateway()
    gate.route("/", to=gate.upstream("app", "server.test:80"))
    gate.use(RequestCoalescing())
    gate.use(KeyAuth(keys={"alice": "a-key", "bob": "b-key"}, **settings))
    with TestGateway(gate, upstreams={"app": server}) as gateway:
        ask_at_once(gateway, server, [{"headers": key} for key in keys])
    assert len(server.asked) == 2
    told = {received.headers["x-consumer"] for received in server.asked}
    assert told == {"guest" if "anonymous" in settings else "alice", "bob"}


@pytest.mark.parametrize(
    "headers",
    [
        {"set_cookie": "a=b"},
        {"cache_control": "private"},
        {"cache_control": "max-age=5, No-Store"},
        {"vary": "cookie"},
        {"vary": "*"},
    ],
)
def test_what_is_for_one_client_is_shared_with_nobody_and_nobody_waits_for_it_again(
    headers: dict[str, str],
) -> None:
    server = Server(**headers)
    gateway, plugin = coalescing(server)
    with gateway:
        responses = ask_at_once(gateway, server, [{} for _ in range(5)])
        assert len(server.asked) == 6 and len({one.text for one in responses}) == 5
        gateway.get("/x")
        assert len(server.asked) == 7 and plugin._running == {}


def test_a_body_that_is_too_long_is_not_shared() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 100

    async def server(received: Received) -> Response:
        return Response.stream(pieces())

    gate = Gateway()
    gate.route("/", to=gate.upstream("app", "server.test:80"))
    gate.use(RequestCoalescing(max_body_bytes=500))
    with TestGateway(gate, upstreams={"app": server}) as gateway:
        assert len(gateway.get("/x").body) == 1000
        assert len(gateway.received) == 2


@pytest.mark.parametrize(
    ("body", "status", "arrived"),
    [("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, [b"abcde"]), ("0\r\n\r\n", 200, [b""]), ("x\r\n", 400, [])],
)
def test_a_get_whose_body_has_no_length_asks_by_itself(body: str, status: int, arrived: list[bytes]) -> None:
    server = Server()
    server.go.set()
    gateway, plugin = coalescing(server)
    with gateway:
        response = gateway.request("GET", "/x", {"transfer-encoding": "chunked"}, body=body)
        assert response.status == status and plugin._alone == plugin._running == {}
    assert [one.body for one in server.asked] == arrived


def test_a_get_with_an_empty_body_is_shared() -> None:
    server = Server()
    asked = [{}, {"body": ""}, {"headers": {"content-length": "0"}}]
    with coalescing(server)[0] as gateway:
        ask_at_once(gateway, server, asked)
        assert len(server.asked) == 1


def test_whoever_asked_first_may_leave() -> None:
    server = Server()
    with coalescing(server)[0] as gateway:
        first = gateway.start("GET", "/x")
        gateway.until(lambda: server.asked)
        second = gateway.start("GET", "/x")
        gateway.run(asyncio.sleep(0.05))
        first.leave()
        gateway.run(asyncio.sleep(0.05))
        server.go.set()
        assert second.result().text == "1 /x" and len(server.asked) == 1


def test_a_server_that_fails_fails_for_each() -> None:
    server = Server()
    server.status = 500
    with coalescing(server)[0] as gateway:
        responses = ask_at_once(gateway, server, [{} for _ in range(3)])
        assert [one.status for one in responses] == [500] * 3 and len(server.asked) == 1
