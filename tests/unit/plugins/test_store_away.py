"""A store that is away: each plugin that has one does as it was told, says so once, and counts it."""

import time
from typing import Any

import pytest

from headgate import Gateway, Plugin
from headgate.plugins import ConcurrencyLimit, Quota, RateLimit, ReplayProtection, WaitingRoom
from headgate.testing import TestGateway

NOBODY = "redis://127.0.0.1:1"
SECRET = "a secret of thirty-two characters"
CHOICES: list[tuple[type[Plugin], dict[str, Any], dict[str, list[int]]]] = [
    (RateLimit, {"rate": "2/h"}, {"local": [200, 200, 429], "open": [200] * 3, "closed": [503] * 3}),
    (
        Quota,
        {"amount": 2, "period": "year", "by": "address"},
        {"local": [200, 200, 429], "open": [200] * 3, "closed": [503] * 3},
    ),
    (ConcurrencyLimit, {"limit": 1}, {"local": [200] * 3, "open": [200] * 3, "closed": [503] * 3}),
    (WaitingRoom, {"seats": 1, "secret": SECRET}, {"open": [200] * 3, "closed": [503] * 3}),
    (ReplayProtection, {}, {"": [503] * 3}),
]


@pytest.mark.parametrize(
    ("kind", "settings", "choice", "expected"),
    [
        pytest.param(kind, settings, choice, expected, id=f"{kind.__name__} {choice}")
        for kind, settings, choices in CHOICES
        for choice, expected in choices.items()
    ],
)
def test_without_its_store_a_plugin_does_what_was_chosen_and_says_so_once(
    kind: type[Plugin],
    settings: dict[str, Any],
    choice: str,
    expected: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    chosen = {"when_away": choice} if choice else {}
    plugin = kind(**settings, **chosen, redis=NOBODY)
    gate = Gateway()
    gate.route("/", respond="in")
    gate.use(plugin)
    with TestGateway(gate) as gateway:
        found = [
            gateway.get("/", {"x-nonce": f"a-nonce-{n}", "x-timestamp": str(int(time.time()))}).status
            for n in range(3)
        ]
    assert found == expected
    told = [one for one in caplog.records if one.getMessage() == "the store is unavailable"]
    assert len(told) == 1 and "127.0.0.1:1" in str(vars(told[0])["reason"])
    assert plugin._headgate_context
    assert plugin._headgate_context.counter("store_failures").value >= 1
