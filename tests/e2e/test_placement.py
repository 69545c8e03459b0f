"""Which servers come first: priorities that spill over, the gateway's own zone, and subsets by metadata."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import reply

COUNT = 400


@pytest.fixture
def quartet() -> Iterator[list[Origin]]:
    """Four servers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(4)]


def asked(gateway: RunningGateway, count: int, target: str = "/who") -> Counter[str]:
    """Who responds to so many requests."""
    with gateway.client() as client:
        return Counter(client.get(target).json()["origin"] for _ in range(count))


def share(gateway: RunningGateway, origins: list[Origin], target: str = "/who") -> float:
    """The part of requests that these servers respond to."""
    counts = asked(gateway, COUNT, target)
    assert counts.total() == COUNT
    return sum(counts[one.address] for one in origins) / COUNT


def is_near(got: float, expected: float) -> bool:
    """Within five standard deviations of so many choices by chance."""
    deviation: float = (expected * (1 - expected) / COUNT) ** 0.5
    return abs(got - expected) <= 5 * deviation


def source(servers: list[dict[str, Any]], **upstream: object) -> dict[str, Any]:
    return {"upstreams": {"u": {"servers": servers, **upstream}}, "routes": [{"to": "u"}]}


def test_priorities_spill_over_by_health_and_come_back(serve: Serve, quartet: list[Origin]) -> None:
    first, second = quartet[:2], quartet[2:]
    servers = [{"address": one.address, "priority": int(one in second)} for one in quartet]
    gateway = serve(source(servers, health={"path": "/healthz", "interval": "100ms", "fall": 1}), workers=2)
    for one in quartet:
        one.on("/healthz", reply(b"ok"))

    def states(origin: Origin) -> str:
        return next((one["check"] for one in gateway.ask()["servers"] if one["server"] == origin.address), "")

    for one in quartet:
        eventually(lambda one=one: states(one) == "up", "all are up")
    assert share(gateway, first) == 1
    first[0].on("/healthz", reply(b"no", status="503 Busy"))
    eventually(lambda: states(first[0]) == "down", "one of two is down")
    assert is_near(share(gateway, first), 0.7), "half of it, times 1.4"
    first[1].on("/healthz", reply(b"no", status="503 Busy"))
    eventually(lambda: states(first[1]) == "down", "both are down")
    assert share(gateway, second) == 1
    for one in first:
        one.on("/healthz", reply(b"ok"))
    for one in first:
        eventually(lambda one=one: states(one) == "up", "they are back")
    assert share(gateway, first) == 1


def test_servers_of_the_own_zone_come_first_and_nothing_is_lost_without_them(
    serve: Serve, quartet: list[Origin], monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = {one.address: f"eu-1{'aabb'[place]}" for place, one in enumerate(quartet)}
    servers = [{"address": address, "zone": zone} for address, zone in zones.items()]
    monkeypatch.setenv("HEADGATE_CONFIG_ZONE", "eu-1b")
    gateway = serve({**source(servers, locality="zone"), "zone": "eu-1a"})
    own, others = quartet[2:], quartet[:2]
    assert share(gateway, own) == 1, "what the environment says of the node goes before the file"
    gateway.cli("server", "u", own[0].address, "drain")
    assert is_near(share(gateway, own), 0.7)
    gateway.cli("server", "u", own[1].address, "drain")
    assert share(gateway, others) == 1


def test_factor_decides_how_much_is_spilt(serve: Serve, quartet: list[Origin]) -> None:
    first, second = quartet[:2], quartet[2:]
    servers = [{"address": one.address, "priority": int(one in second)} for one in quartet]
    gateway = serve(source(servers, overprovisioning=1))
    assert share(gateway, first) == 1
    gateway.cli("server", "u", first[0].address, "drain")
    assert is_near(share(gateway, first), 0.5)


@pytest.mark.parametrize("fallback", ["none", "any", {"version": "v1"}])
def test_request_without_a_server_in_its_subset_gets_the_fallback(
    serve: Serve, quartet: list[Origin], fallback: object
) -> None:
    servers = [
        {"address": one.address, "metadata": {"version": version}}
        for one, version in zip(quartet, ("v1", "v1", "v2", "v2"), strict=True)
    ]
    config = source(servers, subset_fallback=fallback)
    gateway = serve({**config, "routes": [{"to": "u", "subset": {"version": "v2"}}]})
    assert set(asked(gateway, 40)) == {one.address for one in quartet[2:]}
    for one in quartet[2:]:
        gateway.cli("server", "u", one.address, "maintenance")
    if fallback == "none":
        assert gateway.get("/who").status == 503
    else:
        assert set(asked(gateway, 40)) == {one.address for one in quartet[:2]}


SUBSETS = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.upstream(
    "u",
    f"{ONE} metadata.version=v1 metadata.stage=live",
    f"{TWO} metadata.version=v1",
    f"{THREE} metadata.version=v2 metadata.stage=live",
    f"{FOUR} priority=3 zone=eu-1a",
    balance="sticky",
    sticky={"balance": "least_conn"},
)
gate.route("/v2/*", to="u", subset={"version": "v2"})
gate.route("/v3/*", to="u", subset={"version": "v3"})
chosen = gate.route("/chosen/*", to="u")

@chosen.balance
def by_header(request, upstream):
    assert [one.metadata.get("version") for one in upstream.servers] == ["v1", "v1", "v2", None]
    assert (upstream.servers[3].priority, upstream.servers[3].zone) == (3, "eu-1a")
    name, _, value = request.path.removeprefix("/chosen/").partition("=")
    return {name: value} if value else None

gate.route("/", to="u")
"""


def test_routes_and_hooks_choose_subsets_and_sessions_stay_in_them(
    serve: Serve, quartet: list[Origin]
) -> None:
    names = dict(zip(("ONE", "TWO", "THREE", "FOUR"), (one.address for one in quartet), strict=True))
    gateway = serve(SUBSETS, names=names)
    for one in quartet:
        for path in ("/v2/a", "/chosen/version=v1", "/chosen/stage=live", "/chosen/"):
            one.on(path, reply(one.address.encode()))

    def servers(path: str, cookie: str | None = None) -> set[str]:
        with gateway.client() as client:
            fields = [("Cookie", cookie)] if cookie else []
            return {client.get(path, fields).body.decode() for _ in range(20)}

    one, two, three, _ = (one.address for one in quartet)
    assert servers("/v2/a") == {three}
    assert servers("/chosen/version=v1") == {one, two}
    assert servers("/chosen/stage=live") == {one, three}
    assert servers("/chosen/") == {one, two, three}
    assert gateway.get("/v3/a").status == 503
    # a session with a server of another subset does not lead out of this one
    session = next(value for _ in range(30) for value in [_session(gateway, {one, two})] if value)
    assert len(servers("/chosen/", session)) == 1
    assert servers("/v2/a", session) == {three}
    gateway.cli("server", "u", three, "drain")
    assert gateway.get("/v2/a").status == 503, "it has no fallback"


def _session(gateway: RunningGateway, wanted: set[str]) -> str | None:
    response = gateway.get("/who")
    (cookie,) = response.all("set-cookie")
    return cookie.partition(";")[0] if response.json()["origin"] in wanted else None
