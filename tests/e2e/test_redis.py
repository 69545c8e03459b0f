"""The engine's Redis client against a real Redis."""

import socket
import threading
from collections.abc import Iterator

import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.client import format_request
from e2e.kit.net import free_port
from e2e.kit.services import redis as redis_server

GATE = """
import asyncio, json
from headgate import Gateway, Redis, RedisError, Response

gate = Gateway()
gate.listen(LISTEN)
store = Redis(URL, decode_responses=True)
raw = Redis(URL)
absent = Redis(f"redis://127.0.0.1:{CLOSED}", timeout=0.5)
silent = Redis(f"redis://127.0.0.1:{SILENT}", timeout=0.3)

@gate.route("/all")
async def every_command(request):
    seen = {}
    await store.delete("s", "n", "h", "m", "t")
    seen["set"] = [await store.set("s", "wört"), await store.set("s", "x", nx=True), await store.set("t", 1, xx=True)]
    seen["get"] = [await store.get("s"), await store.get("absent"), (await raw.get("s")).hex()]
    seen["incr"] = [await store.incr("n"), await store.incr("n", 5)]
    seen["expire"] = [await store.expire("n", 100), await store.expire("absent", 1), await store.command("TTL", "n")]
    seen["exists"] = await store.exists("s", "n", "absent")
    seen["hash"] = [await store.hset("h", {"a": 1, "b": "2"}), await store.hget("h", "a"), await store.hgetall("h")]
    seen["sets"] = [await store.sadd("m", "a", "b"), sorted(await store.smembers("m")),
                    await store.srandmember("m") in ("a", "b"), len(await store.srandmember("m", 5))]
    script = "return {KEYS[1], ARGV[1] + 1}"
    seen["eval"] = [await store.eval(script, keys=["k"], args=[41]) for _ in range(2)]
    seen["publish"] = await store.publish("nobody", "hello")
    seen["delete"] = await store.delete("s", "n", "absent")
    seen["gather"] = await asyncio.gather(*(store.incr("g") for _ in range(5)))
    await store.delete("g")
    return Response.json(seen)

@gate.route("/count")
async def count(request):
    return Response(200, str(await store.incr("visits")))

async def failing(awaitable):
    try:
        await awaitable
    except RedisError as error:
        return Response(200, f"{type(error).__name__}: {error}")

@gate.route("/wrong")
async def wrong(request):
    await store.set("text", "x")
    return await failing(store.sadd("text", "y"))

@gate.route("/absent")
async def gone(request):
    return await failing(absent.get("k"))

@gate.route("/silent")
async def quiet(request):
    return await failing(silent.get("k"))

@gate.route("/type")
async def bad_type(request):
    try:
        await store.set("k", object())
    except TypeError as error:
        return Response(200, str(error))

@gate.route("/kill")
async def kill(request):
    me = await store.command("CLIENT", "ID")
    await raw.command("CLIENT", "KILL", "ID", me)
    return Response(200, str(await store.get("visits") is not None))
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with (
        redis_server(tmp_path_factory.mktemp("redis")) as url,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        names = {"URL": url, "CLOSED": free_port(), "SILENT": silent.getsockname()[1]}
        yield serve_module(GATE, names=names)


def test_every_command_does_what_redis_says(gateway: RunningGateway) -> None:
    assert gateway.get("/all").json() == {
        "set": [True, False, False],
        "get": ["wört", None, "77c3b67274"],
        "incr": [1, 6],
        "expire": [True, False, 100],
        "exists": 2,
        "hash": [2, "1", {"a": "1", "b": "2"}],
        "sets": [2, ["a", "b"], True, 2],
        "eval": [["k", 42], ["k", 42]],
        "publish": 0,
        "delete": 2,
        "gather": [1, 2, 3, 4, 5],
    }


def test_requests_side_by_side_each_get_their_own_reply(gateway: RunningGateway) -> None:
    seen: list[int] = []

    def ask() -> None:
        with gateway.client() as client:
            for _ in range(20):
                client.send(format_request("GET", "/count"))
                seen.append(int(client.response().text))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(min(seen), min(seen) + 100))


def test_refused_command_raises(gateway: RunningGateway) -> None:
    assert gateway.get("/wrong").text.startswith("RedisError: ")
    assert "WRONGTYPE" in gateway.get("/wrong").text


def test_absent_server_raises_within_the_timeout(gateway: RunningGateway) -> None:
    said = gateway.get("/absent").text
    port = gateway.names["CLOSED"]
    assert said == (
        f"RedisConnectionError: cannot connect to Redis at `127.0.0.1:{port}`: connection refused"
    )


def test_silent_server_raises_and_is_counted(gateway: RunningGateway) -> None:
    said = gateway.get("/silent").text
    assert said.startswith(
        f"RedisTimeout: Redis at `127.0.0.1:{gateway.names['SILENT']}` did not respond within 300 ms"
    )
    assert gateway.counter("timeout_redis") >= 1


def test_wrong_type_says_what_is_right(gateway: RunningGateway) -> None:
    assert "hint: str, bytes, int or float" in gateway.get("/type").text


def test_broken_connection_is_opened_anew(gateway: RunningGateway) -> None:
    gateway.get("/count")
    assert gateway.get("/kill").text == "True"
    assert gateway.get("/count").status == 200


@pytest.mark.parametrize("url", ["nonsense", "http://a", "redis+sentinel://a", "redis://a:99999999"])
def test_bad_url_is_refused_at_load(url: str) -> None:
    from headgate import Redis

    with pytest.raises(ValueError, match="hint"):
        Redis(url)
