"""Well-known asyncio libraries, unmodified, inside hooks, against real servers."""

from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.client import format_request
from e2e.kit.services import postgresql, redis

GATE = """
import asyncpg, httpx
from redis.asyncio import Redis
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
api = gate.upstream("api", ORIGIN)
pools = {}

@gate.startup
async def open_pools():
    pools["redis"] = Redis.from_url(REDIS, decode_responses=True)
    pools["http"] = httpx.AsyncClient()
    pools["database"] = await asyncpg.create_pool(POSTGRESQL, min_size=1, max_size=4)
    await pools["database"].execute("create table if not exists visits (path text, n int)")

@gate.shutdown
async def close_pools():
    await pools["redis"].aclose()
    await pools["http"].aclose()
    await pools["database"].close()
    print("pools are closed", flush=True)

@gate.route("/count", to=api)
async def count(request):
    request.headers["x-visits"] = str(await pools["redis"].incr("visits"))

@gate.route("/pipeline")
async def pipelined(request):
    async with pools["redis"].pipeline() as pipeline:
        for number in range(10):
            pipeline.set(f"key{number}", number)
            pipeline.get(f"key{number}")
        return Response.json(await pipeline.execute())

@gate.route("/subscribe")
async def subscribed(request):
    async with pools["redis"].pubsub() as channel:
        await channel.subscribe("news")
        await pools["redis"].publish("news", "hello")
        async for message in channel.listen():
            if message["type"] == "message":
                return Response(200, message["data"])

@gate.route("/fetch")
async def fetched(request):
    response = await pools["http"].get(f"http://{ORIGIN}/from-hook", headers={"x-from": "hook"})
    return Response.json(response.json(), response.status_code)

@gate.route("/query/{path}")
async def queried(request):
    async with pools["database"].acquire() as connection:
        async with connection.transaction():
            await connection.execute("insert into visits values ($1, $2)", request.params["path"], 1)
            found = await connection.fetchval("select count(*) from visits where path = $1", request.params["path"])
    return Response(200, str(found))

@gate.route("/slow-query", deadline="300ms")
async def slow(request):
    await pools["database"].execute("select pg_sleep(60)")
"""


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="module")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, redis_url: str, postgresql_url: str) -> RunningGateway:
    names = {"ORIGIN": origin.address, "REDIS": redis_url, "POSTGRESQL": postgresql_url}
    return serve_module(GATE, names=names)


def test_redis_counts_each_request_once(gateway: RunningGateway, origin: Origin) -> None:
    clients = [gateway.client() for _ in range(10)]
    for _ in range(10):
        for client in clients:
            client.send(format_request("GET", "/count"))
        for client in clients:
            assert client.response().status == 200
    for client in clients:
        client.close()
    visits = sorted(int(call.get("x-visits") or 0) for call in origin.at("/count"))
    assert visits == list(range(visits[0], visits[0] + 100))


def test_redis_pipeline_works(gateway: RunningGateway) -> None:
    expected = [value for number in range(10) for value in (True, str(number))]
    assert gateway.get("/pipeline").json() == expected


def test_redis_subscription_works(gateway: RunningGateway) -> None:
    assert gateway.get("/subscribe").text == "hello"


def test_httpx_fetches_from_the_origin(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/fetch").json()["target"] == "/from-hook"
    assert origin.wait_for("/from-hook").get("x-from") == "hook"


def test_asyncpg_runs_transactions_side_by_side(gateway: RunningGateway) -> None:
    clients = [gateway.client() for _ in range(8)]
    for client in clients:
        client.send(format_request("GET", "/query/side"))
    responses = [client.response() for client in clients]
    for client in clients:
        client.close()
    assert [response.status for response in responses] == [200] * 8, responses[0].text
    assert gateway.get("/query/side").text == "9"


def test_late_query_is_cancelled_and_its_connection_serves_again(gateway: RunningGateway) -> None:
    for _ in range(5):
        assert gateway.get("/slow-query").status == 500
    assert gateway.get("/query/after").text == "1"


def test_shutdown_hooks_close_the_pools(gateway: RunningGateway) -> None:
    gateway.stop()
    assert "pools are closed" in gateway.output()
    assert "shutdown hook failed" not in gateway.log()


SESSIONS = """
import asyncio, asyncpg
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
pool = None

@gate.startup
async def open_pool():
    global pool
    pool = await asyncpg.create_pool(POSTGRESQL, min_size=1, max_size=1)
    await pool.execute("create table if not exists kept (n int)")

@gate.shutdown
async def close_pool():
    await pool.close()

@gate.route("/set")
async def sets(request):
    async with pool.acquire() as connection:
        await connection.execute("set application_name = 'of the first user'")
        await connection.execute("select pg_advisory_lock(1)")
    return Response(200)

@gate.route("/late", deadline="300ms")
async def late(request):
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("set local application_name = 'of the first user'")
        await connection.execute("insert into kept values (1)")
        await asyncio.sleep(60)

@gate.route("/see")
async def sees(request):
    async with pool.acquire() as connection:
        return Response.json({
            "name": await connection.fetchval("show application_name"),
            "is_in_transaction": connection.is_in_transaction(),
            "locks": await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'"),
            "kept": await connection.fetchval("select count(*) from kept"),
        })
"""


def test_no_session_of_postgresql_reaches_the_next_request(serve: Serve, postgresql_url: str) -> None:
    gateway = serve(SESSIONS, names={"POSTGRESQL": postgresql_url})
    clean = gateway.get("/see").json()
    assert gateway.get("/set").status == 200
    assert gateway.get("/see").json() == clean
    assert gateway.get("/late").status == 500
    assert (
        gateway.get("/see").json() == clean == {"name": "", "is_in_transaction": False, "locks": 0, "kept": 0}
    )
