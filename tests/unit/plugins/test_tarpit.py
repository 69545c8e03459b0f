"""tarpit: who is held, for how long, and how many at most."""

from typing import Any

import pytest

from headgate import ConfigError, Gateway
from headgate.plugins import Tarpit
from headgate.testing import TestGateway

SERVER = "server.test:80"


def running(**settings: Any) -> tuple[TestGateway, Tarpit]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = Tarpit(**settings)
    gate.use(plugin)
    return TestGateway(gate, upstreams={SERVER: "ok"}), plugin


def test_a_trap_is_answered_slowly_until_the_end_and_then_there_is_room_again() -> None:
    gateway, plugin = running(interval=0.01, duration=0.05)
    with gateway:
        response = gateway.get("/wp-login.php")
        assert response.status == 200 and response.text.count("<meta") >= 2
        assert (plugin._count, plugin._held, plugin._trapped.value) == (0, {}, 1)
        assert gateway.get("/").text == "ok" and len(gateway.received) == 1


@pytest.mark.parametrize("path", ["/WP-Admin/x", "/%2eenv", "/a/.git/config", "/%77p-login.php"])
def test_other_spellings_of_traps_are_traps(path: str) -> None:
    gateway, plugin = running(interval=0.01, duration=0.01)
    with gateway:
        gateway.get(path)
        assert plugin._trapped.value == 1 and gateway.received == []


def test_no_more_are_held_than_there_is_room_for() -> None:
    gateway, plugin = running(interval=60, duration=3600, max_held=3, max_per_client=2, status=404)

    with gateway:
        held = [gateway.start("GET", "/.env", address=f"192.0.2.{one}") for one in (1, 1, 2)]
        gateway.until(lambda: plugin._count == 3)
        others = [gateway.get("/.env", address=f"192.0.2.{one}") for one in (1, 3)]
        assert [(one.status, one.text) for one in others] == [(404, ""), (404, "")]
        assert plugin._let_go.value == 2
        for one in held:
            one.leave()
        gateway.until(lambda: plugin._count == 0)
        assert plugin._held == {}


def test_a_client_is_remembered_by_its_network_for_a_while() -> None:
    gateway, plugin = running(interval=0.01, duration=0.01, remember=60)
    with gateway:
        gateway.get("/.env", address="2001:db8::1")
        assert "<meta" in gateway.get("/", address="2001:db8::2").text
        assert gateway.get("/", address="2001:db8:0:1::1").text == "ok"
        assert plugin._trapped.value == 2


def test_settings_that_cannot_be_are_refused() -> None:
    for settings in ({"traps": []}, {"traps": ["~("]}, {"interval": 0}, {"duration": 4000}, {"status": 99}):
        with pytest.raises(ConfigError):
            Tarpit(**settings)  # type: ignore[arg-type]
