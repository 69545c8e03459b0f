"""load-shedding: who is refused at which delay, that blocking code is noticed, and settings without effect."""

import time
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Request
from headgate.plugins import KeyAuth, LoadShedding
from headgate.testing import TestGateway

SERVER = "server.test:80"
CLASSES = [
    {"name": "health", "when": 'request.path == "/health"'},
    {"name": "orders", "when": 'request.path.startsWith("/orders")', "above": 4},
    {"name": "others", "above": 1},
]
PATHS = ("/health", "/orders/1", "/x")


def late(plugin: LoadShedding, delay: float) -> None:
    """As if the loop had been found to be so late."""
    plugin._delay, plugin._due = delay, float("inf")


def gate_with(plugin: LoadShedding) -> Gateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    return gate


@pytest.mark.parametrize(
    ("delay", "statuses"),
    [(0, [200, 200, 200]), (0.9, [200, 200, 200]), (2, [200, 200, 503]), (8, [200, 503, 503])],
)
def test_the_least_important_are_refused_first(delay: float, statuses: list[int]) -> None:
    plugin = LoadShedding(classes=CLASSES)
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        gateway.get("/health")
        found = []
        for path in PATHS:
            late(plugin, delay)
            found.append(gateway.get(path))
    assert [one.status for one in found] == statuses
    assert all(one.headers["retry-after"] == "2" for one in found if one.status == 503)


def test_between_its_bounds_a_class_is_refused_in_part() -> None:
    plugin = LoadShedding()
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        gateway.get("/")
        statuses = []
        for _ in range(200):
            late(plugin, 0.75)
            statuses.append(gateway.get("/").status)
    assert 20 < statuses.count(503) < 180


def test_code_that_blocks_the_loop_is_noticed() -> None:
    plugin = LoadShedding(classes=[{"name": "all", "above": 0.02}])
    gate = gate_with(plugin)

    @gate.route("/block")
    def block(request: Request) -> Any:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pass

    with TestGateway(gate, upstreams={SERVER: "ok"}, raise_errors=False) as gateway:
        gateway.get("/block")
        gateway.until(lambda: plugin._delay > 0.1)


def test_the_delay_fades() -> None:
    plugin = LoadShedding()
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        gateway.get("/")

        async def measure() -> list[float]:
            found = []
            plugin._delay = 10.0
            for _ in range(30):
                plugin._due = time.monotonic()
                assert plugin._timer is not None
                plugin._timer.cancel()
                plugin._measure()
                found.append(plugin._delay)
            return found

        delays = gateway.run(measure())
    assert delays == sorted(delays, reverse=True)
    assert delays[-1] < 0.1


def test_classes_of_consumers_are_decided_after_authentication() -> None:
    plugin = LoadShedding(classes=[{"name": "staff", "when": 'request.consumer == "alice"', "above": 0.1}])
    gate = gate_with(plugin)
    gate.use(KeyAuth(keys={"alice": "a", "bob": "b"}))
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        gateway.get("/", {"x-api-key": "a"})
        statuses = []
        for key in ("a", "b"):
            late(plugin, 9)
            statuses.append(gateway.get("/", {"x-api-key": key}).status)
    assert statuses == [503, 200]


@pytest.mark.parametrize(
    "classes",
    [
        [],
        [{"name": "a"}, {"name": "b", "when": "true"}],
        [{"name": "a", "when": "true"}, {"name": "a"}],
        [{"name": "a", "when": "response.status == 200"}],
        [{"name": "a", "when": "request.path"}],
        [{"name": "a", "when": "nonsense("}],
        [{"name": "A b"}],
        [{"name": "a", "above": 0}],
    ],
)
def test_wrong_settings_are_refused(classes: Any) -> None:
    with pytest.raises(ConfigError):
        LoadShedding(classes=classes)
