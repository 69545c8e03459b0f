"""The scripts that people bring along from other gateways, in the test kit: without ports, servers or waiting."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from headgate import Response, load
from headgate.testing import Fault, Received, TestGateway

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMED = (
    "follow_redirects",
    "least_connections",
    "cached_feed",
    "fan_out",
    "function_matcher",
    "gzip_after_rewrite",
    "socks5",
    "blocking_and_computing",
    "ab_split",
    "waiting_room",
    "waiting_room_redis",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples read addresses from the environment; here their defaults hold."""
    for name in ("LISTEN", "ORIGIN", "SERVERS", "FEED", "A", "B", "PERCENT_B", "SEATS", "PRICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", NAMED)
def test_example_is_there_and_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 50


def test_redirects_within_the_origin_are_followed() -> None:
    def origin(received: Received) -> Response:
        if received.path == "/old":
            return Response(302, headers={"location": "/new"})
        if received.path == "/away":
            return Response(302, headers={"location": "http://elsewhere.test/"})
        return Response(200, f"here is {received.path}", headers={"set-cookie": "a=b"})

    with TestGateway(EXAMPLES / "follow_redirects.py", upstreams={"api": origin}) as gateway:
        response = gateway.get("/old")
        assert (response.status, response.text) == (200, "here is /new")
        assert "set-cookie" not in response.headers
        assert gateway.get("/away").status == 302


@pytest.mark.parametrize(
    ("location", "status"),
    [
        ("/new#part", 200),
        ("/moved", 502),
        ("/a b", 502),
        ("new", 302),
        ("//elsewhere.test/", 302),
        ("", 302),
    ],
)
def test_any_location_of_an_origin_gets_a_response(location: str, status: int) -> None:
    def origin(received: Received) -> Response:
        if received.path == "/new":
            return Response(200, "here")
        return Response(302, headers={"location": location})

    with TestGateway(EXAMPLES / "follow_redirects.py", upstreams={"api": origin}) as gateway:
        assert gateway.get("/moved").status == status


def test_the_server_with_least_to_do_is_chosen() -> None:
    servers = {"server0": Fault.HANG, "server1": "second"}
    gate = load(EXAMPLES / "least_connections.py")
    busy = gate.shared("busy", "1m")
    with TestGateway(gate, upstreams=servers) as gateway:
        gateway.start("GET", "/hangs")
        gateway.until(lambda: gateway.received)
        for _ in range(3):
            assert gateway.get("/").text == "second"
            gateway.until(lambda: busy.get("server1", 0) == 0)  # its `log` hook runs after the response


def test_a_feed_is_fetched_once_and_filtered() -> None:
    items: list[dict[str, Any]] = [{"id": 1, "price": 5, "secret": 2}, {"id": 2, "price": 0}]
    feed = {"http://127.0.0.1:9000": Response.json({"items": items})}
    with TestGateway(EXAMPLES / "cached_feed.py", upstreams=feed) as gateway:
        assert [gateway.get("/sale").json() for _ in range(3)] == [[{"id": 1, "price": 5}]] * 3
        assert len(gateway.received) == 1


def test_a_feed_that_is_down_is_a_503() -> None:
    with TestGateway(
        EXAMPLES / "cached_feed.py", upstreams={"http://127.0.0.1:9000": Fault.REFUSE}
    ) as gateway:
        assert gateway.get("/sale").status == 503


@pytest.mark.parametrize(
    "response",
    [
        Response.json([]),
        Response.json({"items": None}),
        Response.json({"items": [{"id": 1, "price": "5"}]}),
        Response.json({"items": [{"id": 1}]}),
        Response(200, "no json"),
        Response(200, '{"items": [{"id": 1, "price": NaN}]}'),
        Response.json({"items": []}, 500),
        Response(302, headers={"location": "/feed.json"}),
    ],
)
def test_a_feed_that_is_not_what_it_should_be_is_a_503(response: Response) -> None:
    with TestGateway(EXAMPLES / "cached_feed.py", upstreams={"http://127.0.0.1:9000": response}) as gateway:
        assert gateway.get("/sale").status == 503


@pytest.mark.parametrize("item", ['{"id": 1, "price": 1e999}', '{"id": "\\ud800", "price": 2}'])
def test_a_feed_that_cannot_be_written_again_is_no_500(item: str) -> None:
    feed = {"http://127.0.0.1:9000": Response(200, f'{{"items": [{item}]}}')}
    with TestGateway(EXAMPLES / "cached_feed.py", upstreams=feed) as gateway:
        assert gateway.get("/sale").status == 200
        assert "Infinity" not in gateway.get("/sale").text


@pytest.mark.parametrize(("said", "status"), [("1e999", 502), ('"\\ud800"', 200)])
def test_parts_that_cannot_be_written_again_are_no_500(said: str, status: int) -> None:
    servers = dict.fromkeys(("users", "orders", "stock"), Response(200, said))
    with TestGateway(EXAMPLES / "fan_out.py", upstreams=servers) as gateway:
        assert gateway.get("/overview").status == status


def test_responses_of_several_origins_are_joined() -> None:
    servers = {"users": Response.json(["ada"]), "orders": Response(500), "stock": Fault.REFUSE}
    with TestGateway(EXAMPLES / "fan_out.py", upstreams=servers) as gateway:
        overview = gateway.get("/overview").json()
        assert overview["users"] == ["ada"]
        assert overview["orders"] == {"error": 500}
        assert overview["stock"] == {"error": "FetchConnectError"}


def test_a_part_that_is_no_json_is_named() -> None:
    servers = {"users": Response(200, "<html>"), "orders": Response(204), "stock": Response.json({})}
    with TestGateway(EXAMPLES / "fan_out.py", upstreams=servers) as gateway:
        overview = gateway.get("/overview").json()
        assert overview["users"]["error"] and overview["orders"]["error"]
        assert overview["stock"] == {}


@pytest.mark.parametrize("is_coded", [False, True])
def test_a_rewritten_text_is_compressed(is_coded: bool) -> None:
    text = b"see http://internal.example/a" * 20
    html = {"content-type": "text/html"}
    coded = Response(200, gzip.compress(text), headers=html | {"content-encoding": "gzip"})
    server = coded if is_coded else Response(200, text, headers=html)
    with TestGateway(EXAMPLES / "gzip_after_rewrite.py", upstreams={"127.0.0.1:9000": server}) as gateway:
        response = gateway.get("/", {"accept-encoding": "gzip"})
        assert response.headers["content-encoding"] == "gzip"
        assert gzip.decompress(response.body) == b"see https://www.example.com/a" * 20


def test_what_blocks_runs_in_a_thread_and_what_computes_in_a_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRICES", str(tmp_path / "prices.db"))
    with TestGateway(EXAMPLES / "blocking_and_computing.py", raise_errors=False) as gateway:
        assert gateway.get("/prices/tea").status == 500, "there is no such table"
        assert gateway.get("/primes/100").json() == 25
        assert gateway.get("/primes/x").status == 400
        few = [gateway.get(f"/primes/{limit}").json() for limit in (-5, 0, 1, 2, 3, 4, 5)]
        assert few == [0, 0, 0, 0, 1, 2, 2]


def test_a_visitor_stays_on_one_side() -> None:
    with TestGateway(EXAMPLES / "ab_split.py", upstreams={"a": "a", "b": "b"}) as gateway:
        for _ in range(10):
            first = gateway.get("/")
            cookie = first.headers["set-cookie"].partition(";")[0]
            again = gateway.get("/", {"cookie": cookie})
            assert again.text == first.text and "set-cookie" not in again.headers
        assert sum(gateway.get("/_ab").json().values()) == 20


def test_visitors_wait_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATS", "1")
    with TestGateway(EXAMPLES / "waiting_room.py", upstreams={"shop": "the shop"}) as gateway:
        inside, waits, last = gateway.get("/"), gateway.get("/"), gateway.get("/")
        assert inside.text == "the shop"
        assert "number 1 in the queue" in waits.text and "number 2 in the queue" in last.text
        ticket = waits.headers["set-cookie"].partition(";")[0]
        assert "number 1 in the queue" in gateway.get("/", {"cookie": ticket}).text, "asking changes no place"


def test_visitors_who_left_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATS", "1")
    gate = load(EXAMPLES / "waiting_room.py")
    room = gate._parts.routes[0].function.__globals__["room"]
    with TestGateway(gate, upstreams={"shop": "the shop"}) as gateway:
        gateway.get("/")
        gateway.get("/")
        waits = gateway.get("/")
        assert "number 2 in the queue" in waits.text
        assert room.delete("waits 2")
        ticket = waits.headers["set-cookie"].partition(";")[0]
        assert "number 1 in the queue" in gateway.get("/", {"cookie": ticket}).text


@pytest.mark.parametrize(
    "cookie", ["ticket=", "ticket=1-" + "0" * 64, "ticket=\xff", "visitor=[]; =;;", "a=\u0000"]
)
@pytest.mark.parametrize("name", ["waiting_room", "ab_split"])
def test_a_cookie_that_was_made_up_is_that_of_a_new_visitor(name: str, cookie: str) -> None:
    servers = {"shop": "ok"} if name == "waiting_room" else {"a": "ok", "b": "ok"}
    with TestGateway(EXAMPLES / f"{name}.py", upstreams=servers) as gateway:
        try:
            response = gateway.get("/", {"cookie": cookie})
        except ValueError:
            pytest.skip("the kit sends no such field")
        assert response.status in (200, 400)
