"""What servers are told of the client by requests that plugins make on a client's behalf."""

from typing import Any

import pytest

from headgate import Gateway, Plugin, Response
from headgate.plugins import FollowRedirects, ImageResize, Mirror, RequestCoalescing
from headgate.testing import Received, TestGateway

SERVER, COPIES, WORKERS = "server.test:80", "http://copies.test", "workers.test:80"
LIES = {
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "gopher",
    "x-forwarded-host": "evil.example",
    "x-forwarded-prefix": "/evil",
    "x-original-url": "/admin",
    "x-real-ip": "127.0.0.1",
    "forwarded": "for=127.0.0.1;host=evil.example",
}
ALL = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https", "x-forwarded-host": "shop.example"}
OF_MANY = {name: value for name, value in ALL.items() if name != "x-forwarded-for"}


def received_by_plugin(plugin: Plugin, target: str, which: int) -> Received:
    """The request that the plugin has made."""

    def served(received: Received) -> Any:
        return Response(302, headers={"location": "/there"}) if received.target == "/here" else "ok"

    gate = Gateway()
    gate.upstream("app", SERVER)
    gate.upstream("workers", WORKERS)
    gate.route("/", to="app")
    gate.use(plugin)
    with TestGateway(gate, upstreams={SERVER: served, COPIES: "ok", WORKERS: "made"}) as gateway:
        gateway.get(target, {"host": "shop.example", **LIES}, address="203.0.113.7", scheme="https")
        gateway.until(lambda: len(gateway.received) > which)
        return gateway.received[which]


@pytest.mark.parametrize(
    ("plugin", "target", "which", "told"),
    [
        (ImageResize(workers="workers", sizes=[100]), "/a.png?w=100", 0, ALL),
        (FollowRedirects(), "/here", 1, ALL),
        (RequestCoalescing(), "/x", 0, OF_MANY),
        (Mirror(to=COPIES), "/x", 1, ALL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Plugin) else "",
)
def test_servers_are_told_of_the_client_what_the_gateway_knows_and_nothing_that_he_said(
    plugin: Plugin, target: str, which: int, told: dict[str, str]
) -> None:
    headers = received_by_plugin(plugin, target, which).headers
    assert {name: headers.get_all(name) for name in (*LIES, "via")} == {
        name: [told[name]] if name in told else [] for name in (*LIES, "via")
    }


def test_another_origin_learns_nothing_of_the_client() -> None:
    gate = Gateway()
    gate.upstream("app", SERVER)
    gate.route("/", to="app")
    gate.use(FollowRedirects(allow=[COPIES]))
    away = Response(302, headers={"location": f"{COPIES}/x"})
    with TestGateway(gate, upstreams={SERVER: away, COPIES: "ok"}) as gateway:
        assert gateway.get("/", {"host": "shop.example", **LIES}, address="203.0.113.7").text == "ok"
        other = gateway.received[1].headers
    assert not {*LIES, *ALL} & set(other)
