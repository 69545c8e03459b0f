"""slo-alert: when alerts begin and end, what receivers get, and what happens without them."""

import json
import math
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import SloAlert
from headgate.plugins._burn import Count, add, within
from headgate.plugins.webhooks import signature
from headgate.testing import Received, TestGateway

SERVER, HOOK = "server.test:80", "http://alerts.test"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_700_000_000.0


def running(hook: Any = "ok", **settings: Any) -> tuple[TestGateway, SloAlert]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = SloAlert(**{"name": "api", "objective": 99.9, "url": f"{HOOK}/slo", **settings})
    gate.use(plugin)
    plugin._clock = lambda: NOW
    plugin._waits = (0.0,) * len(plugin._waits)
    return TestGateway(gate, upstreams={SERVER: _served, HOOK: hook}), plugin


def _served(received: Received) -> Response:
    return Response(int(received.target.partition("?")[2] or 200))


def told(gateway: TestGateway) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in gateway.received if one.path == "/slo"]


def count(plugin: SloAlert, at: float, total: int, bad: int) -> None:
    add(plugin._table, plugin._lengths, at, Count(total, bad))


async def look(plugin: SloAlert) -> None:
    plugin._look()


def looks(gateway: TestGateway, plugin: SloAlert, at: float, sent: int) -> list[dict[str, Any]]:
    """Lets the plugin look at a moment, and waits until nothing is on its way to the receiver."""
    plugin._clock = lambda: at
    gateway.run(look(plugin))
    gateway.until(lambda: plugin._sending == 0)
    assert len(told(gateway)) == sent
    return told(gateway)


class Table(dict[str, int]):
    def incr(self, key: str, by: int, default: int, ttl: float) -> int:
        assert ttl > 0
        self[key] = self.get(key, default) + by
        return self[key]


def test_a_window_has_what_was_counted_within_it() -> None:
    table: Any = Table()
    for second in range(0, 7200, 10):
        add(table, {3600.0}, NOW + second, Count(10, 1))
    found = within(table, 3600.0, NOW + 7190)
    assert found.bad * 10 == found.total and 3540 <= found.total <= 3600
    assert math.isclose(found.burn(0.001), 100)
    assert within(table, 3600.0, NOW + 20_000) == (0, 0) and Count(0, 0).burn(0.001) == 0


@pytest.mark.parametrize(
    ("percent", "severities"),
    # a budget of 0.1 %: burn rates of 14.4, 6 and 1 are 1.44, 0.6 and 0.1 % of failures
    [(1.5, ["page", "page", "ticket"]), (1.4, ["page", "ticket"]), (0.55, ["ticket"]), (0.09, [])],
)
def test_the_usual_windows_are_those_of_the_workbook(percent: float, severities: list[str]) -> None:
    gateway, plugin = running()
    with gateway:
        for hour in range(72):
            count(plugin, NOW - hour * 3600, 100_000, int(percent * 1000))
        found = looks(gateway, plugin, NOW, len(severities))
    assert [one["data"]["severity"] for one in found] == severities
    assert {one["type"] for one in found} <= {"slo.burn.firing"}


def test_an_alert_begins_once_and_ends_when_the_short_window_is_well() -> None:
    window = {"long": 3600, "short": 300, "burn": 10}
    gateway, plugin = running(windows=[window])
    with gateway:
        count(plugin, NOW, 1000, 500)
        looks(gateway, plugin, NOW, 1)
        looks(gateway, plugin, NOW + 60, 1)
        count(plugin, NOW + 400, 1000, 0)
        (begun, ended) = looks(gateway, plugin, NOW + 400, 2)
        looks(gateway, plugin, NOW + 460, 2)
    assert (begun["type"], ended["type"]) == ("slo.burn.firing", "slo.burn.resolved")
    assert begun["data"] == {
        "slo": "api",
        "objective": 99.9,
        "severity": "page",
        "threshold": 10,
        "burn_rate": {"long": 500.0, "short": 500.0},
        "window_seconds": {"long": 3600, "short": 300},
        "requests": {"long": 1000, "short": 1000},
        "bad": {"long": 500, "short": 500},
    }
    assert ended["data"]["burn_rate"] == {"long": 250.0, "short": 0.0}


def test_neither_an_old_outage_nor_a_short_one_nor_a_few_requests_begin_an_alert() -> None:
    window = {"long": 3600, "short": 300, "burn": 10}
    for counted in (
        [(NOW - 3000, 1000, 900), (NOW, 1000, 0)],  # only the long window
        [(NOW - 3000, 1_000_000, 0), (NOW, 1000, 100)],  # only the short one
        [(NOW, 19, 19)],  # too few
    ):
        gateway, plugin = running(windows=[window])
        with gateway:
            for at, total, bad in counted:
                count(plugin, at, total, bad)
            looks(gateway, plugin, NOW, 0)


def test_requests_are_counted_by_status_and_by_time() -> None:
    gateway, plugin = running(windows=[{"long": 60, "short": 5, "burn": 1}], slower_than=0.000001)
    with gateway:
        gateway.get("/")
        plugin._flush()
        assert within(plugin._table, 60, NOW) == (1, 1)
    gateway, plugin = running(windows=[{"long": 60, "short": 5, "burn": 1}], slower_than=60)
    with gateway:
        for status in (200, 404, 429, 500, 503):
            gateway.get(f"/?{status}")
        plugin._flush()
        plugin._flush()
        assert within(plugin._table, 60, NOW) == (5, 2)


def test_messages_are_signed_and_sent_again_under_the_same_id_until_they_are_taken() -> None:
    replies = iter([500, 302, 429, 204])
    received: list[Received] = []

    def hook(one: Received) -> Response:
        received.append(one)
        return Response(next(replies), headers=[("location", "http://server.test/")])

    windows = [{"long": 3600, "short": 300, "burn": 10}]
    headers = {"authorization": "Bearer x"}
    gateway, plugin = running(hook, secrets=[SECRET], headers=headers, windows=windows)
    with gateway:
        count(plugin, NOW, 1000, 1000)
        looks(gateway, plugin, NOW, 4)
        assert (plugin._sent.value, plugin._lost.value) == (1, 0)
    assert {one.headers["webhook-id"] for one in received} == {received[0].headers["webhook-id"]}
    last = received[-1]
    wanted = signature(
        plugin._keys[0], last.headers["webhook-id"], last.headers["webhook-timestamp"], last.body
    )
    assert (last.headers["webhook-signature"], last.headers["authorization"]) == (wanted, "Bearer x")


def test_a_receiver_that_is_away_is_logged_once_and_what_it_misses_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway, plugin = running(lambda _: Response(503))
    with gateway:
        count(plugin, NOW, 1000, 1000)
        gateway.run(look(plugin))
        gateway.until(lambda: plugin._sending == 0)
        assert (plugin._sent.value, plugin._lost.value) == (0, 3)
    assert sum("receiver of alerts is unavailable" in one.message for one in caplog.records) == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"objective": 100}, "objective"),
        ({"windows": [{"long": 300, "short": 300, "burn": 1}]}, "is not shorter"),
        ({"objective": 90}, "a burn rate of 14.4 cannot be: at 90 % the greatest is 10"),
        ({"url": "ftp://x"}, "is not a valid URL"),
        ({"secrets": ["whsec_x"]}, "secret"),
        ({"headers": {"a b": "c"}}, "a b"),
        ({"headers": {"authorization": "c\n"}}, "the value of `authorization` has a control character"),
        ({"windows": []}, "windows"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        SloAlert(**{"name": "api", "objective": 99.9, "url": HOOK, **settings})
