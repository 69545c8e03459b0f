"""concurrency-limit: slots that are given back however a request ends, and leases of those who cannot."""

import asyncio
import contextvars
import os
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import services

from headgate import Gateway, Plugin, PluginContext, Redis, Request, Response
from headgate.plugins import ConcurrencyLimit
from headgate.testing import Fault, HookRaised, TestGateway

SERVER = "server.test:80"


class Fail(Plugin):
    """Ends the request after the slot was taken, in each way that there is."""

    order = 1000

    async def request(self, request: Request) -> Response | None:
        how = request.query
        if how == "raise":
            raise RuntimeError("a fault")
        if how == "wait":
            await asyncio.sleep(60)
        return Response(500) if how == "reply" else None


def made(**config: Any) -> tuple[Gateway, ConcurrencyLimit]:
    gate, plugin = Gateway(), ConcurrencyLimit(**config)
    gate.route("/", to=SERVER)
    gate.use(plugin)
    gate.use(Fail())
    return gate, plugin


def held(plugin: ConcurrencyLimit) -> int:
    return sum(plugin._slots.get(name, 0) for name in plugin._slots)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("how", ["reply", "raise", "", "refused", "left"])
def test_a_slot_is_free_however_its_request_ended(how: str, native: bool) -> None:
    gate, plugin = made(limit=2)
    server: Any = Fault.REFUSE if how == "refused" else "ok"
    with TestGateway(gate, upstreams={SERVER: server}, native=native) as gateway:
        for _ in range(20):
            if how == "left":
                pending = gateway.start("GET", "/?wait")
                gateway.until(lambda: held(plugin))
                pending.leave()
                gateway.until(lambda: not held(plugin))
            elif how == "raise":
                with pytest.raises(HookRaised):
                    gateway.get("/?raise")
            else:
                gateway.get(f"/?{how}")
        assert gateway.get("/").status != 429
        assert len(plugin._slots) == 0


@pytest.mark.parametrize("native", [True, False])
def test_no_more_than_the_limit_run_at_once(native: bool) -> None:
    gate, plugin = made(limit=2)
    with TestGateway(gate, upstreams={SERVER: "ok"}, native=native) as gateway:
        running = [gateway.start("GET", "/?wait") for _ in range(2)]
        gateway.until(lambda: held(plugin) == 2)
        refused = gateway.get("/")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert gateway.get("/", address="192.0.2.9").status == 200
        running[0].leave()
        gateway.until(lambda: held(plugin) == 1)
        assert gateway.get("/").status == 200
        running[1].leave()


def test_slots_that_actions_take_and_hooks_take_are_counted_together() -> None:
    gate, plugin = made(limit=3)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        taken = [gateway.start("GET", "/?wait") for _ in range(2)]
        gateway.until(lambda: held(plugin) == 2)
        plugin._register()
        assert plugin._take(b"127.0.0.1/32") and not plugin._take(b"127.0.0.1/32")
        assert gateway.get("/").status == 429
        gateway.run(plugin._renew())
        assert held(plugin) == 3
        for one in taken:
            one.leave()
        gateway.until(lambda: held(plugin) == 1)
        plugin._give_back(b"127.0.0.1/32")
        assert len(plugin._slots) == 0


def test_a_slot_whose_hooks_are_looked_at_meanwhile_is_free_again() -> None:
    gate, plugin = made(limit=1)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        running = gateway.start("GET", "/?wait")
        gateway.until(lambda: held(plugin) == 1)
        gateway._core.name_requests(contextvars.ContextVar[Any]("request"))
        running.leave()
        gateway.until(lambda: not held(plugin))
        gateway._core.name_requests(None)


def context(gate: Gateway) -> PluginContext:
    return PluginContext(gate, "limit", gate._parts)


def twins(limit: int) -> tuple[ConcurrencyLimit, ConcurrencyLimit]:
    """Two workers: their tables are one."""
    gate = Gateway()
    one, two = ConcurrencyLimit(limit=limit), ConcurrencyLimit(limit=limit)
    one._set_up(context(gate))
    two._set_up(context(gate))
    two._slots, two._workers = one._slots, one._workers
    one._register()
    two._pid = "1"  # which is somebody, on every machine
    one._workers.set("1", 1)
    return one, two


def test_workers_count_together() -> None:
    one, two = twins(3)
    assert [one._take(b"k"), two._take(b"k"), one._take(b"k"), two._take(b"k"), one._take(b"k")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    two._give_back(b"k")
    assert one._take(b"k") and not two._take(b"k") and one._take(b"other")


async def test_slots_of_a_dead_worker_are_free_again_and_those_of_a_living_one_are_kept() -> None:
    one, two = twins(1)
    gone = max(int(name) for name in os.listdir("/proc") if name.isdigit()) + 100_000
    two._pid = str(gone)
    one._workers.set(two._pid, 1)
    assert two._take(b"k") and not one._take(b"k")
    await one._renew()
    assert one._take(b"k")
    one._slots.expire(one._name_of(b"k", one._pid), 0.001)
    await one._renew()
    assert one._slots.ttl(one._name_of(b"k", one._pid)) > 1


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with services.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


def test_nodes_count_together_and_a_dead_nodes_leases_end(redis_url: str) -> None:
    gate, _ = made(limit=2, redis=redis_url, lease=1)

    @gate.startup
    async def others() -> None:
        redis = Redis(redis_url)
        (seconds, _) = await redis.command("TIME")
        key = "headgate:concurrency-limit:127.0.0.1/32"
        # a node that runs one request, and one that died with another a moment ago
        await redis.command(
            "ZADD", key, (int(seconds) + 60) * 1000, "other", (int(seconds) - 1) * 1000, "dead"
        )

    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert [gateway.get("/", address="127.0.0.1").status for _ in range(3)] == [200] * 3


def test_an_id_that_a_client_sends_again_is_no_second_use_of_a_slot(redis_url: str) -> None:
    gate, plugin = made(limit=2, redis=redis_url, by="header:x-client")
    fields = {"x-request-id": "the-same-for-all", "x-client": "one"}
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        running = [gateway.start("GET", "/?wait", fields) for _ in range(2)]
        gateway.until(lambda: len(plugin._held) == 2)
        assert gateway.get("/", fields).status == 429
        running[0].leave()
        gateway.until(lambda: len(plugin._held) == 1)
        gateway.until(lambda: gateway.get("/", fields).status == 200)
        running[1].leave()
        gateway.until(lambda: not plugin._held)


def test_without_redis_the_node_counts(redis_url: str) -> None:
    for when_away, status in (("local", 200), ("open", 200), ("closed", 503)):
        gate, _ = made(limit=1, redis="redis://127.0.0.1:1", when_away=when_away)
        with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
            assert [gateway.get("/").status for _ in range(3)] == [status] * 3
