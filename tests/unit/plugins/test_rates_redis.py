"""Rates that several nodes share in a Redis: never too much, few commands, and a store that goes away."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
from e2e.kit import services

from headgate import Gateway, PluginContext, Redis, RedisError, Request, Response
from headgate.plugins import Quota, RateLimit, ReplayProtection
from headgate.plugins._rates import Rate
from headgate.plugins._rates_redis import GCRA, SLIDING_WINDOW, RedisLimiter
from headgate.plugins._store import Store
from headgate.testing import TestGateway


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with services.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


def run(function: Callable[[], Awaitable[Any]]) -> Any:
    """What an async function gives that runs in a gateway's worker."""
    gate, given = Gateway(), []

    @gate.route("/")
    async def hook(request: Request) -> Response:
        given.append(await function())
        return Response(200)

    with TestGateway(gate) as gateway:
        assert gateway.get("/").status == 200
    return given[0]


@pytest.mark.parametrize("is_sliding", [False, True])
@pytest.mark.parametrize("batch", [0.0, 10.0])
def test_many_at_once_on_several_nodes_get_the_rate_and_no_more(
    redis_url: str, is_sliding: bool, batch: float
) -> None:
    async def ask() -> list[bool]:
        nodes = [
            RedisLimiter(
                Redis(redis_url),
                Rate(100, 3600.0, 100),
                f"all{is_sliding}{batch}",
                is_sliding=is_sliding,
                batch=batch,
            )
            for _ in range(5)
        ]
        # each node's own clock counts for nothing
        asked = [node.decide(b"k", 1000.0 * n) for n, node in enumerate(nodes) for _ in range(50)]
        return [one[0] == 0 for one in await asyncio.gather(*asked)]

    passed = sum(run(ask))
    # what a node has leased and not spent is counted: 5 nodes with at most a twentieth each
    assert 100 - 5 * 5 <= passed <= 100 if batch else passed == 100


@pytest.mark.parametrize("is_sliding", [False, True])
def test_what_is_left_is_told_and_waiting_as_told_is_enough(redis_url: str, is_sliding: bool) -> None:
    async def ask() -> list[Any]:
        limiter = RedisLimiter(
            Redis(redis_url), Rate(2, 2.0, 2), f"wait{is_sliding}", is_sliding=is_sliding, batch=0
        )
        told: list[Any] = [await limiter.decide(b"k", time.monotonic()) for _ in range(3)]
        refused = next((one for one in told if one[0] > 0), None)
        if refused is not None:
            await asyncio.sleep(max(1, math.ceil(refused[0])))
            told.append(await limiter.decide(b"k", time.monotonic()))
        return told

    told = run(ask)
    assert told[0][1] in (1, 0) and told[-1][0] == 0


@pytest.mark.parametrize("is_sliding", [False, True])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_busy_key_costs_few_commands_and_refusals_cost_none(
    redis_url: str, workers: int, is_sliding: bool
) -> None:
    with redis.Redis.from_url(redis_url) as server:

        async def ask() -> list[int]:
            server.config_resetstat()
            rate, name = Rate(1000, 1.0, 1000), f"busy{workers}{is_sliding}"
            every = [
                RedisLimiter(Redis(redis_url), rate, name, is_sliding=is_sliding, batch=0.1)
                for _ in range(workers)
            ]
            for number in range(1000):  # one second of 1,000 requests a second
                await every[number % workers].decide(b"k", 5000 + number / 1000)
            busy = scripts_run(server)
            slow = RedisLimiter(Redis(redis_url), Rate(1, 3600.0, 1), "slow", is_sliding=False, batch=0.1)
            for _ in range(100):
                await slow.decide(b"k", 5000.0)
            return [busy, slow.commands]

        busy, slow = run(ask)
    assert busy <= 300 and slow <= 2


def scripts_run(server: "redis.Redis[bytes]") -> int:
    """How many scripts a Redis has run, as it counts itself; no limiter sends anything else."""
    found = server.info("commandstats")
    return sum(found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


@pytest.mark.parametrize("is_sliding", [False, True])
def test_a_clock_of_the_server_that_goes_back_lets_nobody_in_twice(redis_url: str, is_sliding: bool) -> None:
    script = SLIDING_WINDOW if is_sliding else GCRA
    numbers = (10, 60_000_000) if is_sliding else (6_000_000, 60_000_000)
    begin = 1_700_000_040_000_000  # where a window begins

    async def ask() -> list[int]:
        client, given = Redis(redis_url), []
        for second in (30, 31, 29, 0, -31):  # into the minute before, too
            moment = begin + second * 1_000_000
            at = f"local t = {{{moment // 1_000_000}, {moment % 1_000_000}}}"
            clocked = script.replace("local t = redis.call('TIME')", at)
            told = await client.eval(clocked, keys=[f"back{is_sliding}"], args=[*numbers, 10, 0])
            given.append(told[0])
        return given

    assert run(ask) == [10, 0, 0, 0, 0]


def test_quotas_and_nonces_count_on_nodes_whose_clocks_differ(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = time.time()
    nonce = {"x-nonce": "nonce-of-clocks", "x-timestamp": str(int(here) + 50)}
    statuses = []
    for behind in (-59, 0, 59):  # the first node's clock is 59 s ahead of Redis and of the second
        gate = Gateway()
        gate.route("/", respond="in")
        gate.use(Quota(amount=2, period="year", by="address", redis=redis_url), on="/quota")
        gate.use(ReplayProtection(skew=60, redis=redis_url), on="/once")
        monkeypatch.setattr(time, "time", lambda behind=behind: here - behind)
        with TestGateway(gate) as gateway:
            statuses.append([gateway.get(path, nonce).status for path in ("/quota", "/once")])
        monkeypatch.undo()
    assert statuses == [[200, 200], [200, 403], [429, 403]]
    with redis.Redis.from_url(redis_url) as server:
        left = {
            key.partition(b":")[2].partition(b":")[0]: server.ttl(key)
            for key in server.scan_iter("headgate:*:*")
        }
    # until the last node takes its time: 60 s late by a clock that is 60 s behind
    assert left[b"replay-protection"] >= 60 + 60 + 50


def test_a_count_is_kept_though_the_clock_of_redis_is_ahead_of_the_period(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = float(time.time() // 3600 * 3600 - 1)  # of an hour that is over by the clock of Redis
    monkeypatch.setattr(time, "time", lambda: ending)
    statuses = []
    for _ in range(3):
        gate = Gateway()
        gate.route("/", respond="in")
        gate.use(Quota(amount=2, period="hour", by="address", redis=redis_url), name="ending")
        with TestGateway(gate) as gateway:
            statuses.append(gateway.get("/").status)
    assert statuses == [200, 200, 429]


def test_responses_tell_what_is_left_over_all_nodes(redis_url: str) -> None:
    for expected in ('"shared";r=1;', '"shared";r=0;', '"shared";r=0;'):
        gate = Gateway()  # another node
        gate.route("/", respond="in")
        gate.use(RateLimit(rate="2/h", redis=redis_url), name="shared")
        with TestGateway(gate) as gateway:
            response = gateway.get("/")
        assert response.headers["ratelimit"].startswith(expected)
    assert response.status == 429 and 1 <= int(response.headers["retry-after"]) <= 1800


@pytest.mark.parametrize(
    ("when_away", "statuses"),
    [("open", [200] * 4), ("closed", [503] * 4), ("local", [200, 200, 429, 429])],
)
def test_without_redis_the_choice_holds(
    when_away: str, statuses: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gateway()
    gate.route("/", respond="in")
    plugin = RateLimit(rate="4/h", redis="redis://127.0.0.1:1", when_away=when_away, nodes=2)
    gate.use(plugin)
    with TestGateway(gate) as gateway:
        assert [gateway.get("/").status for _ in range(4)] == statuses
    told = [record for record in caplog.records if record.getMessage() == "the store is unavailable"]
    assert len(told) == 1
    assert plugin._headgate_context
    assert plugin._headgate_context.counter("store_failures").value == 1


async def test_a_store_that_is_away_is_left_alone_then_tried_by_one() -> None:
    gate, now, asked = Gateway(), [100.0], []
    store = Store(PluginContext(gate, "x", gate._parts), clock=lambda: now[0])

    async def fail() -> int:
        asked.append(now[0])
        raise RedisError("away")

    async def succeed() -> int:
        asked.append(now[0])
        return 5

    for moment in (100.0, 100.1, 100.4, 100.6, 100.7, 101.5, 101.7):
        now[0] = moment
        assert await store.ask(fail) is None
    assert asked == [100.0, 100.6, 101.7]
    now[0] = 110.0
    assert [await store.ask(succeed), await store.ask(succeed)] == [5, 5]
